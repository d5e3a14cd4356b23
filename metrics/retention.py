"""Lets old calls go, in batches, without the roll-ups losing anything. Part of metrics' services; is told the time."""

from datetime import datetime, timedelta

from django.db import transaction

from metrics.fold import Fold
from metrics.models import LastSeen, ModelCall, RollupState, Slice
from metrics.rollup import BATCH, add_deleted, newest_windows, rows
from metrics.slices import Grain, floor


def delete_old_calls(*, now: datetime, days: int) -> int:
    """Delete the calls of whole UTC days more than ``days`` ago, and the slices of five minutes of that time.

    Hours, days and all other sums stay. A call that is not counted yet, or whose new rating is not, stays until it is.
    Returns how many calls were deleted.
    """
    horizon = floor(now - timedelta(days=days), Grain.DAY)
    RollupState.objects.get_or_create(pk=1)
    deleted = 0
    while (batch := _delete_batch(horizon)) is not None:
        deleted += batch
        if batch < BATCH:
            break
    Slice.objects.filter(grain=Grain.FIVE_MINUTES, start__lt=horizon).delete()
    LastSeen.objects.filter(start__lt=horizon).delete()
    return deleted


def _delete_batch(horizon: datetime) -> int | None:
    """``None`` while a rebuild is at work: it reads what would go."""
    with transaction.atomic():
        state = RollupState.objects.select_for_update().get(pk=1)
        if state.paused_until is not None:
            return None
        if state.horizon is None or state.horizon < horizon:
            state.horizon = horizon
            state.save(update_fields=["horizon"])
        calls = rows(ModelCall.objects.filter(counted=True, pending=False, started_at__lt=horizon)[:BATCH])
        fold = Fold(windows=newest_windows())
        fold.add(calls)
        add_deleted(fold)
        ModelCall.objects.filter(id__in=[call.id for call in calls]).delete()
    return len(calls)
