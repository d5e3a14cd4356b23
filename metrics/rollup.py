"""Keeps the roll-ups up: takes ended calls that wait, adds them to the sums, marks them as counted. Exactly once.

Each batch is one transaction under one lock: a worker that is killed leaves nothing behind, a second one finds nothing
to do, a call that ends late is simply taken late. Part of metrics' services; is told the time.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q

from metrics.arms import BINS, ArmSums, Histograms, Packed, pack
from metrics.fold import (
    ArmKey,
    CallRow,
    First,
    Fold,
    NewestWindow,
    PersonInArm,
    PersonInRun,
    SliceKey,
    coarser,
    side_by_side,
)
from metrics.models import MADE_OF_OTHERS, ArmSum, CallTotal, FirstSeen, LastSeen, ModelCall, RollupState, Slice, Window
from metrics.slices import Grain, floor
from metrics.sums import DECIDING_REASON, Sums
from metrics.totals import Total, TotalKey

BATCH = 2000
# As long as there is traffic, evidence starts anew each time this many requests have come.
WINDOW_REQUESTS = 2000
# Of those that are made of others, so many are held before they are written.
SLICES_AT_ONCE = 500
WINDOW = ArmSum.Scope.WINDOW.value


def roll_up(*, now: datetime, batches: int | None = None) -> int:
    """Add what waits to the roll-ups, at most ``batches`` of 2,000 calls. Returns how many calls that were.

    Does nothing while another process does it. What is read from the roll-ups then stands as of ``now``, once
    nothing waits any more.
    """
    done = 0
    while batches is None or batches > 0:
        taken = _roll_up_batch(now)
        done += taken
        if taken < BATCH:
            break
        batches = None if batches is None else batches - 1
    return done


def lock_state() -> RollupState | None:
    """The one row whose lock lets write roll-ups, inside a transaction; ``None`` while another process holds it."""
    RollupState.objects.get_or_create(pk=1)
    return RollupState.objects.select_for_update(skip_locked=True).filter(pk=1).first()


def rows(calls: "models.QuerySet[ModelCall]") -> list[CallRow]:
    """Calls as the fold takes them."""
    return [CallRow(*values) for values in calls.values_list(*CallRow._fields)]


def stored_calls(calls: Sequence[CallRow]) -> "models.QuerySet[ModelCall]":
    """Some calls' rows again, one at least, sought in the partitions of their days alone."""
    started = [call.started_at for call in calls]
    return ModelCall.objects.filter(
        id__in=[call.id for call in calls], started_at__gte=min(started), started_at__lte=max(started)
    )


def newest_windows() -> dict[tuple[str, int], NewestWindow]:
    """The newest window of each run."""
    # A run has one for each 2,000 requests: those with one after them stay where they are.
    following = Window.objects.filter(rollout=OuterRef("rollout"), run=OuterRef("run"), number=OuterRef("number") + 1)
    return {
        (window.rollout, window.run): NewestWindow(stretch=window.stretch, starts_at=window.starts_at)
        for window in Window.objects.filter(~Exists(following))
    }


def add_up(grains: Collection[Grain]) -> None:
    """Make the slices of these grains anew, of the next shorter ones; inside the caller's transaction and lock."""
    names = [*SliceKey._fields, "sums"]
    for grain in grains:
        shorter = Slice.objects.filter(grain=max(each for each in Grain if each < grain))
        Slice.objects.filter(grain=grain).delete()
        made: dict[SliceKey, Sums] = defaultdict(Sums)
        for *values, sums in shorter.order_by("start").values_list(*names).iterator():
            short = SliceKey(*values)
            key = short._replace(grain=grain, start=floor(short.start, grain))
            if key.start == short.start and len(made) >= SLICES_AT_ONCE:
                # Those before it have all that is theirs.
                save_slices({each: made.pop(each) for each in [*made] if each.start < key.start})
            made[key].merge_json(sums)
        save_slices(made)


def _store(fold: Fold, *, behind: Collection[Grain]) -> None:
    """Add a fold's deltas to what is stored, but for slices of those grains, which are made anew afterwards; inside the
    caller's transaction and lock.
    """
    _see_first(fold)
    _see_last(fold)
    _add_slices(fold.slices, behind)
    _add_arms(side_by_side(fold.clusters))
    _add_totals(fold.totals)


