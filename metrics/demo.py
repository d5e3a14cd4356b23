"""Calls that never were, for a demonstration: stored in bulk, marked, and removed without a trace.

Part of metrics' services; knows its own rows and is told the time.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.db import transaction
from django.db.models import Max, Min

from metrics.models import ModelCall
from metrics.reports import build_daily_report
from metrics.services import CallEnd, CallStart, end_columns


@dataclass(frozen=True, kw_only=True)
class DemoCall:
    """A whole call, from opening to end. ``rating`` is 1 to 5, ``None`` for none."""

    start: CallStart
    end: CallEnd
    rating: int | None = None


def has_demo_calls() -> bool:
    """Whether there are any."""
    return ModelCall.objects.filter(is_demo=True).exists()


def store_demo_calls(calls: Iterable[DemoCall], *, now: datetime) -> int:
    """Store ended calls, marked as demo data whatever they say, and build the reports of their days.

    The same rows as ``open_call`` and ``close_call`` make one by one, thousands at a time. Returns how many.
    """
    with transaction.atomic():
        stored = ModelCall.objects.bulk_create([_row(call) for call in calls], batch_size=500)
        _rebuild_reports(_demo_days(), now)
    return len(stored)


def delete_demo_calls(*, now: datetime) -> tuple[int, int]:
    """Remove all demo calls and build the reports of their days anew; days left empty lose theirs.

    Returns how many calls and days that were.
    """
    with transaction.atomic():
        days = _demo_days()
        deleted, _by_model = ModelCall.objects.filter(is_demo=True).delete()
        _rebuild_reports(days, now)
    return deleted, len(days)


def _row(call: DemoCall) -> ModelCall:
    return ModelCall(**{**vars(call.start), "is_demo": True}, **end_columns(call.end), rating=call.rating)


def _demo_days() -> list[date]:
    """The UTC days from the first demo call to the last."""
    ends = ModelCall.objects.filter(is_demo=True).aggregate(first=Min("started_at"), last=Max("started_at"))
    if ends["first"] is None:
        return []
    first, last = (ends[name].astimezone(UTC).date() for name in ("first", "last"))
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _rebuild_reports(days: Iterable[date], now: datetime) -> None:
    for day in days:
        build_daily_report(day, now=now)
