"""Daily and weekly reports, to read and to print."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from metrics.read_only import ReadOnlyAdmin
from rollout import text
from rollout.models import Report, Verdict


@admin.register(Report)
class ReportAdmin(ReadOnlyAdmin):
    """What each day and week came to, newest first; older versions can be found too."""

    list_display = ("first_day", "kind", "rollout", "version", "candidate", "baseline", "saved", "decision", "built_at")
    list_filter = ("kind", "is_newest", ("rollout", admin.AllValuesFieldListFilter))
    date_hierarchy = "first_day"
    change_form_template = "admin/rollout/report/change_form.html"

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """As a page to read and to print."""
        report = kwargs.get("obj")
        if report is not None:
            context.update(
                {
                    "report": report,
                    "arm_rows": text.arm_rows(report.document),
                    "cost_rows": text.cost_rows(report.document),
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