def _roll_up_batch(now: datetime) -> int:
    with transaction.atomic():
        state = lock_state()
        if state is None or (state.rebuilding_until is not None and state.rebuilding_until > now):
            return 0
        # A rebuild that gave no sign of life has lost its turn, and finds that out when it comes back.
        state.rebuilding_until = None
        behind = [grain for grain, mark in MADE_OF_OTHERS.items() if getattr(state, mark) != state.changed_at]
        # Locked: a rating that comes now waits, and makes its call pending again.
        waiting = ModelCall.objects.select_for_update().filter(pending=True, ended_at__isnull=False)
        calls = rows(waiting.order_by("ended_at")[:BATCH])
        if calls:
            new = [call for call in calls if not call.counted]
            _open_windows(new, now)
            fold = Fold(windows=newest_windows())
            fold.add(new)
            fold.rerate(call for call in calls if call.counted)
            _store(fold, behind=behind)
            _mark_counted(calls)
            _close_full_windows(fold, now)
            # Each batch is a change of its own, for whoever asks whether there was one.
            before = state.changed_at
            state.changed_at = now if before is None or before < now else before + timedelta(microseconds=1)
        add_up(behind)
        for mark in MADE_OF_OTHERS.values():
            setattr(state, mark, state.changed_at)
        if len(calls) < BATCH:
            state.rolled_at = now
        state.save(update_fields=["rolled_at", "changed_at", "rebuilding_until", *MADE_OF_OTHERS.values()])
    return len(calls)


def _mark_counted(calls: Sequence[CallRow]) -> None:
    by_rating = defaultdict(list)
    for call in calls:
        by_rating[call.rating, call.rating_reason].append(call)
    for (rating, reason), rated in by_rating.items():
        stored_calls(rated).update(pending=False, counted=True, counted_rating=rating, counted_rating_reason=reason)


# --- windows --------------------------------------------------------------------------------


def _open_windows(calls: Iterable[CallRow], now: datetime) -> None:
    """A stretch's first call begins a window of its own. Where that stretch is over, the present one begins another:
    the newest window is what harm is seen in.
    """
    stretches = {
        (call.rollout, call.run, call.stretch): call.percent
        for call in calls
        if call.rollout and call.reason == DECIDING_REASON
    }
    for (rollout, run, stretch), percent in sorted(stretches.items()):
        windows = Window.objects.filter(rollout=rollout, run=run)
        if not windows.filter(stretch=stretch).exists():
            newest = windows.order_by("number").last()
            _begin_window(rollout, run, stretch=stretch, percent=percent, starts_at=None)
            if newest is not None and newest.stretch > stretch:
                _begin_window(rollout, run, stretch=newest.stretch, percent=newest.percent, starts_at=now)


def _begin_window(rollout: str, run: int, **of_window: Any) -> None:
    number = Window.objects.filter(rollout=rollout, run=run).count()
    Window.objects.create(rollout=rollout, run=run, number=number, **of_window)
    ArmSum.objects.filter(rollout=rollout, run=run, scope=WINDOW).delete()


def _close_full_windows(fold: Fold, now: datetime) -> None:
    for rollout, run in {(key.rollout, key.run) for key in fold.clusters if key.scope == WINDOW}:
        window = ArmSum.objects.filter(rollout=rollout, run=run, scope=WINDOW)
        if sum(sum(sums.get("n", ())) for sums in window.values_list("sums", flat=True)) >= WINDOW_REQUESTS:
            newest = Window.objects.filter(rollout=rollout, run=run).latest("number")
            _begin_window(rollout, run, stretch=newest.stretch, percent=newest.percent, starts_at=now)


# --- people ---------------------------------------------------------------------------------


def _see_first(fold: Fold) -> None:
    known = {
        PersonInRun(row.rollout, row.run, row.person): First(row.started_at, row.stretch, row.arm)
        for row in FirstSeen.objects.filter(
            rollout__in={key.rollout for key in fold.first}, person__in={key.person for key in fold.first}
        )
    }
    moved = {key: first for key, first in fold.first.items() if key not in known or first < known[key]}
    for key, first in moved.items():
        fold.move_first(key, old=known.get(key), new=first)
    save_first(moved)


def save_first(people: Mapping[PersonInRun, First]) -> None:
    """Write people's first requests."""
    FirstSeen.objects.bulk_create(
        (FirstSeen(**key._asdict(), **first._asdict()) for key, first in people.items()),
        batch_size=500,
        update_conflicts=True,
        unique_fields=["rollout", "run", "person"],
        update_fields=["arm", "stretch", "started_at"],
    )


def _see_last(fold: Fold) -> None:
    known = {
        PersonInArm(row.rollout, row.arm, row.person): row.start
        for row in LastSeen.objects.filter(
            rollout__in={key.rollout for key in fold.last}, person__in={key.person for key in fold.last}
        )
    }
    moved = {key: start for key, start in fold.last.items() if key not in known or start > known[key]}
    for key, start in moved.items():
        fold.move_last(key, old=known.get(key), new=start)
    save_last(moved)


