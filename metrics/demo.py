"""Calls that never were, for a demonstration: stored in bulk, marked, and removed without a trace.

Part of metrics' services; knows its own rows and is told the time.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Min

from metrics.models import ModelCall
from metrics.people import count_people
from metrics.rebuild import rebuild_rollups
from metrics.rollup import roll_up
from metrics.services import CallEnd, CallStart, end_columns


@dataclass(frozen=True, kw_only=True)
class DemoCall:
    """A whole call, from opening to end. ``rating`` is 1 to 5, ``None`` for none, and its reason "" for none."""

    start: CallStart
    end: CallEnd
    rating: int | None = None
    rating_reason: str = ""


def store_demo_calls(calls: Iterable[DemoCall]) -> int:
    """Store ended calls, marked as demo data whatever they say. They wait to be rolled up, like any. Returns how many.

    The same rows as ``open_call`` and ``close_call`` make one by one, thousands at a time.
    """
    return len(ModelCall.objects.bulk_create([_row(call) for call in calls], batch_size=500))


def roll_up_demo_calls(*, now: datetime) -> None:
    """Bring the roll-ups up to date at once."""
    roll_up(now=now)
    count_people(now=now)


def first_demo_call() -> datetime | None:
    """When the earliest of them began, if there are any."""
    first: datetime | None = ModelCall.objects.filter(is_demo=True).aggregate(first=Min("started_at"))["first"]
    return first


def delete_demo_calls(*, clock: Callable[[], datetime]) -> int:
    """Remove all demo calls and make the roll-ups anew from what is left. Returns how many calls that were.

    Raises RebuildRefused, and removes nothing, while another rebuild is at work.
    """
    with transaction.atomic():
        deleted, _by_model = ModelCall.objects.filter(is_demo=True).delete()
        rebuild_rollups(clock=clock)
    count_people(now=clock())
    return deleted


def _row(call: DemoCall) -> ModelCall:
    return ModelCall(
        **{**vars(call.start), "is_demo": True},
        **end_columns(call.end),
        rating=call.rating,
        rating_reason=call.rating_reason,
    )
