"""Texts and files as answers, and who decides on the format. Knows HTTP; what is in them comes from elsewhere."""

from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request


class ProblemRenderer(JSONRenderer):
    """RFC 9457."""

    media_type = "application/problem+json"
    format = "problem"


class TextRenderer(BaseRenderer):
    """What is text already. Subclasses say of which kind."""

    charset = "utf-8"

    def render(self, data: str, accepted_media_type: str | None = None, renderer_context: Any = None) -> str:
        """As it is."""
        return data


class CsvRenderer(TextRenderer):
    """``?format=csv``."""

    media_type = "text/csv"
    format = "csv"


class FormatNegotiation(DefaultContentNegotiation):
    """``?format=`` is what the caller says outright, so it wins over an ``Accept`` that a library sent along."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> tuple[Any, str]:
        """The renderer and its media type. Http404 for a format that there is not."""
        wanted = request.query_params.get(self.settings.URL_FORMAT_OVERRIDE)
        if wanted is not None:
            renderer = self.filter_renderers(renderers, wanted)[0]
            return renderer, renderer.media_type
        renderer, media_type = super().select_renderer(request, renderers, format_suffix)
        return renderer, media_type