def save_last(people: Mapping[PersonInArm, datetime]) -> None:
    """Write people's newest slices."""
    LastSeen.objects.bulk_create(
        (LastSeen(**key._asdict(), start=start) for key, start in people.items()),
        batch_size=500,
        update_conflicts=True,
        unique_fields=["rollout", "arm", "person"],
        update_fields=["start"],
    )


# --- sums -----------------------------------------------------------------------------------


def _add_slices(fives: Mapping[SliceKey, Sums], behind: Collection[Grain]) -> None:
    deltas = {**fives}
    for grain in Grain:
        if grain != Grain.FIVE_MINUTES and grain not in behind:
            deltas |= coarser(fives, grain)
    # Of the others only what was known of them has changed, and not who was there.
    visited = {key for key, sums in deltas.items() if sums.requests}
    wanted = Q()
    for grain in Grain:
        starts = {key.start for key in deltas if key.grain == grain}
        wanted |= Q(grain=grain, start__in=starts)
    stored = Slice.objects.filter(wanted, rollout__in={key.rollout for key in deltas}) if deltas else ()
    for row in stored:
        key = SliceKey(row.rollout, row.grain, row.start, row.arm, row.reason)
        if key in deltas:
            deltas[key].merge(Sums.from_json(row.sums))
    save_slices({key: sums for key, sums in deltas.items() if key in visited})
    _save(Slice, {key: sums for key, sums in deltas.items() if key not in visited}, SliceKey._fields)


def save_slices(slices: Mapping[SliceKey, Sums]) -> None:
    """Write slices' sums; who was there is then to be counted again."""
    _save(Slice, slices, SliceKey._fields, also={"people": None})


def _add_arms(deltas: Mapping[ArmKey, ArmSums]) -> None:
    for rollout, run, stretch in {(key.rollout, key.run, key.stretch) for key in deltas}:
        for key, stored in stored_arms(ArmSum.objects.filter(rollout=rollout, run=run, stretch=stretch)):
            if key in deltas:
                deltas[key].merge(stored)
    save_arms(deltas)


def stored_arms(wanted: "models.QuerySet[ArmSum]") -> Iterator[tuple[ArmKey, ArmSums]]:
    """Arms' sums as they are stored."""
    for row in wanted:
        bins: Histograms = {name: Packed(bytes(getattr(row, name))) for name in BINS}
        yield ArmKey(*(getattr(row, name) for name in ArmKey._fields)), ArmSums(numbers=row.sums, bins=bins)


def save_arms(arms: Mapping[ArmKey, ArmSums]) -> None:
    """Write arms' sums."""
    ArmSum.objects.bulk_create(
        (
            ArmSum(**key._asdict(), sums=sums.to_json(), **{name: pack(sums.bins.get(name, {})) for name in BINS})
            for key, sums in arms.items()
        ),
        update_conflicts=True,
        unique_fields=ArmKey._fields,
        update_fields=["sums", *BINS],
    )


def _add_totals(deltas: Mapping[TotalKey, Total], *, deleted: bool = False) -> None:
    for row in CallTotal.objects.filter(rollout__in={key.rollout for key in deltas}, deleted=deleted):
        key = TotalKey(**{name: getattr(row, name) for name in TotalKey._fields})
        if key in deltas:
            deltas[key].merge(Total.from_json(row.sums))
    save_totals(deltas, deleted=deleted)


def save_totals(totals: Mapping[TotalKey, Total], *, deleted: bool = False) -> None:
    """Write totals."""
    _save(CallTotal, totals, TotalKey._fields, key_also={"deleted": deleted})


def add_deleted(fold: Fold) -> None:
    """Keep what a rebuild begins from: the sums of calls whose rows are about to be deleted.

    A window holds calls that are there: those that go leave it.
    """
    deltas: dict[ArmKey, ArmSums] = {}
    for key, sums in side_by_side(fold.clusters).items():
        if key.scope == WINDOW:
            deltas[key] = ArmSums()
            deltas[key].merge(sums, -1)
        else:
            deltas[key._replace(scope=ArmSum.Scope.DELETED.value)] = sums
    _add_arms(deltas)
    _add_totals(fold.totals, deleted=True)


def _save(
    model: type[models.Model],
    sums: Mapping[Any, Any],
    names: Sequence[str],
    *,
    key_also: Mapping[str, Any] | None = None,
    also: Mapping[str, Any] | None = None,
) -> None:
    key_also, also = key_also or {}, also or {}
    model._default_manager.bulk_create(
        (
            model(**dict(zip(names, key, strict=True)), **key_also, **also, sums=value.to_json())
            for key, value in sums.items()
        ),
        batch_size=500,
        update_conflicts=True,
        unique_fields=[*names, *key_also],
        update_fields=["sums", *also],
    )
