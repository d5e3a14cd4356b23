"""The OpenFeature Remote Evaluation Protocol: other programs follow the same rollouts, with any OpenFeature SDK.

Source: https://github.com/open-feature/protocol (service/openapi.yaml, 0.1.0). A flag's key is a rollout's name. Its
value is the model key to use for a unit that asks for the baseline, its variant the arm. Thin: HTTP and the protocol's
words; who gets what is ``rollout.routing``'s. Nothing is recorded.
"""

import json
import logging
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NoReturn

from django.core.exceptions import RequestDataTooBig
from django.utils.http import quote_etag
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import exceptions, serializers, status
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler

from api.conditions import is_known
from api.parsing import BodyTooLarge, StrictJSONParser
from api.views import account_of
from rollout.changes import RolloutNotFound, get_rollout
from rollout.models import Rollout
from rollout.routing import UnitRefused, explanation_of, parse_unit
from rollout.routing import account_of as account_of_unit

logger = logging.getLogger(__name__)

# Reasons of the protocol for ours. DEFAULT: this flag has nothing to say of the unit, another rollout has.
_REASONS = {
    "percentage": "SPLIT",
    "tester": "TARGETING_MATCH",
    "everyone": "STATIC",
    "disabled": "DISABLED",
    "other_rollout": "DEFAULT",
    "other_control": "DEFAULT",
}


class FlagSerializer(serializers.Serializer[Any]):
    """One evaluated flag."""

    key = serializers.CharField(help_text="The rollout's name.")
    value = serializers.CharField(help_text="The model key to use.")
    variant = serializers.ChoiceField(["candidate", "baseline"])
    reason = serializers.ChoiceField(sorted({*_REASONS.values()}))
    metadata = inline_serializer(
        "FlagMetadata",
        {
            "reason": serializers.ChoiceField(sorted(_REASONS), help_text="Why, in Sluice's own words."),
            "rollout": serializers.CharField(help_text="The rollout that a request of this unit counts for."),
            "percent": serializers.FloatField(help_text="This rollout's percentage."),
            "version": serializers.IntegerField(help_text="Raised by every change of this rollout."),
        },
    )


_CONTEXT = inline_serializer(
    "FlagContext",
    {
        "targetingKey": serializers.CharField(max_length=64, help_text="The unit. Other attributes are ignored."),
        "language": serializers.CharField(required=False, help_text="Of the person's browser: finds testers."),
    },
)
_REQUEST = inline_serializer("FlagEvaluation", {"context": _CONTEXT})
_FLAGS = inline_serializer("Flags", {"flags": FlagSerializer(many=True)})
_ERROR_CODES = ["PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND", "GENERAL"]
_ERROR = inline_serializer(
    "FlagError",
    {
        "key": serializers.CharField(required=False, help_text="The flag that was asked for, where it was one."),
        "errorCode": serializers.ChoiceField(_ERROR_CODES),
        "errorDetails": serializers.CharField(),
    },
)
_ERRORS = {(code, "application/json"): _ERROR for code in (400, 401, 403, 413, 415, 429, 500)}


class FollowPermission(BasePermission):
    """Whoever follows rollouts may learn of anybody which arm is theirs: staff who may view rollouts."""

    message = gettext_lazy("Only staff who may view rollouts can do this.")

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether this account may do it."""
        user = account_of(request)
        return bool(user.is_staff and user.has_perm("rollout.view_rollout"))


class ContextRefused(exceptions.APIException):
    """No unit to evaluate for; its code is the protocol's."""

    status_code = status.HTTP_400_BAD_REQUEST


class _EvaluationView(APIView):
    # The protocol asks by POST; a read-only token may.
    only_reads = True
    permission_classes = [FollowPermission]
    parser_classes = [StrictJSONParser]

    def get_exception_handler(self) -> Any:
        """Errors in the protocol's shape."""
        return _error_response


