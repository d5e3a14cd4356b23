"""How far the candidate is from each margin, and how surely: θ and its variance, from sums by cluster of people.

θ is positive beyond the margin. Knows numbers only: no Django, no clock, no storage, no words.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from metrics.arms import total_beyond
from metrics.stats import ArmPair, Clusters, design_effect, identity, logarithm, pooled_difference, weights
from rollout.evidence import Arm, Measure, Row, StageSums

MeasureName = Literal["ttft", "latency"]

BIN_WIDTH = math.log(1.05)
# Which share of calls lies beyond the 95th percentile.
TAIL = 0.05
MIN_RATINGS = 30


# What is judged of an arm.
Pick = Callable[[Arm], Clusters]


class PerArm(NamedTuple):
    """A count for each arm."""

    candidate: int
    baseline: int


class Finding(NamedTuple):
    """θ against the margin and against zero, each with its variance, and the calls they are of, in both arms."""

    theta: float
    variance: float
    theta_at_zero: float
    variance_at_zero: float
    calls: float


def both_arms(stage: StageSums) -> bool:
    """Whether there is anything to compare."""
    return any(stage.baseline.n) and any(stage.candidate.n)


def errors(stages: Sequence[StageSums], margin: float) -> Finding | None:
    """p_c − p_b − m, with a variance that is never 0, also where nothing has failed yet.

    Farrington & Manning 1990: under the margin's boundary, errors come at q in the baseline and q + m in the candidate.
    """
    pairs = _pairs(stages, lambda arm: Clusters(arm.errors, arm.n))
    shares = weights(pairs)
    if not sum(shares):
        return None
    difference = 0.0
    all_b = all_c = failed = 0.0
    for pair, share in zip(pairs, shares, strict=True):
        if share:
            (y_b, n_b), (y_c, n_c) = _sum(pair.baseline), _sum(pair.candidate)
            difference += share * (y_c / n_c - y_b / n_b)
            all_b, all_c, failed = all_b + n_b, all_c + n_c, failed + y_b + y_c
    effect = design_effect(arm for pair, share in zip(pairs, shares, strict=True) if share for arm in _arms(pair))
    mean = (failed + 1) / (all_b + all_c + 2)

    def variance(at: float) -> float:
        q = min(max(mean - at * all_c / (all_b + all_c), 1e-4), 1 - 1e-4)
        worse = min(q + at, 1 - 1e-4)
        return effect * sum(
            share**2 * (q * (1 - q) / _sum(pair.baseline)[1] + worse * (1 - worse) / _sum(pair.candidate)[1])
            for pair, share in zip(pairs, shares, strict=True)
            if share
        )

    return Finding(difference - margin, variance(margin), difference, variance(0.0), all_b + all_c)


def latency(stages: Sequence[StageSums], margin: float, measure: MeasureName) -> Finding | None:
    """The mean difference of ln ms − ln(1 + m): a ratio of geometric means."""
    return _ratio(stages, lambda arm: _log(arm, measure), math.log1p(margin))


def p95_latency(stages: Sequence[StageSums], margin: float, measure: MeasureName) -> Finding | None:
    """P(L_c > (1 + m)·q95_b) − 5 %: more than 5 % of the candidate's calls beyond the baseline's q95 and m.

    q95_b comes from the baseline's bins; that it is an estimate shows in the baseline's own exceedances of it.
    """
    pairs, plain = [], []
    for stage in stages:
        baseline, candidate = _measure(stage.baseline, measure), _measure(stage.candidate, measure)
        limit = _quantile(baseline, 1 - TAIL)
        beyond = 0.0 if limit is None else limit + math.log1p(margin) / BIN_WIDTH
        limit = limit or 0.0
        slow = _beyond(baseline, limit)
        pairs.append(ArmPair(baseline=slow, candidate=_beyond(candidate, beyond)))
        plain.append(ArmPair(baseline=slow, candidate=_beyond(candidate, limit)))
    found, at_zero = _exceedance(pairs), _exceedance(plain)
    if found is None or at_zero is None:
        return None
    return Finding(found[0], found[1], at_zero[0], at_zero[1], found[2])


def cost(stages: Sequence[StageSums], margin: float) -> Finding | None:
    """ln(R_c/R_b) − ln(1 − m) on cost per request: positive where less than m is saved."""
    return _ratio(stages, lambda arm: Clusters(arm.sum_cost, arm.cost_n), math.log1p(-margin), scale=logarithm)


def satisfaction(stages: Sequence[StageSums], margin: float) -> Finding | None:
    """R_b − R_c − m on ratings, from 30 ratings an arm."""
    pairs = _pairs(stages, lambda arm: Clusters(arm.rating_sum, arm.rating_n))
    if min(ratings(stages)) < MIN_RATINGS:
        return None
    found = pooled_difference(pairs)
    if found is None:
        return None
    # Everybody giving the same stars is no proof that nobody will give others.
    variance = max(found.variance, 0.25 * (1 / found.n_baseline + 1 / found.n_candidate))
    return Finding(-found.estimate - margin, variance, -found.estimate, variance, found.n_baseline + found.n_candidate)


def ratings(stages: Sequence[StageSums]) -> PerArm:
    """How many ratings each arm has."""
    return PerArm(*(sum(sum(arm(stage).rating_n) for stage in stages) for arm in _BOTH))


def requests(stages: Sequence[StageSums]) -> PerArm:
    """How many requests each arm has, in stages that have both."""
    return PerArm(*(sum(sum(arm(stage).n) for stage in stages if both_arms(stage)) for arm in _BOTH))


def people(stages: Sequence[StageSums]) -> PerArm:
    """How many people each arm has, each counted once."""
    return PerArm(sum(stage.candidate_people for stage in stages), sum(stage.baseline_people for stage in stages))


def against_target(
    stages: Sequence[StageSums], target_ms: float, margin: float, measure: MeasureName
) -> Finding | None:
    """ln of the candidate's geometric mean − ln(target·(1 + m)): for a rollout that never had a baseline beside it."""
    measured = [_log(stage.candidate, measure) for stage in stages]
    totals = [sum(of) for of in zip(*(each.totals for each in measured), strict=True)]
    counts = [sum(of) for of in zip(*(each.counts for each in measured), strict=True)]
    clusters = [(y, of) for y, of in zip(totals, counts, strict=True) if of]
    k = len(clusters)
    if k < 2:
        return None
    n = sum(counts)
    mean = sum(totals) / n
    variance = k / (k - 1) * sum((y - mean * of) ** 2 for y, of in clusters) / n**2
    if variance <= 0:
        return None
    theta = mean - math.log(target_ms)
    return Finding(theta - math.log1p(margin), variance, theta, variance, n)


