"""Calls and daily reports, to look at."""

from decimal import Decimal

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from metrics.models import DailyReport, ModelCall
from metrics.read_only import ReadOnlyAdmin


def _usd(amount: Decimal | None) -> str | None:
    """All the digits that an amount has, without the zeros after them."""
    return None if amount is None else f"${amount.normalize():f}"


@admin.register(ModelCall)
class ModelCallAdmin(ReadOnlyAdmin):
    """Each attempt at an answer, newest first."""

    list_display = (
        "started_at",
        "outcome",
        "arm",
        "reason",
        "served_model",
        "ttft_ms",
        "latency_ms",
        "cost",
        "error_class",
        "rating",
        "attempt",
        "rollout",
    )
    list_filter = (
        "outcome",
        "arm",
        ("reason", admin.AllValuesFieldListFilter),
        ("rollout", admin.AllValuesFieldListFilter),
        ("served_model", admin.AllValuesFieldListFilter),
        "is_demo",
    )
    search_fields = ("=unit", "=answer_id", "=id")
    search_help_text = _("A unit, an answer's id or a call's id, in full.")
    # Counting every call ever made, only to say "of 12,345,678", is slow.
    show_full_result_count = False

    @admin.display(description=_("cost"), ordering="cost_usd")
    def cost(self, call: ModelCall) -> str | None:
        """In dollars."""
        return _usd(call.cost_usd)


@admin.register(DailyReport)
class DailyReportAdmin(ReadOnlyAdmin):
    """Each day's sums, newest first."""

    list_display = (
        "day",
        "rollout",
        "arm",
        "requests",
        "people",
        "expected_requests",
        "ttft",
        "cost",
        "cost_at_baseline",
        "cost_unknown",
        "rating",
        "fallbacks",
    )
    list_filter = ("rollout", "arm")
    date_hierarchy = "day"

    @admin.display(description=_("mean time to first token (ms)"), ordering="ttft_mean_ms")
    def ttft(self, report: DailyReport) -> int | None:
        """To the millisecond."""
        return None if report.ttft_mean_ms is None else round(report.ttft_mean_ms)

    @admin.display(description=_("cost"), ordering="cost_usd")
    def cost(self, report: DailyReport) -> str | None:
        """In dollars."""
        return _usd(report.cost_usd)

    @admin.display(description=_("cost at the baseline's price"), ordering="baseline_cost_usd")
    def cost_at_baseline(self, report: DailyReport) -> str | None:
        """In dollars."""
        return _usd(report.baseline_cost_usd)

    @admin.display(description=_("mean rating"), ordering="rating_mean")
    def rating(self, report: DailyReport) -> str | None:
        """To two digits."""
        return None if report.rating_mean is None else f"{report.rating_mean:.2f}"
