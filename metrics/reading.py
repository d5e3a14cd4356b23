"""Reads the roll-ups: health over a window, series for charts, evidence for a decision, totals for counters.

Never scans calls, but where a window ends in the past: who was there then is counted from the calls. Part of metrics'
services; is told the time.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Q, QuerySet

from metrics.health import ArmHealth, Health, Point
from metrics.models import Arm, CallTotal, ClusterSum, RollupState, Slice, Window
from metrics.people import people_between
from metrics.slices import Grain, ceil, cover, floor
from metrics.sums import DECIDING_REASON, ClusterSums, Sums
from metrics.totals import Total, TotalKey

Clusters = Mapping[int, ClusterSums]


def rolled_at() -> datetime | None:
    """As of when the roll-ups stand: all that had ended by then is in them. ``None`` before the first."""
    state = RollupState.objects.filter(pk=1).first()
    return None if state is None else state.rolled_at


def changed_at() -> datetime | None:
    """When the roll-ups last changed: until they do again, all that is read from them stays the same."""
    return RollupState.objects.filter(pk=1).values_list("changed_at", flat=True).first()


def began_at(rollout: str) -> datetime | None:
    """The beginning of the first day of which anything is known; ``None`` before the first call has ended."""
    days = Slice.objects.filter(rollout=rollout, grain=Grain.DAY).order_by("start")
    return days.values_list("start", flat=True).first()


def last_request_at(rollout: str) -> datetime | None:
    """The end of the newest slice of five minutes, or of an hour, with a request that decides; ``None`` without any."""
    slices = Slice.objects.filter(rollout=rollout, reason=DECIDING_REASON).order_by("-start")
    for grain in (Grain.FIVE_MINUTES, Grain.HOUR):
        start = slices.filter(grain=grain).values_list("start", flat=True).first()
        if start is not None:
            return start + timedelta(seconds=grain)
    return None


def health(*, rollout: str, since: datetime, until: datetime) -> Health:
    """Both arms between two moments, cut at five minutes (``since`` earlier, ``until`` later).

    Only ``DECIDING_REASON`` enters the arms. The same cost at any size, but for a window that ends before the newest
    call: its people are counted from the calls. Where old calls are deleted, windows are cut at whole hours.
    """
    state = RollupState.objects.filter(pk=1).first() or RollupState()
    since, end = (_cut(moment, up=up, state=state) for moment, up in ((since, False), (until, True)))
    # Where slices of five minutes are gone, windows are cut at hours.
    newest = _newest(rollout, Grain.FIVE_MINUTES) or _newest(rollout, Grain.HOUR)
    is_newest = newest is None or newest < end
    # Up to the newest call, whole days and hours serve that are not over.
    arms: dict[str, Sums] = defaultdict(Sums)
    other: dict[str, int] = defaultdict(int)
    slices = _between(rollout, since, ceil(end, Grain.DAY) if is_newest else end)
    for arm, reason, document in slices.values_list("arm", "reason", "sums"):
        sums = Sums.from_json(document)
        if reason == DECIDING_REASON:
            arms[arm].merge(sums)
        else:
            other[reason] += sums.requests

    def of(arm: Arm) -> ArmHealth:
        people = (
            arms[arm].last_seen
            if is_newest
            else people_between(rollout=rollout, arm=arm, reason=DECIDING_REASON, since=since, until=end)
        )
        return ArmHealth(sums=arms[arm], people=people)

    return Health(
        rollout=rollout,
        since=since,
        until=end,
        as_of=state.rolled_at,
        baseline=of(Arm.BASELINE),
        candidate=of(Arm.CANDIDATE),
        other={reason: other[reason] for reason in sorted(other) if other[reason]},
    )


def saved_usd(*, rollout: str, until: datetime) -> Decimal | None:
    """What the candidate's arm has saved from the beginning to a moment, cut as ``health`` is; see ``ArmHealth``."""
    state = RollupState.objects.filter(pk=1).first() or RollupState()
    end = _cut(until, up=True, state=state)
    money = ("cost", "priced_cost", "baseline_cost", "cost_unknown")
    slices = _between(rollout, began_at(rollout) or end, end).filter(arm=Arm.CANDIDATE, reason=DECIDING_REASON)
    sums = Sums()
    # The four numbers alone: the histograms beside them are most of a slice.
    for row in slices.values_list(*(f"sums__{name}" for name in money)):
        known = {name: number for name, number in zip(money, row, strict=True) if number}
        sums.merge(Sums.from_json(known))
    return ArmHealth(sums=sums, people=None).saved_usd


