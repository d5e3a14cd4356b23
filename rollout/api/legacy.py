"""The older tool's path. Thin: who may ask, what came in, what goes out; the work is in services and changes.

Knows HTTP and the rollout's services. Every error is JSON with ``error`` in words and a ``code``.
"""

from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import Http404
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, status
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler

from api.parsing import BodyTooLarge, StrictJSONParser
from api.renderers import FormatNegotiation
from api.views import account_of
from rollout import services, text
from rollout.changes import Actor, ChangeRefused, RolloutNotFound, VersionConflict, change_rollout, get_rollout
from rollout.config_serializers import ChangedSerializer, ConfigSerializer, ErrorSerializer
from rollout.models import Source
from rollout.renderers import ReportRenderer
from rollout.report_text import trend
from rollout.serializers import StatusSerializer, document_of


class StatusPermission(BasePermission):
    """Reading needs an account of one's own; steering needs staff with ``rollout.change_rollout``."""

    message = gettext_lazy("Only staff who may change rollouts can do this.")

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether this account may do it."""
        user = account_of(request)
        return request.method in SAFE_METHODS or (user.is_staff and user.has_perm("rollout.change_rollout"))


class StatusView(APIView):
    """How the default rollout stands, and how it is steered."""

    permission_classes = [StatusPermission]
    parser_classes = [StrictJSONParser]
    content_negotiation_class = FormatNegotiation

    def get_renderers(self) -> list[BaseRenderer]:
        """A report can be read only."""
        return [JSONRenderer(), ReportRenderer()] if self.request.method in ("GET", "HEAD") else [JSONRenderer()]

    def get_exception_handler(self) -> Any:
        """Errors in words."""
        return error_response

    @extend_schema(
        operation_id="default_rollout_status",
        summary="How the rollout stands",
        tags=["rollout"],
        parameters=[
            OpenApiParameter(
                "hours",
                {"type": "integer", "minimum": 1, "maximum": services.MAX_HOURS, "default": 24},
                description="The window, up to now.",
            ),
        ],
        responses={
            (200, "application/json"): StatusSerializer,
            (200, "text/plain"): OpenApiTypes.STR,
            (400, "application/json"): ErrorSerializer,
            (401, "application/json"): ErrorSerializer,
            (404, "application/json"): ErrorSerializer,
            (406, "application/json"): ErrorSerializer,
        },
    )
    def get(self, request: Request) -> Response:
        """Configuration, health of both arms, criteria, decision, over the last ``hours``."""
        hours = services.parse_hours(request.query_params.get("hours", "24"))
        now = timezone.now()
        document = document_of(services.status(settings.DEFAULT_ROLLOUT, hours=hours, now=now))
        if isinstance(request.accepted_renderer, ReportRenderer):
            series = services.trend(settings.DEFAULT_ROLLOUT, hours=hours, now=now)
            return Response(text.report(document, trend(series)), headers={"Cache-Control": "no-cache"})
        return Response(document, headers={"Cache-Control": "private, no-cache"})

    @extend_schema(
        operation_id="steer_default_rollout",
        summary="Steer the rollout",
        tags=["rollout"],
        request=ConfigSerializer,
        responses={200: ChangedSerializer, **dict.fromkeys((400, 401, 403, 409, 413, 415), ErrorSerializer)},
    )
    def post(self, request: Request) -> Response:
        """Change any of the fields: all that are given, or none. A disabled rollout can't be forced."""
        current = get_rollout(settings.DEFAULT_ROLLOUT)
        wanted = ConfigSerializer(
            data=request.data, context={"baseline": current.baseline, "candidate": current.candidate}
        )
        wanted.is_valid(raise_exception=True)
        now = timezone.now()
        actor = Actor.of_account(request.user, Source.API)
        changed = change_rollout(current.name, wanted.validated_data, actor=actor, now=now)
        answer = {"success": True, "newConfig": changed, "updatedBy": actor.name, "timestamp": now}
        return Response(ChangedSerializer(answer).data)


def error_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """Any refusal as ``{"error": words, "code": …}``, in JSON whatever format was asked for."""
    if isinstance(error, ChangeRefused):
        answers = {RolloutNotFound: status.HTTP_404_NOT_FOUND, VersionConflict: status.HTTP_409_CONFLICT}
        refused = exceptions.APIException(error.message, code=error.code)
        refused.status_code = answers.get(type(error), status.HTTP_400_BAD_REQUEST)
        error = refused
    if isinstance(error, services.WindowRefused):
        error = exceptions.ValidationError(str(error))
    if isinstance(error, RequestDataTooBig):
        # Django's own limit, where the check for CSRF has looked into the body before our parser.
        error = BodyTooLarge()
    if isinstance(error, Http404):
        error = exceptions.NotFound(_("There is no such format."))
    response = exception_handler(error, context)
    if response is None:
        return None
    codes = error.get_codes() if isinstance(error, exceptions.APIException) else "permission_denied"
    response.data = {"error": " ".join(_words(response.data)), "code": codes if isinstance(codes, str) else "invalid"}
    context["request"].accepted_renderer = JSONRenderer()
    context["request"].accepted_media_type = JSONRenderer.media_type
    return response


def _words(detail: Any, field: str = "") -> list[str]:
    """DRF's nested details as sentences, each with the field that it is about."""
    if isinstance(detail, dict):
        apart = ("detail", "non_field_errors")
        return [words for name, part in detail.items() for words in _words(part, "" if name in apart else name)]
    if isinstance(detail, list):
        return [words for part in detail for words in _words(part, field)]
    return [f"{field}: {detail}" if field else str(detail)]
