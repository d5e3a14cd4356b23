"""Calls and daily reports, to look at."""

from decimal import Decimal

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from metrics.models import ModelCall
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
