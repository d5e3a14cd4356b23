"""Counts who was there in each hour and day that is over. Part of metrics' services; is told the time."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count

from metrics.models import ModelCall, Slice
from metrics.slices import Grain

# Most answers have ended by then; one that ends later has its slice counted again.
SETTLED_AFTER = timedelta(minutes=5)


def count_people(*, now: datetime) -> int:
    """Count the people of each hour and day that is over and has changed since it was counted last.

    Returns how many slices that were.
    """
    due = [
        pk
        for grain in (Grain.HOUR, Grain.DAY)
        for pk in Slice.objects.filter(
            people__isnull=True, grain=grain, start__lte=now - grain.length - SETTLED_AFTER
        ).values_list("pk", flat=True)
    ]
    for pk in due:
        _count_in(pk)
    return len(due)


def people_between(*, rollout: str, arm: str, reason: str, since: datetime, until: datetime) -> int:
    """How many people's ended requests started between two moments, from the calls themselves."""
    calls = ModelCall.objects.filter(
        rollout=rollout,
        arm=arm,
        reason=reason,
        attempt=1,
        ended_at__isnull=False,
        started_at__gte=since,
        started_at__lt=until,
    )
    counted: int = calls.aggregate(n=Count("unit", distinct=True))["n"]
    return counted


@transaction.atomic
def _count_in(pk: int) -> None:
    # Locked: a roll-up that changes the slice comes before the count or after it.
    row = Slice.objects.select_for_update().defer("sums").filter(pk=pk).first()
    if row is not None:
        row.people = people_between(
            rollout=row.rollout,
            arm=row.arm,
            reason=row.reason,
            since=row.start,
            until=row.start + timedelta(seconds=row.grain),
        )
        row.save(update_fields=["people"])
