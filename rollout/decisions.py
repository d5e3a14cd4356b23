"""Health in, decision out: the guide's rule.

Latency (time to first token) kept or better, cost down by a minimum, errors within a margin; GO needs
all three and a minimum sample. Knows numbers only: no Django, no clock, no storage, no words; the
words for each code are in ``rollout.words``.
"""

from dataclasses import dataclass, field
from typing import Literal

VerdictName = Literal["GO", "HOLD", "ROLLBACK", "NOT_ENOUGH_DATA"]
CriterionName = Literal["latency", "cost", "stability"]
Missing = Literal["candidate_requests", "baseline_requests", "candidate_latency", "baseline_latency", "candidate_cost"]


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What a candidate must reach. Percentages and points are 0 to 100, latency in ms."""

    latency_target_ms: float
    min_cost_reduction: float
    max_error_increase: float
    min_sample: int


@dataclass(frozen=True, kw_only=True)
class ArmFigures:
    """One arm's sums. ``ttft_mean_ms`` in ms, ``cost_reduction`` in percent; ``None`` is "not known".

    ``judged`` counts the requests that ended and were not cancelled; ``errors`` those that failed.
    """

    judged: int
    errors: int
    ttft_mean_ms: float | None
    cost_reduction: float | None = None

    @property
    def error_percent(self) -> float | None:
        """Errors per 100 judged requests."""
        return 100 * self.errors / self.judged if self.judged else None


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One criterion's result. ``passed`` is ``None`` where ``value`` is not known.

    latency: ``value`` and ``target`` in ms, at most; cost: percent saved, at least; stability: the
    candidate's errors minus the baseline's in points, at most.
    """

    name: CriterionName
    value: float | None
    target: float
    passed: bool | None


@dataclass(frozen=True, kw_only=True)
class Shortfall:
    """Something that is still missing: how many of it there are, and how many are needed."""

    what: Missing
    have: int
    need: int


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The verdict, with each criterion and what is missing."""

    verdict: VerdictName
    criteria: tuple[Criterion, ...]
    missing: tuple[Shortfall, ...] = field(default=())

    @property
    def failed(self) -> tuple[CriterionName, ...]:
        """The criteria that did not pass."""
        return tuple(criterion.name for criterion in self.criteria if criterion.passed is False)


def decide(*, candidate: ArmFigures, baseline: ArmFigures, criteria: Criteria) -> Decision:
    """Sample size first, harm second, progress last.

    With no baseline traffic at all, latency is held against the target and errors against none.
    """
    results = (
        _latency(candidate, baseline, criteria),
        _cost(candidate, criteria),
        _stability(candidate, baseline, criteria),
    )
    missing = tuple(_missing(candidate, baseline, criteria))
    if missing:
        return Decision(verdict="NOT_ENOUGH_DATA", criteria=results, missing=missing)
    by_name = {result.name: result for result in results}
    if by_name["stability"].passed is False:
        return Decision(verdict="ROLLBACK", criteria=results)
    if all(result.passed for result in results):
        return Decision(verdict="GO", criteria=results)
    return Decision(verdict="HOLD", criteria=results)


def _latency(candidate: ArmFigures, baseline: ArmFigures, criteria: Criteria) -> Criterion:
    target = criteria.latency_target_ms if baseline.ttft_mean_ms is None else baseline.ttft_mean_ms
    value = candidate.ttft_mean_ms
    return Criterion(name="latency", value=value, target=target, passed=None if value is None else value <= target)


def _cost(candidate: ArmFigures, criteria: Criteria) -> Criterion:
    value, target = candidate.cost_reduction, criteria.min_cost_reduction
    return Criterion(name="cost", value=value, target=target, passed=None if value is None else value >= target)


def _stability(candidate: ArmFigures, baseline: ArmFigures, criteria: Criteria) -> Criterion:
    target = criteria.max_error_increase
    if candidate.error_percent is None:
        return Criterion(name="stability", value=None, target=target, passed=None)
    value = candidate.error_percent - (baseline.error_percent or 0.0)
    return Criterion(name="stability", value=value, target=target, passed=value <= target)


def _missing(candidate: ArmFigures, baseline: ArmFigures, criteria: Criteria) -> list[Shortfall]:
    need = criteria.min_sample
    missing = []
    if candidate.judged < need:
        missing.append(Shortfall(what="candidate_requests", have=candidate.judged, need=need))
    if 0 < baseline.judged < need:
        missing.append(Shortfall(what="baseline_requests", have=baseline.judged, need=need))
    if missing or _failing(candidate, baseline, criteria):
        return missing
    if candidate.ttft_mean_ms is None:
        missing.append(Shortfall(what="candidate_latency", have=0, need=1))
    if baseline.judged and baseline.ttft_mean_ms is None:
        missing.append(Shortfall(what="baseline_latency", have=0, need=1))
    if candidate.cost_reduction is None:
        missing.append(Shortfall(what="candidate_cost", have=0, need=1))
    return missing


def _failing(candidate: ArmFigures, baseline: ArmFigures, criteria: Criteria) -> bool:
    """A candidate that only fails has neither latency nor cost; that is harm, not missing data."""
    return _stability(candidate, baseline, criteria).passed is False
