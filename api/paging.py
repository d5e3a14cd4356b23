"""Lists in pages by cursor: what is added meanwhile moves no page."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError
from django.utils.translation import gettext as _
from drf_spectacular.utils import inline_serializer
from rest_framework import exceptions, serializers
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request


class CursorPages(CursorPagination):
    """Fifty rows a page; subclasses say in which order."""

    page_size = 50

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        """A page. ValidationError for a cursor that is not one of ours: it is decoded, and compared with a column."""
        try:
            return super().paginate_queryset(queryset, request, view)
        except (exceptions.NotFound, ValidationError, DataError, ValueError, TypeError) as error:
            raise exceptions.ValidationError(
                {self.cursor_query_param: [_("This cursor is not one of ours.")]}
            ) from error


def page_of(row: type[serializers.BaseSerializer[Any]]) -> Any:
    """The shape of a page, for ``extend_schema``."""
    link: Any = {"allow_null": True, "help_text": "The address of the page, or null where there is none."}
    return inline_serializer(
        f"{row.__name__.removesuffix('Serializer')}Page",
        {"next": serializers.URLField(**link), "previous": serializers.URLField(**link), "results": row(many=True)},
    )
