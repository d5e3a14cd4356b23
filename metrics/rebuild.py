"""Makes the roll-ups anew from the calls: the same, to the last digit.

Part of metrics' services. Reads the calls that are counted, day by day, while roll-ups
pause; what ends meanwhile waits.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import Max, QuerySet

from metrics.arms import ArmSums
from metrics.fold import CallRow, ClusterKey, First, Fold, PersonInArm, PersonInRun, SliceKey, coarser, side_by_side
from metrics.models import MADE_OF_OTHERS, ArmSum, CallTotal, FirstSeen, LastSeen, ModelCall, RollupState, Slice
from metrics.rollup import (
    add_up,
    newest_windows,
    save_arms,
    save_first,
    save_last,
    save_slices,
    save_totals,
    stored_arms,
)
from metrics.slices import Grain, floor
from metrics.sums import DECIDING_REASON, Sums, cluster_of, person_of
from metrics.totals import Total, TotalKey

# How long roll-ups wait for a rebuild that shows no sign of life.
PAUSE = timedelta(minutes=2)
CHUNK = 20_000
STRETCH, DELETED = ArmSum.Scope.STRETCH.value, ArmSum.Scope.DELETED.value
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class RebuildRefused(Exception):
    """Another rebuild is at work, or took over; try again later."""


def rebuild_rollups(*, clock: Callable[[], datetime]) -> int:
    """Make all roll-ups anew; ``clock`` tells the time in UTC. Returns how many calls they hold. Raises RebuildRefused.

    Where old calls are deleted, their slices stay, and the other sums begin from what was kept of them.
    """
    pause = _Pause(clock)
    horizon = pause.begin()
    last = _last_seen()
    fold = Fold(windows=newest_windows())
    done, empty_from = 0, horizon
    for day, calls in _days(pause):
        done += _fold_day(fold, day, calls, pause, horizon=horizon, last=last)
        Slice.objects.filter(start__gte=empty_from, start__lt=day).delete()
        empty_from = max(empty_from, day + Grain.DAY.length)
    with transaction.atomic():
        pause.check()
        Slice.objects.filter(start__gte=empty_from).delete()
        _replace_people(fold, last, horizon)
        _replace_clusters(fold)
        _replace_totals(fold)
        add_up(MADE_OF_OTHERS)
        pause.end()
    return done


class _Pause:
    """Keeps roll-ups waiting, as long as it is renewed."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._until: datetime | None = None

    def begin(self) -> datetime:
        """Wait for a roll-up that is running, and keep others from starting. Returns the horizon."""
        RollupState.objects.get_or_create(pk=1)
        with transaction.atomic():
            state = RollupState.objects.select_for_update().get(pk=1)
            if state.rebuilding_until is not None and state.rebuilding_until > self._clock():
                raise RebuildRefused
            self._write(self._clock() + PAUSE)
            # Days are made anew one by one, and what is made of others at the end.
            RollupState.objects.filter(pk=1).update(**dict.fromkeys(MADE_OF_OTHERS.values()))
        return state.horizon or BEGINNING

    def renew(self) -> None:
        """Show that the rebuild is alive."""
        with transaction.atomic():
            self.check()
            self._write(self._clock() + PAUSE)

    def end(self) -> None:
        """Let roll-ups go on, in the caller's transaction: all is made anew."""
        self._write(None)
        now = self._clock()
        RollupState.objects.filter(pk=1).update(changed_at=now, **dict.fromkeys(MADE_OF_OTHERS.values(), now))

    def check(self) -> None:
        """Lock the roll-ups for the caller's transaction. Raises RebuildRefused where another rebuild took over."""
        if RollupState.objects.select_for_update().get(pk=1).rebuilding_until != self._until:
            raise RebuildRefused

    def _write(self, until: datetime | None) -> None:
        self._until = until
        RollupState.objects.filter(pk=1).update(rebuilding_until=until)


