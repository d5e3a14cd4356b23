"""Errors as RFC 9457 has them: ``application/problem+json`` with type, title, status, detail, code and, for what came
in, an ``errors`` list of field, code and detail.

A type is a path of this site, where a page describes it; a code says more exactly what is wrong. Nothing of the inside
is ever told.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views import defaults
from rest_framework import exceptions, serializers
from rest_framework.response import Response

from api.parsing import BodyTooLarge
from api.renderers import ProblemRenderer

PAGE = "/api/problems"
ROOT = "/api/v1/"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A type of problem: its place on the page, its title, and what to do about it."""

    slug: str
    title: Promise
    words: Promise


KINDS: Mapping[int, Kind] = {
    400: Kind(
        slug="invalid",
        title=gettext_lazy("The request is not valid"),
        words=gettext_lazy("Something in the path, the query, a header or the body can't be; errors names the fields."),
    ),
    401: Kind(
        slug="not-signed-in",
        title=gettext_lazy("Nobody is signed in"),
        words=gettext_lazy("Send Authorization: Bearer and a token that is known, not revoked and not expired."),
    ),
    403: Kind(
        slug="not-allowed",
        title=gettext_lazy("This account may not do that"),
        words=gettext_lazy("The account lacks the right, or its token is read-only (code read_only_token)."),
    ),
    404: Kind(
        slug="not-found",
        title=gettext_lazy("There is no such thing"),
        words=gettext_lazy("No such path, rollout, report, verb or format."),
    ),
    405: Kind(
        slug="method",
        title=gettext_lazy("The method does not fit the path"),
        words=gettext_lazy("The Allow header names those that do."),
    ),
    406: Kind(
        slug="not-acceptable",
        title=gettext_lazy("There is no such format"),
        words=gettext_lazy("Nothing that the Accept header names can be written here."),
    ),
    409: Kind(
        slug="conflict",
        title=gettext_lazy("It does not fit the present state"),
        words=gettext_lazy(
            "A verb does not fit the ramp's state, which the answer names; there is one of that name already; or a "
            "request with the same idempotency key is still being worked on (code request_in_progress)."
        ),
    ),
    412: Kind(
        slug="stale",
        title=gettext_lazy("It was changed in the meantime"),
        words=gettext_lazy("If-Match names another version than the present one; changes says what is different."),
    ),
    413: Kind(
        slug="too-large",
        title=gettext_lazy("The body is too large"),
        words=gettext_lazy("No request needs more than a hundred thousand bytes."),
    ),
    415: Kind(
        slug="media-type",
        title=gettext_lazy("The body is of another kind than is read here"),
        words=gettext_lazy("Send JSON, with Content-Type: application/json."),
    ),
    422: Kind(
        slug="key-reused",
        title=gettext_lazy("The idempotency key belongs to another request"),
        words=gettext_lazy("The same Idempotency-Key came with another path or body. Use a new key for each request."),
    ),
    429: Kind(
        slug="too-many",
        title=gettext_lazy("Too many requests"),
        words=gettext_lazy("Wait for as many seconds as Retry-After says."),
    ),
    500: Kind(
        slug="server-error",
        title=gettext_lazy("Something failed here"),
        words=gettext_lazy("The fault is ours and is in the log. Nothing was changed; try again later."),
    ),
}


class Refusal(exceptions.APIException):
    """Any refusal: status, code, words; which ``fields`` are to blame; ``more`` members and headers of the answer."""

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        code: str,
        fields: Sequence[str] = (),
        more: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail, code)
        self.status_code = status
        self.fields = fields
        self.more = more or {}
        self.headers = headers or {}


class FieldProblemSerializer(serializers.Serializer[Any]):
    """What is wrong with one field."""

    field = serializers.CharField(help_text="Its name; a dot goes deeper, a number counts from 0. Empty: the whole.")
    code = serializers.CharField()
    detail = serializers.CharField()


