"""The export of calls over HTTP. Thin: who may ask, what came in, what goes out; the work is in ``export``."""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import StreamingHttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, serializers, status
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, exception_handler

from metrics.export import FORMATS, ExportRefused, parse_export, write_export

_MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
_A_MOMENT = "A date, in the installation's time zone, or ISO-8601 with an offset. "


class ExportErrorSerializer(serializers.Serializer[Any]):
    """Every error of the export."""

    error = serializers.CharField(help_text="What is wrong, in words.")
    code = serializers.CharField(help_text="What is wrong, for programs.")


class MayViewCalls(BasePermission):
    """Staff with ``metrics.view_modelcall``."""

    message = _("Only staff who may view model calls can do this.")

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether this account is one of them."""
        return request.user.is_staff and request.user.has_perm("metrics.view_modelcall")


class AnyFormat(DefaultContentNegotiation):
    """``?format=`` chooses the file's format here, and errors are JSON always."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """The only one, whatever is asked for."""
        (renderer,) = renderers
        return renderer, renderer.media_type


class ExportView(APIView):
    """Ended calls as a file."""

    # No HEAD: it would read all calls to throw them away.
    http_method_names = ["get"]
    permission_classes = [MayViewCalls]
    content_negotiation_class = AnyFormat

    def get_exception_handler(self) -> Any:
        """Errors in words."""
        return _error_response

    @extend_schema(
        operation_id="export_calls",
        summary="Calls as a file, streamed",
        tags=["calls"],
        parameters=[
            OpenApiParameter("format", enum=FORMATS, default="csv", description="CSV, or one JSON object a line."),
            OpenApiParameter("from", description=f"{_A_MOMENT}Calls that started before are left out."),
            OpenApiParameter("to", description=f"{_A_MOMENT}A date's whole day is in; a moment itself is out."),
            OpenApiParameter("rollout", description="Calls of this rollout alone."),
        ],
        responses={
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/x-ndjson"): OpenApiTypes.STR,
            **{(code, "application/json"): ExportErrorSerializer for code in (400, 401, 403)},
        },
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        """Without texts of people; a pseudonym stands for the person. Calls that have not ended yet are left out."""
        asked = request.query_params
        export = parse_export(
            format=asked.get("format", "csv"),
            since=asked.get("from"),
            until=asked.get("to"),
            rollout=asked.get("rollout"),
            now=timezone.now(),
        )
        close_old_connections()
        return StreamingHttpResponse(
            _stream(write_export(export)),
            content_type=_MEDIA_TYPES[export.format],
            headers={
                "Content-Disposition": f'attachment; filename="calls.{export.format}"',
                "Cache-Control": "private, no-store",
            },
        )


async def _stream(pieces: Iterator[str]) -> AsyncIterator[str]:
    """Each piece in the request's own thread, which has no connection while the client takes its time."""
    while (piece := await sync_to_async(_next)(pieces)) is not None:
        yield piece


def _next(pieces: Iterator[str]) -> str | None:
    try:
        return next(pieces, None)
    finally:
        close_old_connections()


def _error_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """Any refusal as ``{"error": words, "code": …}``."""
    if isinstance(error, ExportRefused):
        refused = exceptions.APIException(str(error), code=error.code)
        refused.status_code = status.HTTP_400_BAD_REQUEST
        error = refused
    response = exception_handler(error, context)
    if response is not None:
        detail = response.data["detail"]
        response.data = {"error": str(detail), "code": detail.code}
    return response