def _days(pause: _Pause) -> Iterator[tuple[datetime, "QuerySet[ModelCall]"]]:
    """Each UTC day that has counted calls, with them."""
    counted = ModelCall.objects.filter(counted=True)
    day: datetime | None = None
    while True:
        later = counted if day is None else counted.filter(started_at__gte=day + Grain.DAY.length)
        first = later.order_by("started_at").values_list("started_at", flat=True).first()
        if first is None:
            return
        pause.renew()
        day = floor(first, Grain.DAY)
        yield day, counted.filter(started_at__gte=day, started_at__lt=day + Grain.DAY.length)


def _fold_day(
    fold: Fold,
    day: datetime,
    calls: "QuerySet[ModelCall]",
    pause: _Pause,
    *,
    horizon: datetime,
    last: dict[PersonInArm, datetime],
) -> int:
    # A rating that waits to be counted is not in the roll-ups yet.
    counted = {"rating": "counted_rating", "rating_reason": "counted_rating_reason"}
    names = [counted.get(name, name) for name in CallRow._fields]
    done, chunk = 0, []
    for values in calls.values_list(*names).iterator(chunk_size=CHUNK):
        chunk.append(CallRow(*values))
        if len(chunk) == CHUNK:
            fold.add(chunk)
            done += len(chunk)
            chunk = []
            pause.renew()
    fold.add(chunk)
    fives, fold.slices, fold.last = fold.slices, defaultdict(Sums), {}
    if day >= horizon:
        for person, start in last.items():
            if floor(start, Grain.DAY) == day:
                fives[SliceKey(person.rollout, Grain.FIVE_MINUTES, start, person.arm, DECIDING_REASON)].last_seen += 1
        with transaction.atomic():
            Slice.objects.filter(start__gte=day, start__lt=day + Grain.DAY.length).delete()
            save_slices({**fives, **coarser(fives, Grain.HOUR), **coarser(fives, Grain.DAY)})
    return done + len(chunk)


def _last_seen() -> dict[PersonInArm, datetime]:
    seen = (
        ModelCall.objects.filter(counted=True, reason=DECIDING_REASON, attempt=1)
        .exclude(rollout="")
        .order_by()
        .values_list("rollout", "arm", "unit")
        .annotate(last=Max("started_at"))
    )
    return {
        PersonInArm(rollout, arm, person_of(rollout, unit)): floor(last, Grain.FIVE_MINUTES)
        for rollout, arm, unit, last in seen.iterator(chunk_size=CHUNK)
    }


def _replace_people(fold: Fold, last: dict[PersonInArm, datetime], horizon: datetime) -> None:
    """People who were first there before the horizon stay as they are."""
    FirstSeen.objects.filter(started_at__gte=horizon).delete()
    kept = {PersonInRun(*key) for key in FirstSeen.objects.values_list(*PersonInRun._fields)}
    save_first({key: first for key, first in fold.first.items() if key not in kept})
    LastSeen.objects.filter(start__gte=horizon).delete()
    save_last({key: start for key, start in last.items() if start >= horizon})


def _replace_clusters(fold: Fold) -> None:
    people = FirstSeen.objects.values_list(*PersonInRun._fields, *First._fields).iterator(chunk_size=CHUNK)
    for rollout, run, person, _started_at, stretch, arm in people:
        fold.clusters[ClusterKey(rollout, run, stretch, STRETCH, arm, cluster_of(person))].people += 1
    arms = side_by_side(fold.clusters)
    for key, deleted in stored_arms(ArmSum.objects.filter(scope=DELETED)):
        arms.setdefault(key._replace(scope=STRETCH), ArmSums()).merge(deleted)
    ArmSum.objects.exclude(scope=DELETED).delete()
    save_arms(arms)


def _replace_totals(fold: Fold) -> None:
    for row in CallTotal.objects.filter(deleted=True):
        key = TotalKey(**{name: getattr(row, name) for name in TotalKey._fields})
        fold.totals[key].merge(Total.from_json(row.sums))
    CallTotal.objects.filter(deleted=False).delete()
    save_totals(fold.totals)
