"""A rollout's history: who changed what, when, from where and why, newest first."""

import json
from datetime import UTC
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from api.paging import CursorPages, page_of
from api.problems import refusals
from api.renderers import CsvRenderer
from metrics.csv_text import csv_text
from rollout.api.base import NAME, RolloutView, in_camel
from rollout.changes import get_rollout
from rollout.models import RolloutChange, Source

_COLUMNS = ("id", "changedAt", "version", "actor", "source", "approvedBy", "why", "field", "old", "new")


class RolloutChangeSerializer(serializers.ModelSerializer[RolloutChange]):
    """One line. It is never changed."""

    # A column's own limits are those of the database that wrote the schema.
    id = serializers.IntegerField()
    version = serializers.IntegerField(allow_null=True, help_text="The rollout's, after this change.")
    changedAt = serializers.DateTimeField(source="changed_at", default_timezone=UTC)
    source = serializers.ChoiceField(Source.choices)  # type: ignore[assignment]
    approvedBy = serializers.CharField(source="approved_by", help_text="The second person, where it took one.")
    changes = serializers.SerializerMethodField("in_camel", help_text="Field → [old, new].")
    evidence = serializers.DictField(help_text="The figures at that moment.")

    class Meta:
        model = RolloutChange
        fields = ("id", "changedAt", "version", "actor", "source", "approvedBy", "why", "changes", "evidence")

    def in_camel(self, change: RolloutChange) -> dict[str, list[Any]]:
        """Under the names that the fields have here."""
        return {field: list(pair) for field, pair in in_camel(change.changes).items()}


class NewestFirst(CursorPages):
    """By when; lines of one moment in the order in which they came."""

    ordering = ("-changed_at", "-id")


class HistoryView(RolloutView):
    """What was done to one rollout."""

    renderer_classes = [JSONRenderer, CsvRenderer]

    @extend_schema(
        operation_id="list_changes",
        summary="A rollout's history, newest first",
        tags=["rollouts"],
        parameters=[
            NAME,
            OpenApiParameter("cursor", description="From a page's next or previous."),
            OpenApiParameter("format", enum=["json", "csv"], description="CSV: the whole history, a field a row."),
        ],
        responses={
            (200, "application/json"): page_of(RolloutChangeSerializer),
            (200, "text/csv"): OpenApiTypes.STR,
            **refusals(400, 404),
        },
    )
    def get(self, request: Request, name: str) -> Response:
        """Fifty a page; as CSV all of it, with cells that a spreadsheet would run made harmless."""
        lines = RolloutChange.objects.filter(rollout=get_rollout(name).name)
        if isinstance(request.accepted_renderer, CsvRenderer):
            headers = {"Content-Disposition": f'attachment; filename="{name}-history.csv"'}
            return Response(_csv(RolloutChangeSerializer(lines, many=True).data), headers=headers)
        pages = NewestFirst()
        page = pages.paginate_queryset(lines, request, view=self)
        return pages.get_paginated_response(RolloutChangeSerializer(page, many=True).data)


def _csv(lines: Any) -> str:
    rows = [
        [*(line[column] for column in _COLUMNS[:-3]), field, _cell(old), _cell(new)]
        for line in lines
        for field, (old, new) in line["changes"].items()
    ]
    return csv_text([_COLUMNS, *rows])


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
