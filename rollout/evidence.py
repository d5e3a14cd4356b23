"""What a decision is made from: sums by stage, arm and cluster of people. Pure values, and a way to make them of calls.

Knows numbers only: no Django, no clock, no storage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from metrics.sums import cluster_of, latency_bin, micro_log, person_of

ArmName = Literal["baseline", "candidate"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Latencies of calls that produced text: how many, the sum of ln ms, and calls by bin (floor(ln ms / ln 1.05))."""

    n: int = 0
    sum_log: float = 0.0
    bins: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BucketSums:
    """One arm in one of 128 clusters of people, in one stage or window.

    ``n`` are requests that ended and were not cancelled, ``errors`` those of them that failed. Costs are of
    the requests whose cost is known, in one currency.
    """

    n: int = 0
    errors: int = 0
    ttft: Measure = field(default_factory=Measure)
    latency: Measure = field(default_factory=Measure)
    cost_n: int = 0
    sum_cost: float = 0.0
    rating_n: int = 0
    rating_sum: float = 0.0


# Cluster → sums; clusters without calls may be left out.
Arm = Mapping[int, BucketSums]


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


@dataclass(kw_only=True)
class _Tally:
    """``BucketSums`` that are still being added up."""

    n: int = 0
    errors: int = 0
    ttft_n: int = 0
    ttft_log: float = 0.0
    ttft_bins: dict[int, int] = field(default_factory=dict)
    latency_n: int = 0
    latency_log: float = 0.0
    latency_bins: dict[int, int] = field(default_factory=dict)
    cost_n: int = 0
    sum_cost: float = 0.0
    rating_n: int = 0
    rating_sum: float = 0.0

    def sums(self) -> BucketSums:
        """As the decision takes them; the bins are shared, not copied."""
        return BucketSums(
            n=self.n,
            errors=self.errors,
            ttft=Measure(n=self.ttft_n, sum_log=self.ttft_log, bins=self.ttft_bins),
            latency=Measure(n=self.latency_n, sum_log=self.latency_log, bins=self.latency_bins),
            cost_n=self.cost_n,
            sum_cost=self.sum_cost,
            rating_n=self.rating_n,
            rating_sum=self.rating_sum,
        )


@dataclass(kw_only=True)
class _Part:
    """A stage or window that is still being added up."""

    percent: float
    arms: dict[str, dict[int, _Tally]] = field(default_factory=lambda: {"baseline": {}, "candidate": {}})
    people: dict[str, int] = field(default_factory=lambda: {"baseline": 0, "candidate": 0})

    def tally(self, arm: str, cluster: int) -> _Tally:
        """Where a call of this cluster is added."""
        clusters = self.arms[arm]
        found = clusters.get(cluster)
        if found is None:
            found = clusters[cluster] = _Tally()
        return found

    def sums(self) -> StageSums:
        """As the decision takes them."""
        baseline, candidate = (
            {cluster: tally.sums() for cluster, tally in self.arms[arm].items()} for arm in ("baseline", "candidate")
        )
        return StageSums(
            percent=self.percent,
            baseline=baseline,
            candidate=candidate,
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
        for part in (stage, self._window):
            tally = part.tally(arm, self._clusters[person])
            tally.n += 1
            tally.errors += error
            if ttft_ms is not None:
                tally.ttft_n += 1
                tally.ttft_log += micro_log(ttft_ms) / 1e6
                _count(tally.ttft_bins, ttft_ms)
            if latency_ms is not None:
                tally.latency_n += 1
                tally.latency_log += micro_log(latency_ms) / 1e6
                _count(tally.latency_bins, latency_ms)
            if cost is not None:
                tally.cost_n += 1
                tally.sum_cost += cost
            if rating is not None:
                tally.rating_n += 1
                tally.rating_sum += rating

    def snapshot(self, *, srm_peak: float = 0.0) -> Snapshot:
        """The sums so far, to be decided on before more calls are added. ``srm_peak`` is the last decision's."""
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


def _count(bins: dict[int, int], ms: int) -> None:
    number = latency_bin(ms)
    bins[number] = bins.get(number, 0) + 1
