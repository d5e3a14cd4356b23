"""Stored reports over HTTP: a rollout's list of them, and each as JSON, CSV or text. Thin: knows HTTP and services."""

from datetime import UTC
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from api.paging import CursorPages, page_of
from api.problems import refusals
from api.renderers import CsvRenderer
from rollout.api.base import NAME, RolloutView
from rollout.changes import get_rollout
from rollout.models import Report
from rollout.renderers import ReportRenderer
from rollout.report_files import report_csv
from rollout.report_text import report_text
from rollout.reports import ReportNotFound, find_report, parse_day


class ReportSerializer(serializers.ModelSerializer[Report]):
    """A report as its list names it."""

    firstDay = serializers.DateField(source="first_day")
    # A column's own limits are those of the database that wrote the schema.
    version = serializers.IntegerField()
    builtAt = serializers.DateTimeField(source="built_at", default_timezone=UTC)

    class Meta:
        model = Report
        fields = ("kind", "firstDay", "version", "builtAt")


class NewestFirst(CursorPages):
    """By first day; what is built meanwhile moves no page."""

    ordering = ("-first_day", "kind")


class _ReportsAPI(RolloutView):
    not_allowed = gettext_lazy("Only staff who may view reports can do this.")

    def may(self, user: Any) -> bool:
        """Staff with ``rollout.view_report``."""
        return bool(user.is_staff and user.has_perm("rollout.view_report"))


class ReportsView(_ReportsAPI):
    """Which reports there are."""

    @extend_schema(
        operation_id="list_reports",
        summary="A rollout's reports, newest first",
        tags=["reports"],
        parameters=[
            NAME,
            OpenApiParameter("kind", enum=Report.Kind.values, description="Daily or weekly ones alone."),
            OpenApiParameter("cursor", description="From a page's next or previous."),
        ],
        responses={200: page_of(ReportSerializer), **refusals(400, 404)},
    )
    def get(self, request: Request, name: str) -> Response:
        """Newest versions, fifty a page."""
        kind = request.query_params.get("kind")
        if kind not in (None, *Report.Kind.values):
            raise exceptions.ValidationError({"kind": _("Must be daily or weekly.")})
        found = Report.objects.filter(rollout=get_rollout(name).name, is_newest=True).defer("document")
        pages = NewestFirst()
        page = pages.paginate_queryset(found if kind is None else found.filter(kind=kind), request, view=self)
        return pages.get_paginated_response(ReportSerializer(page, many=True).data)


class ReportView(_ReportsAPI):
    """One report."""

    renderer_classes = [JSONRenderer, CsvRenderer, ReportRenderer]

    @extend_schema(
        operation_id="read_report",
        summary="One report",
        tags=["reports"],
        parameters=[
            NAME,
            OpenApiParameter("kind", enum=Report.Kind.values, location="path"),
            OpenApiParameter("day", OpenApiTypes.DATE, location="path", description="A day that the report is of."),
            OpenApiParameter(
                "version",
                {"type": "integer", "minimum": 0, "maximum": 999_999_999},
                description="An older version; without it, the newest.",
            ),
        ],
        responses={
            (200, "application/json"): OpenApiTypes.OBJECT,
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "text/plain"): OpenApiTypes.STR,
            **refusals(400, 404),
        },
    )
    def get(self, request: Request, name: str, kind: str, day: str) -> Response:
        """As JSON; ``?format=csv`` one figure a row, ``?format=report`` as text."""
        version = request.query_params.get("version")
        if version is not None and not (version.isascii() and version.isdigit() and len(version) <= 9):
            raise exceptions.ValidationError({"version": _("Must be a whole number.")})
        try:
            report = find_report(
                kind, get_rollout(name).name, parse_day(day), version=None if version is None else int(version)
            )
        except ReportNotFound as missing:
            raise exceptions.NotFound(str(missing)) from missing
        headers = {}
        if isinstance(request.accepted_renderer, CsvRenderer):
            filename = f"{report.rollout}-{kind}-{report.first_day}.csv"
            headers["Content-Disposition"] = f'attachment; filename="{filename}"'
            return Response(report_csv(report.document), headers=headers)
        if isinstance(request.accepted_renderer, ReportRenderer):
            return Response(report_text(report.document), headers=headers)
        return Response(report.document, headers=headers)
