"""Calls in, deltas out: what a batch of calls adds to the roll-ups. Pure; ``rollup`` and ``rebuild`` store it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from metrics.arms import ArmSums
from metrics.slices import Grain, floor
from metrics.sums import DECIDING_REASON, ClusterSums, Sums, cluster_of, person_of
from metrics.totals import Total, TotalKey, total_key


class CallRow(NamedTuple):
    """What the roll-ups take of a call; names and units as in ``models.ModelCall``."""

    id: UUID
    rollout: str
    run: int
    stretch: int
    arm: str
    reason: str
    percent: Decimal | None
    unit: str
    attempt: int
    surface: str
    provider: str
    requested_model: str
    assigned_model: str
    served_model: str
    upstream_model: str
    outcome: str
    error_class: str
    started_at: datetime
    ttft_ms: int | None
    latency_ms: int | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: Decimal | None
    baseline_cost_usd: Decimal | None
    rating: int | None
    rating_reason: str
    counted: bool
    counted_rating: int | None
    counted_rating_reason: str


class SliceKey(NamedTuple):
    """Which slice: see ``models.Slice``."""

    rollout: str
    grain: int
    start: datetime
    arm: str
    reason: str


class ClusterKey(NamedTuple):
    """Which cluster's sums."""

    rollout: str
    run: int
    stretch: int
    scope: str
    arm: str
    cluster: int


class ArmKey(NamedTuple):
    """Which arm's sums: see ``models.ArmSum``."""

    rollout: str
    run: int
    stretch: int
    scope: str
    arm: str


class PersonInRun(NamedTuple):
    """Whose first request: see ``models.FirstSeen``."""

    rollout: str
    run: int
    person: int


class PersonInArm(NamedTuple):
    """Whose last slice: see ``models.LastSeen``."""

    rollout: str
    arm: str
    person: int


class First(NamedTuple):
    """A first request; the earliest compares lowest."""

    started_at: datetime
    stretch: int
    arm: str


@dataclass(frozen=True, kw_only=True)
class NewestWindow:
    """The newest window of a run; ``starts_at`` None takes in the whole stretch."""

    stretch: int
    starts_at: datetime | None

    def holds(self, call: CallRow) -> bool:
        """Whether the call belongs to it."""
        return call.stretch == self.stretch and (self.starts_at is None or call.started_at >= self.starts_at)


@dataclass(kw_only=True)
class Fold:
    """The deltas of some calls. ``slices`` are of five minutes; ``first`` and ``last`` what the calls say of people."""

    windows: Mapping[tuple[str, int], NewestWindow]
    slices: dict[SliceKey, Sums] = field(default_factory=lambda: defaultdict(Sums))
    clusters: dict[ClusterKey, ClusterSums] = field(default_factory=lambda: defaultdict(ClusterSums))
    totals: dict[TotalKey, Total] = field(default_factory=lambda: defaultdict(Total))
    first: dict[PersonInRun, First] = field(default_factory=dict)
    last: dict[PersonInArm, datetime] = field(default_factory=dict)

    def add(self, calls: Iterable[CallRow]) -> None:
        """Count ended calls that were not counted before."""
        for call in calls:
            self.totals[total_key(call)].add(call)
            if not call.rollout:
                continue
            start = floor(call.started_at, Grain.FIVE_MINUTES)
            self.slices[_slice(call, start)].add(call)
            if call.reason == DECIDING_REASON:
                person = person_of(call.rollout, call.unit)
                for key in self._clusters(call, person):
                    self.clusters[key].add(call)
                if call.attempt == 1:
                    self._see(call, person, start)

    def rerate(self, calls: Iterable[CallRow]) -> None:
        """Exchange the rating and the reason that were counted for those that the call has now."""
        for call in calls:
            if not call.rollout or call.attempt != 1:
                continue
            in_slice = self.slices[_slice(call, floor(call.started_at, Grain.FIVE_MINUTES))]
            touched: list[Sums | ClusterSums] = [in_slice]
            if call.reason == DECIDING_REASON:
                keys = self._clusters(call, person_of(call.rollout, call.unit))
                touched += [self.clusters[key] for key in keys]
            for sums in touched:
                sums.add_rating(call.counted_rating, -1)
                sums.add_rating(call.rating)
            in_slice.add_rating_reason(call.counted_rating_reason, -1)
            in_slice.add_rating_reason(call.rating_reason)

    def _clusters(self, call: CallRow, person: int) -> list[ClusterKey]:
        whole = ClusterKey(call.rollout, call.run, call.stretch, "stretch", call.arm, cluster_of(person))
        window = self.windows.get((call.rollout, call.run))
        return [whole, whole._replace(scope="window")] if window is not None and window.holds(call) else [whole]

    def _see(self, call: CallRow, person: int, start: datetime) -> None:
        in_run = PersonInRun(call.rollout, call.run, person)
        first = First(call.started_at, call.stretch, call.arm)
        self.first[in_run] = min(self.first.get(in_run, first), first)
        in_arm = PersonInArm(call.rollout, call.arm, person)
        self.last[in_arm] = max(self.last.get(in_arm, start), start)

    def move_first(self, person: PersonInRun, *, old: First | None, new: First) -> None:
        """Count a person at their first request, and no longer at a later one."""
        for first, sign in ((old, -1), (new, 1)):
            if first is not None:
                key = ClusterKey(
                    person.rollout, person.run, first.stretch, "stretch", first.arm, cluster_of(person.person)
                )
                self.clusters[key].people += sign

    def move_last(self, person: PersonInArm, *, old: datetime | None, new: datetime) -> None:
        """Count a person in their newest slice, and no longer in an older one."""
        for start, sign in ((old, -1), (new, 1)):
            if start is not None:
                key = SliceKey(person.rollout, Grain.FIVE_MINUTES, start, person.arm, DECIDING_REASON)
                self.slices[key].last_seen += sign


def side_by_side(clusters: Mapping[ClusterKey, ClusterSums]) -> dict[ArmKey, ArmSums]:
    """The same sums, each arm's clusters together."""
    arms: dict[ArmKey, dict[int, ClusterSums]] = defaultdict(dict)
    for key, sums in clusters.items():
        arms[ArmKey(*key[:-1])][key.cluster] = sums
    return {key: ArmSums.of(of_arm) for key, of_arm in arms.items()}


def coarser(slices: Mapping[SliceKey, Sums], grain: Grain) -> dict[SliceKey, Sums]:
    """The same sums in longer slices."""
    merged: dict[SliceKey, Sums] = defaultdict(Sums)
    for key, sums in slices.items():
        merged[key._replace(grain=grain, start=floor(key.start, grain))].merge(sums)
    return merged


def _slice(call: CallRow, start: datetime) -> SliceKey:
    return SliceKey(call.rollout, Grain.FIVE_MINUTES, start, call.arm, call.reason)
