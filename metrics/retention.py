"""Lets old calls go without the roll-ups losing anything. Part of metrics' services; is told the time.

A day that has a partition goes with it, whole; whatever else is old goes in batches, and so does all on SQLite.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice

from django.db import transaction
from django.db.models import Q, QuerySet

from metrics import partitions
from metrics.fold import CallRow, Fold
from metrics.models import LastSeen, ModelCall, Outcome, RollupState, Slice
from metrics.partitions import Partition, TableBusy
from metrics.rollup import BATCH, add_deleted, newest_windows, rows, stored_calls
from metrics.slices import Grain, floor

# Calls in memory at once while a day is added up.
CHUNK = 10_000

logger = logging.getLogger(__name__)


class _Kept(Exception):
    """The partition can't go yet: nothing of the transaction may stay."""


def delete_old_calls(*, now: datetime, days: int) -> int:
    """Delete the calls of whole UTC days more than ``days`` ago, and the slices of five minutes of that time.

    Hours, days and all other sums stay. A call that is not counted yet, or whose new rating is not, stays until it is,
    and its day's partition with it. Returns how many calls were deleted.
    """
    horizon = floor(now - timedelta(days=days), Grain.DAY)
    RollupState.objects.get_or_create(pk=1)
    deleted, in_batches = 0, Q(started_at__lt=horizon)
    for partition in partitions.partitions():
        if partition.until > horizon or not _is_for_dropping(partition):
            continue
        dropped = _drop(partition, horizon)
        deleted += dropped or 0
        if dropped is None:
            in_batches &= ~partition.condition
    while (batch := _delete_batch(in_batches, horizon)) is not None:
        deleted += batch
        if batch < BATCH:
            break
    Slice.objects.filter(grain=Grain.FIVE_MINUTES, start__lt=horizon).delete()
    LastSeen.objects.filter(start__lt=horizon).delete()
    return deleted


def _is_for_dropping(partition: Partition) -> bool:
    """A day is; what was there before there were partitions is years of them, and goes when batches have emptied it."""
    return partition.since is not None or not ModelCall.objects.filter(partition.condition).exists()


def _drop(partition: Partition, horizon: datetime) -> int | None:
    """Keep what its calls add up to and drop it, both or neither. Returns how many there were; ``None``: not now."""
    calls = ModelCall.objects.filter(partition.condition)
    try:
        with transaction.atomic():
            _begin(horizon)
            dropped = 0
            if partition not in partitions.partitions():
                # Another process has dropped it.
                return dropped
            _refuse_waiting(calls)
            found = calls.order_by().values_list(*CallRow._fields).iterator(chunk_size=CHUNK)
            while chunk := [CallRow(*values) for values in islice(found, CHUNK)]:
                _keep_sums(chunk)
                dropped += len(chunk)
            with partitions.exclusively():
                # A call that was rated meanwhile has set itself waiting; from here on nobody can.
                _refuse_waiting(calls)
                partitions.drop(partition)
    except _Kept as kept:
        logger.info("Partition %s of old calls stays for now: %s", partition.name, kept)
        return None
    except TableBusy:
        logger.info("Partition %s of old calls stays for now: the table is busy", partition.name)
        return None
    return dropped


def _begin(horizon: datetime) -> None:
    """Take the lock of the roll-ups; not while a rebuild is at work, which reads what would go."""
    state = RollupState.objects.select_for_update().get(pk=1)
    if state.rebuilding_until is not None:
        raise _Kept("the roll-ups are being rebuilt")
    if state.horizon is None or state.horizon < horizon:
        state.horizon = horizon
        state.save(update_fields=["horizon"])


def _refuse_waiting(calls: "QuerySet[ModelCall]") -> None:
    """Each of the two has an index of its own, of waiting calls alone."""
    ended = calls.filter(pending=True, ended_at__isnull=False)
    if ended.exists() or calls.filter(outcome=Outcome.RUNNING).exists():
        raise _Kept("a call waits to be counted")


def _delete_batch(wanted: Q, horizon: datetime) -> int | None:
    """``None`` while a rebuild is at work."""
    try:
        with transaction.atomic():
            _begin(horizon)
            calls = rows(ModelCall.objects.filter(wanted, counted=True, pending=False)[:BATCH])
            if calls:
                _keep_sums(calls)
                stored_calls(calls).delete()
    except _Kept:
        return None
    return len(calls)


def _keep_sums(calls: Sequence[CallRow]) -> None:
    fold = Fold(windows=newest_windows())
    fold.add(calls)
    add_deleted(fold)
