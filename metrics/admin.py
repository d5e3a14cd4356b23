"""Calls and daily reports, to look at."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from metrics.models import CallTotal, ModelCall
from metrics.read_only import ReadOnlyAdmin


def _usd(amount: Decimal | None) -> str | None:
    """All the digits that an amount has, without the zeros after them."""
    return None if amount is None else f"${amount.normalize():f}"


def _id(text: str) -> UUID | None:
    """An id as it is shown here, or as an answer has it in OpenAI's documents; a bare one is a unit's."""
    bare = text.removeprefix("chatcmpl-")
    try:
        found = UUID(bare)
    except ValueError:
        return None
    return found if bare != text or str(found) == text.lower() else None


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than ``most``: all the calls there are take a second a dozen millions, for a number that nobody
    pages through.
    """

    most = 10_000

    @cached_property
    def count(self) -> int:
        """How many, or one more than ``most``."""
        rows: Any = self.object_list
        return int(rows.order_by()[: self.most + 1].count())


class CountedValuesFilter(admin.AllValuesFieldListFilter):
    """By the values that calls have, as the totals know them: to ask millions of calls for theirs takes seconds."""

    def __init__(self, field: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(field, *args, **kwargs)
        self.lookup_choices = CallTotal.objects.distinct().order_by(field.name).values_list(field.name, flat=True)


class SinceFilter(admin.SimpleListFilter):
    """How far back calls are looked at; a week where nothing is said.

    Whatever else they are filtered or ordered by, to look at all of them takes ten seconds a dozen millions. What is
    searched for has indexes, and is sought among all.
    """

    title = _("time")
    parameter_name = "since"
    days: Mapping[str, int] = {"day": 1, "week": 7, "month": 30}

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        super().__init__(request, *args)
        self._usual = "all" if request.GET.get(SEARCH_VAR) else "week"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """All there are."""
        return [("day", _("24 hours")), ("week", _("7 days")), ("month", _("30 days")), ("all", _("All"))]

    def value(self) -> str:
        """The one that is chosen."""
        given = super().value()
        return given if given in dict(self.lookup_choices) else self._usual

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Those that started since."""
        days = self.days.get(self.value())
        return queryset if days is None else queryset.filter(started_at__gte=timezone.now() - timedelta(days=days))

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Without Django's own "All", which is what stands here without a word."""
        for key, title in self.lookup_choices:
            address = changelist.get_query_string({self.parameter_name: key})
            yield {"selected": key == self.value(), "query_string": address, "display": title}


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
        "surface",
        "application",
    )
    list_filter = (
        SinceFilter,
        "outcome",
        "arm",
        ("reason", CountedValuesFilter),
        ("rollout", CountedValuesFilter),
        ("served_model", CountedValuesFilter),
        ("surface", CountedValuesFilter),
        "is_demo",
    )
    # For the box to be there; see ``get_search_results``.
    search_fields = ("unit", "answer_id", "id", "application")
    search_help_text = _(
        "A unit, an answer's id, a call's id or an application (the prefix of its key), in full, among all calls. "
        "Without one the last 7 days are listed; the filter goes further back."
    )
    paginator = BoundedPaginator
    show_full_result_count = False
    # Those of each filter read all calls there are.
    show_facets = admin.ShowFacets.NEVER

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Ids by their indexes: Django's way, all fields without regard to case, reads all calls for any of them."""
        term = search_term.strip()
        if not term:
            return queryset, False
        asked = _id(term)
        of_it = Q(unit=term) | Q(application=term) if asked is None else Q(answer_id=asked) | Q(id=asked)
        return queryset.filter(of_it), False

    @admin.display(description=_("cost"), ordering="cost_usd")
    def cost(self, call: ModelCall) -> str | None:
        """In dollars."""
        return _usd(call.cost_usd)