_BOTH: tuple[Callable[[StageSums], Arm], ...] = (lambda stage: stage.candidate, lambda stage: stage.baseline)


def _ratio(
    stages: Sequence[StageSums],
    pick: Pick,
    margin: float,
    scale: Callable[[float], tuple[float, float]] = identity,
) -> Finding | None:
    found = pooled_difference(_pairs(stages, pick), scale)
    if found is None:
        return None
    # Identical values in every cluster leave a variance of 0, up to rounding: so sure nobody can be.
    variance = max(found.variance, 1e-12)
    calls = found.n_baseline + found.n_candidate
    return Finding(found.estimate - margin, variance, found.estimate, variance, calls)


def _exceedance(pairs: Sequence[ArmPair]) -> tuple[float, float, float] | None:
    found = pooled_difference(pairs)
    if found is None:
        return None
    theta = floor_b = floor_c = 0.0
    for pair, share in zip(pairs, weights(pairs), strict=True):
        if share:
            (_y_b, n_b), (y_c, n_c) = _sum(pair.baseline), _sum(pair.candidate)
            theta += share * (y_c / n_c - TAIL)
            floor_b += share**2 * TAIL * (1 - TAIL) / n_b
            floor_c += share**2 * TAIL * (1 - TAIL) / n_c
    variance = max(found.variance_baseline, floor_b) + max(found.variance_candidate, floor_c)
    return theta, variance, found.n_baseline + found.n_candidate


def _pairs(stages: Sequence[StageSums], pick: Pick) -> list[ArmPair]:
    return [ArmPair(baseline=pick(stage.baseline), candidate=pick(stage.candidate)) for stage in stages]


def _measure(arm: Arm, measure: MeasureName) -> Measure:
    return arm.ttft if measure == "ttft" else arm.latency


def _log(arm: Arm, measure: MeasureName) -> Clusters:
    found = _measure(arm, measure)
    return Clusters(found.sum_log, found.n)


def _quantile(measure: Measure, share: float) -> float | None:
    """Where the quantile lies, in bins: 17.25 is a quarter into bin 17. Looks at no more bins than lie above it."""
    up_to = sum(measure.n)
    wanted = share * up_to
    for number in sorted(measure.bins, reverse=True):
        here = sum(measure.bins[number])
        if up_to - here < wanted:
            return number + (wanted - (up_to - here)) / here
        up_to -= here
    return None


def _beyond(measure: Measure, limit: float) -> Clusters:
    """How many calls of each cluster lie beyond a place in bins; the bin that holds it counts in part."""
    whole, part = math.floor(limit), 1 - (limit - math.floor(limit))
    above: Row
    above, at = total_beyond(measure.bins, whole), measure.bins.get(whole)
    if at is not None:
        above = [of + part * here for of, here in zip(above, at, strict=True)]
    return Clusters(above, measure.n)


def _arms(pair: ArmPair) -> tuple[Clusters, Clusters]:
    return pair.baseline, pair.candidate


def _sum(clusters: Clusters) -> tuple[float, float]:
    return sum(clusters.totals), sum(clusters.counts)