def series(*, rollout: str, since: datetime, until: datetime, grain: Grain) -> list[Point]:
    """Both arms in each slice from the one that holds ``since``, oldest first; slices without calls are left out.

    ``people`` of the newest slice are those who are in it so far; ``None`` where not counted yet, and in slices of five
    minutes.
    """
    found: dict[datetime, dict[str, ArmHealth]] = defaultdict(dict)
    wanted = Slice.objects.filter(
        rollout=rollout, grain=grain, start__gte=floor(since, grain), start__lt=until, reason=DECIDING_REASON
    ).order_by("start")
    newest = _newest(rollout, grain)
    for start, arm, people, document in wanted.values_list("start", "arm", "people", "sums"):
        sums = Sums.from_json(document)
        found[start][arm] = ArmHealth(
            sums=sums,
            people=sums.last_seen if people is None and start == newest and grain != Grain.FIVE_MINUTES else people,
        )
    return [
        Point(
            start=start,
            baseline=arms.get(Arm.BASELINE, ArmHealth()),
            candidate=arms.get(Arm.CANDIDATE, ArmHealth()),
        )
        for start, arms in found.items()
    ]


@dataclass(frozen=True, kw_only=True)
class StretchSums:
    """One stretch's sums by arm and cluster, at the percentage that was in force in it."""

    stretch: int
    percent: Decimal
    baseline: Clusters = field(default_factory=dict)
    candidate: Clusters = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a run has shown: its stretches, oldest first, and its newest window with its number."""

    stretches: tuple[StretchSums, ...] = ()
    window: StretchSums | None = None
    window_number: int = 0


def evidence(*, rollout: str, run: int) -> Evidence:
    """The sums of one run, at a cost that knows its stretches and not its calls."""
    windows = list(Window.objects.filter(rollout=rollout, run=run).order_by("number"))
    found: dict[tuple[str, int, str], dict[int, ClusterSums]] = defaultdict(dict)
    stored = ClusterSum.objects.filter(rollout=rollout, run=run).exclude(scope=ClusterSum.Scope.DELETED)
    for scope, stretch, arm, cluster, document in stored.values_list("scope", "stretch", "arm", "cluster", "sums"):
        found[scope, stretch, arm][cluster] = ClusterSums.from_json(document)

    def sums(scope: str, window: Window) -> StretchSums:
        return StretchSums(
            stretch=window.stretch,
            percent=window.percent,
            baseline=found[scope, window.stretch, Arm.BASELINE],
            candidate=found[scope, window.stretch, Arm.CANDIDATE],
        )

    if not windows:
        return Evidence()
    by_stretch = {window.stretch: window for window in windows}
    return Evidence(
        stretches=tuple(sums(ClusterSum.Scope.STRETCH, by_stretch[stretch]) for stretch in sorted(by_stretch)),
        window=sums(ClusterSum.Scope.WINDOW, windows[-1]),
        window_number=windows[-1].number,
    )


def call_totals() -> Iterator[tuple[TotalKey, Total]]:
    """All calls ever, by kind."""
    for row in CallTotal.objects.filter(deleted=False).order_by("pk"):
        yield TotalKey(**{name: getattr(row, name) for name in TotalKey._fields}), Total.from_json(row.sums)


def _between(rollout: str, since: datetime, until: datetime) -> "QuerySet[Slice]":
    wanted = Q(pk__in=[])
    for cut in cover(since, until):
        wanted |= Q(grain=cut.grain, start__gte=cut.start, start__lt=cut.end)
    return Slice.objects.filter(wanted, rollout=rollout)


def _newest(rollout: str, grain: Grain) -> datetime | None:
    """Where the newest slice begins."""
    newest = Slice.objects.filter(rollout=rollout, grain=grain).order_by("-start")
    return newest.values_list("start", flat=True).first()


def _cut(moment: datetime, *, up: bool, state: RollupState) -> datetime:
    grain = Grain.HOUR if state.horizon is not None and moment < state.horizon else Grain.FIVE_MINUTES
    return ceil(moment, grain) if up else floor(moment, grain)