class FlagView(_EvaluationView):
    """One flag."""

    @extend_schema(
        operation_id="evaluate_flag",
        summary="Evaluate one flag for a unit",
        tags=["OFREP"],
        request=_REQUEST,
        responses={200: FlagSerializer, **_ERRORS, (404, "application/json"): _ERROR},
    )
    def post(self, request: Request, key: str) -> Response:
        """Which model this rollout gives to a unit that asks for its baseline."""
        unit, language = _context_of(request.data)
        # What no rollout can be named, a database may refuse to look for.
        if not key.isprintable():
            raise RolloutNotFound(_("There is no such rollout."))
        return Response(_flag(get_rollout(key), unit, account_of_unit(unit), language))


class FlagsView(_EvaluationView):
    """All flags."""

    @extend_schema(
        operation_id="evaluate_flags",
        summary="Evaluate all flags for a unit",
        tags=["OFREP"],
        request=_REQUEST,
        parameters=[
            OpenApiParameter("If-None-Match", OpenApiTypes.STR, OpenApiParameter.HEADER),
            OpenApiParameter("ETag", OpenApiTypes.STR, OpenApiParameter.HEADER, response=[200, 304]),
        ],
        responses={200: _FLAGS, 304: None, **_ERRORS},
    )
    def post(self, request: Request) -> Response:
        """Every rollout's flag, by name; 304 while nothing that a client would see has changed."""
        unit, language = _context_of(request.data)
        user = account_of_unit(unit)
        flags = [_flag(rollout, unit, user, language) for rollout in Rollout.objects.order_by("name")]
        etag = quote_etag(sha256(json.dumps(flags).encode()).hexdigest()[:32])
        if is_known(request, etag):
            return Response(status=status.HTTP_304_NOT_MODIFIED, headers={"ETag": etag})
        return Response({"flags": flags}, headers={"ETag": etag})


def _flag(rollout: Rollout, unit: str, user: Any, language: str) -> dict[str, Any]:
    found = explanation_of(rollout, unit, user=user, language=language)
    is_in = found.arm == "candidate"
    return {
        "key": rollout.name,
        "value": rollout.candidate if is_in else rollout.baseline,
        "variant": "candidate" if is_in else "baseline",
        "reason": _REASONS[found.reason],
        "metadata": {
            "reason": found.reason,
            "rollout": found.rollout,
            "percent": float(rollout.percent),
            "version": rollout.version,
        },
    }


def _context_of(body: Any) -> tuple[str, str]:
    """The unit and the language that are asked for. Raises ContextRefused."""
    context = body.get("context", {}) if isinstance(body, Mapping) else None
    if not isinstance(context, Mapping):
        _refuse("invalid_context", _("The body must be an object with an object “context”."))
    if context.get("targetingKey") in (None, ""):
        _refuse("targeting_key_missing", _("The context needs a targetingKey: the unit."))
    language = context.get("language", "")
    if not isinstance(language, str):
        _refuse("invalid_context", _("The language must be a text."))
    try:
        return parse_unit(context["targetingKey"]), language
    except UnitRefused as refused:
        _refuse("invalid_context", f"targetingKey: {refused}")


def _refuse(code: str, details: str) -> NoReturn:
    raise ContextRefused(details, code=code)


def _error_response(error: Exception, context: dict[str, Any]) -> Any:
    """Any failure as ``{"key": …, "errorCode": …, "errorDetails": words}``; what nobody foresaw too."""
    if isinstance(error, RolloutNotFound):
        error = exceptions.NotFound(error.message, code="flag_not_found")
    if isinstance(error, RequestDataTooBig):
        # Django's own limit, where the check for CSRF has looked into the body before our parser.
        error = BodyTooLarge()
    if not isinstance(error, exceptions.APIException):
        logger.error("An evaluation failed", exc_info=error)
        error = exceptions.APIException(_("Something failed here. Nothing was evaluated."))
    response: Any = exception_handler(error, context)
    code, key = str(error.get_codes()).upper(), context["kwargs"].get("key")
    response.data = {
        **({} if key is None else {"key": key}),
        "errorCode": code if code in _ERROR_CODES else "GENERAL",
        "errorDetails": str(error.detail),
    }
    return response