class ProblemSerializer(serializers.Serializer[Any]):
    """Every error of this API (RFC 9457)."""

    type = serializers.CharField(help_text="A path of this site that describes it.")
    title = serializers.CharField(help_text="The type in words.")
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="What is wrong, in words.")
    code = serializers.CharField(help_text="What is wrong, for programs.")
    errors = FieldProblemSerializer(many=True, required=False)  # type: ignore[assignment]
    state = serializers.CharField(
        required=False, help_text="409: the present state, where it is that which forbids it."
    )
    changes = serializers.DictField(required=False, help_text="412: what is different now, field → [then, now].")


def refusals(*statuses: int) -> dict[Any, Any]:
    """These problems, for ``extend_schema``."""
    return {(status, ProblemRenderer.media_type): ProblemSerializer for status in statuses}


def problem_response(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler for this API; ``None`` for what nobody expected."""
    error = _as_api_exception(context["view"].translate(error))
    if not isinstance(error, exceptions.APIException):
        return None
    headers: dict[str, str] = dict(getattr(error, "headers", {}))
    if auth_header := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = auth_header
    # Problems are JSON, whatever format was asked for.
    context["request"].accepted_renderer = ProblemRenderer()
    context["request"].accepted_media_type = ProblemRenderer.media_type
    return Response(_document(error), status=error.status_code, headers=headers)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's own refusals, such as a host that is not ours."""
    if not request.path.startswith(ROOT):
        return defaults.bad_request(request, exception)
    return _plain(400, detail=_("The request is not valid."), code="invalid")


def server_error(request: HttpRequest) -> HttpResponse:
    """What nobody expected; the log has it."""
    if not request.path.startswith(ROOT):
        return defaults.server_error(request)
    return _plain(500, detail=_("Something failed here. Nothing was changed; try again later."), code="server_error")


def _plain(status: int, *, detail: str, code: str) -> HttpResponse:
    document = {**_head(status), "detail": detail, "code": code}
    return JsonResponse(document, status=status, content_type=ProblemRenderer.media_type)


def _as_api_exception(error: Exception) -> Exception:
    if isinstance(error, RequestDataTooBig):
        return BodyTooLarge()
    if isinstance(error, Http404):
        return exceptions.NotFound(_("There is no such format."))
    if isinstance(error, PermissionDenied):
        return exceptions.PermissionDenied()
    if isinstance(error, SuspiciousOperation):
        return exceptions.ParseError(_("The request is not valid."))
    return error


def _document(error: exceptions.APIException) -> dict[str, Any]:
    details = list(_flat(error.get_full_details()))
    words = [f"{field}: {told}" if field else told for field, _code, told in details]
    codes = {code for _field, code, _told in details}
    document = {
        **_head(error.status_code),
        "detail": " ".join(words),
        "code": codes.pop() if len(codes) == 1 and not isinstance(error, exceptions.ValidationError) else "invalid",
    }
    fields: list[tuple[str, str, str]] = []
    if isinstance(error, exceptions.ValidationError):
        fields = details
    elif isinstance(error, Refusal):
        fields = [(field, code, told) for field in error.fields for _field, code, told in details]
    if fields:
        document["errors"] = [{"field": field, "code": code, "detail": told} for field, code, told in fields]
    return {**document, **getattr(error, "more", {})}


def _head(status: int) -> dict[str, Any]:
    kind = KINDS[status]
    return {"type": f"{PAGE}#{kind.slug}", "title": str(kind.title), "status": status}


def _flat(details: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """DRF's nested details as triples of field, code and words."""
    if isinstance(details, Mapping) and details.keys() == {"message", "code"} and isinstance(details["message"], str):
        yield path, str(details["code"]), str(details["message"])
    elif isinstance(details, Mapping):
        for name, part in details.items():
            yield from _flat(part, path if name == "non_field_errors" else f"{path}.{name}".lstrip("."))
    else:
        for position, part in enumerate(details):
            # A list of words is about the field itself; a list of objects goes through its items.
            yield from _flat(part, path if "message" in part and "code" in part else f"{path}.{position}")
