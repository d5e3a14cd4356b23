"""What a decision is made from: sums by stage, arm and cluster of people. Pure values, and a way to make them of calls.

Knows numbers only: no Django, no clock, no storage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from metrics.sums import CLUSTERS, cluster_of, latency_bin, micro_log, person_of

ArmName = Literal["baseline", "candidate"]


# A number of every one of the 128 clusters of people, by its place.
Row = Sequence[float]
Counts = Sequence[int]
_NOTHING: Counts = (0,) * CLUSTERS


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Latencies of calls that produced text: how many, the sum of ln ms, and calls by bin (floor(ln ms / ln 1.05))."""

    n: Counts = _NOTHING
    sum_log: Row = _NOTHING
    bins: Mapping[int, Counts] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm in one stage or window: each number of all 128 clusters of people, side by side.

    ``n`` are requests that ended and were not cancelled, ``errors`` those of them that failed. Costs are of
    the requests whose cost is known, in one currency.
    """

    n: Counts = _NOTHING
    errors: Counts = _NOTHING
    ttft: Measure = field(default_factory=Measure)
    latency: Measure = field(default_factory=Measure)
    cost_n: Counts = _NOTHING
    sum_cost: Row = _NOTHING
    rating_n: Counts = _NOTHING
    rating_sum: Row = _NOTHING


@dataclass(frozen=True, kw_only=True)
class StageSums:
    """Both arms in a stretch of constant percentage (0 to 100), or in a window of it.

    People are those whose first request of the run was in this stage, by their arm then; a window needs none.
    """

    percent: float
    baseline: Arm
    candidate: Arm
    baseline_people: int = 0
    candidate_people: int = 0


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All that a run has shown: its stages, oldest first, and what came since the evidence was restarted last.

    Evidence restarts with each stage and after each 2,000 requests (both arms together); ``window_number`` counts the
    restarts from 0 over the run. ``srm_peak`` is the last decision's; ``candidate_per_day`` and ``baseline_per_day``
    are today's requests, ``None`` where not known.
    """

    stages: Sequence[StageSums] = ()
    window: StageSums | None = None
    window_number: int = 0
    srm_peak: float = 0.0
    candidate_per_day: float | None = None
    baseline_per_day: float | None = None


def _zeros() -> list[int]:
    return [0] * CLUSTERS


def _float_zeros() -> list[float]:
    return [0.0] * CLUSTERS


@dataclass(kw_only=True)
class _MeasureTally:
    """A ``Measure`` that is still being added up."""

    n: list[int] = field(default_factory=_zeros)
    sum_log: list[float] = field(default_factory=_float_zeros)
    bins: dict[int, list[int]] = field(default_factory=dict)

    def add(self, cluster: int, ms: int | None) -> None:
        """Count a latency; ``None`` is none."""
        if ms is not None:
            self.n[cluster] += 1
            self.sum_log[cluster] += micro_log(ms) / 1e6
            self.bins.setdefault(latency_bin(ms), _zeros())[cluster] += 1

    def sums(self) -> Measure:
        """As the decision takes them."""
        return Measure(n=[*self.n], sum_log=[*self.sum_log], bins={number: [*row] for number, row in self.bins.items()})


@dataclass(kw_only=True)
class _Tally:
    """An ``Arm`` that is still being added up."""

    n: list[int] = field(default_factory=_zeros)
    errors: list[int] = field(default_factory=_zeros)
    ttft: _MeasureTally = field(default_factory=_MeasureTally)
    latency: _MeasureTally = field(default_factory=_MeasureTally)
    cost_n: list[int] = field(default_factory=_zeros)
    sum_cost: list[float] = field(default_factory=_float_zeros)
    rating_n: list[int] = field(default_factory=_zeros)
    rating_sum: list[float] = field(default_factory=_float_zeros)

    def sums(self) -> Arm:
        """As the decision takes them."""
        return Arm(
            n=[*self.n],
            errors=[*self.errors],
            ttft=self.ttft.sums(),
            latency=self.latency.sums(),
            cost_n=[*self.cost_n],
            sum_cost=[*self.sum_cost],
            rating_n=[*self.rating_n],
            rating_sum=[*self.rating_sum],
        )


@dataclass(kw_only=True)
class _Part:
    """A stage or window that is still being added up."""

    percent: float
    arms: dict[str, _Tally] = field(default_factory=lambda: {"baseline": _Tally(), "candidate": _Tally()})
    people: dict[str, int] = field(default_factory=lambda: {"baseline": 0, "candidate": 0})

    def sums(self) -> StageSums:
        """As the decision takes them."""
        return StageSums(
            percent=self.percent,
            baseline=self.arms["baseline"].sums(),
            candidate=self.arms["candidate"].sums(),
            baseline_people=self.people["baseline"],
            candidate_people=self.people["candidate"],
        )


class Stream:
    """Adds up single calls to snapshots, for simulations and for streams from elsewhere. Begin with a stage."""

    def __init__(self, *, window_requests: int = 2000) -> None:
        self._window_requests = window_requests
        self._stages: list[_Part] = []
        self._window: _Part | None = None
        self._windows = self._in_window = 0
        self._clusters: dict[str, int] = {}
        self._srm_peak = 0.0

    def begin_stage(self, *, percent: float) -> None:
        """From now on the candidate gets this share of people, 0 to 100; evidence restarts."""
        self._stages.append(_Part(percent=percent))
        self._begin_window()

    def add(
        self,
        *,
        person: str,
        arm: ArmName,
        error: bool = False,
        ttft_ms: int | None = None,
        latency_ms: int | None = None,
        cost: float | None = None,
        rating: int | None = None,
        cluster: int | None = None,
    ) -> None:
        """A request that ended. Times in ms, ``None`` where no text came; ``cost`` ``None`` where it is not known.

        ``cluster`` (0 to 127) puts the person where the caller wants; otherwise a hash does.
        """
        stage = self._stages[-1]
        if person not in self._clusters:
            self._clusters[person] = cluster_of(person_of("", person)) if cluster is None else cluster
            stage.people[arm] += 1
        if self._in_window >= self._window_requests:
            self._begin_window()
        self._in_window += 1
        assert self._window is not None, "begin a stage first"  # noqa: S101
        place = self._clusters[person]
        for part in (stage, self._window):
            tally = part.arms[arm]
            tally.n[place] += 1
            tally.errors[place] += error
            tally.ttft.add(place, ttft_ms)
            tally.latency.add(place, latency_ms)
            if cost is not None:
                tally.cost_n[place] += 1
                tally.sum_cost[place] += cost
            if rating is not None:
                tally.rating_n[place] += 1
                tally.rating_sum[place] += rating

    def snapshot(self, *, srm_peak: float = 0.0) -> Snapshot:
        """The sums so far. ``srm_peak`` is the last decision's."""
        return Snapshot(
            stages=tuple(part.sums() for part in self._stages),
            window=None if self._window is None else self._window.sums(),
            window_number=self._windows - 1,
            srm_peak=srm_peak,
        )

    def _begin_window(self) -> None:
        self._window = _Part(percent=self._stages[-1].percent)
        self._windows += 1
        self._in_window = 0
