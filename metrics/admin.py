"""Calls and daily reports, to look at."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from metrics.models import DailyReport, ModelCall
from metrics.read_only import ReadOnlyAdmin


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
        "cost_usd",
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
        "ttft_mean_ms",
        "cost_usd",
        "baseline_cost_usd",
        "cost_unknown",
        "rating_mean",
        "fallbacks",
    )
    list_filter = ("rollout", "arm")
    date_hierarchy = "day"
