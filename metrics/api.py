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
from rest_framework import status
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from api.problems import Refusal, refusals
from api.views import ApiView
from metrics.export import FORMATS, ExportRefused, parse_export, write_export

_MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
_A_MOMENT = "A date, in the installation's time zone, or ISO-8601 with an offset. "
_MOMENT = {"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]}


class AnyFormat(DefaultContentNegotiation):
    """``?format=`` chooses the file's format here, and errors are JSON always."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """The only one, whatever is asked for."""
        (renderer,) = renderers
        return renderer, renderer.media_type


class ExportView(ApiView):
    """Ended calls as a file."""

    # No HEAD: it would read all calls to throw them away.
    http_method_names = ["get"]
    not_allowed = _("Only staff who may view model calls can do this.")
    content_negotiation_class = AnyFormat

    def may(self, user: Any) -> bool:
        """Staff with ``metrics.view_modelcall``."""
        return bool(user.is_staff and user.has_perm("metrics.view_modelcall"))

    def translate(self, error: Exception) -> Exception:
        """An export that makes no sense."""
        if isinstance(error, ExportRefused):
            return Refusal(str(error), status=status.HTTP_400_BAD_REQUEST, code=error.code)
        return error

    @extend_schema(
        operation_id="export_calls",
        summary="Calls as a file, streamed",
        tags=["calls"],
        parameters=[
            OpenApiParameter("format", enum=FORMATS, default="csv", description="CSV, or one JSON object a line."),
            OpenApiParameter("from", _MOMENT, description=f"{_A_MOMENT}Calls that started before are left out."),
            OpenApiParameter(
                "to", _MOMENT, description=f"{_A_MOMENT}A date's whole day is in; a moment itself is out."
            ),
            OpenApiParameter("rollout", description="Calls of this rollout alone."),
        ],
        responses={
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/x-ndjson"): OpenApiTypes.STR,
            **refusals(400),
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
