"""Daily and weekly reports: to read, to print and to take away as files."""

import json
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _

from metrics.read_only import ReadOnlyAdmin
from rollout import text
from rollout.models import Report, Verdict
from rollout.report_charts import report_charts
from rollout.report_files import report_csv
from rollout.report_tables import lead, report_tables, title_of


@admin.register(Report)
class ReportAdmin(ReadOnlyAdmin):
    """What each day and week came to, newest first; older versions can be found too."""

    list_display = ("first_day", "kind", "rollout", "version", "candidate", "baseline", "saved", "decision", "built_at")
    list_filter = ("kind", "is_newest", ("rollout", admin.AllValuesFieldListFilter))
    date_hierarchy = "first_day"
    change_form_template = "admin/rollout/report/change_form.html"

    def get_urls(self) -> list[URLPattern]:
        """Before admin's own, the last of which takes every path."""
        view = self.admin_site.admin_view(self.file_view)
        address = "<int:object_id>/report.<slug:format>"
        return [path(address, view, name="rollout_report_file"), *super().get_urls()]

    def file_view(self, request: HttpRequest, object_id: int, format: str) -> HttpResponse:
        """The report as CSV or JSON."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        report: Any = self.get_object(request, str(object_id))
        writers = {
            "csv": ("text/csv", report_csv),
            "json": ("application/json", lambda document: json.dumps(document, indent=2, ensure_ascii=False)),
        }
        if report is None or format not in writers:
            raise Http404
        content_type, write = writers[format]
        name = f"{report.rollout}-{report.kind}-{report.first_day}-v{report.version}.{format}"
        return HttpResponse(
            write(report.document),
            content_type=f"{content_type}; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """As a page to read and to print."""
        report = kwargs.get("obj")
        if report is not None:
            document = report.document
            versions = Report.objects.filter(kind=report.kind, rollout=report.rollout, first_day=report.first_day)
            context.update(
                {
                    "title": title_of(document),
                    "report": report,
                    "lead": lead(document),
                    "tables": report_tables(document),
                    "charts": report_charts(document),
                    "files": [
                        (format.upper(), reverse("admin:rollout_report_file", args=[report.pk, format]))
                        for format in ("csv", "json")
                    ],
                    "versions": versions.order_by("version").only("version", "built_at"),
                }
            )
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("candidate's requests"))
    def candidate(self, report: Report) -> int:
        """First attempts."""
        return int(report.document["arms"]["candidate"]["requests"])

    @admin.display(description=_("baseline's requests"))
    def baseline(self, report: Report) -> int:
        """First attempts."""
        return int(report.document["arms"]["baseline"]["requests"])

    @admin.display(description=_("saved"))
    def saved(self, report: Report) -> str:
        """In dollars."""
        return text.usd(report.document["arms"]["candidate"]["savedUsd"])

    @admin.display(description=_("decision at the end"))
    def decision(self, report: Report) -> str:
        """In words."""
        decision = report.document["decision"]
        return "–" if decision is None else str(Verdict(decision["verdict"]).label)
