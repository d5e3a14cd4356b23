"""The statistics that a decision rests on: numbers in, numbers out.

Cluster-robust ratios over stages, and evidence that may be looked at whenever one likes (e-values). Knows ``math``
only: no Django, no clock, no rollout, no storage.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import NamedTuple

# A value and its derivative.
Pair = tuple[float, float]


class Clusters(NamedTuple):
    """One arm's clusters of people side by side: a total Y of each, and the count N that it is over, or 0."""

    totals: Sequence[float]
    counts: Sequence[float]


LN2 = math.log(2.0)
HALF_LN_2PI = 0.5 * math.log(2.0 * math.pi)


def log_normal_cdf(x: float) -> float:
    """ln Φ(x), also where Φ(x) itself is too small for a float.

    Below -30 by the asymptotic series of Mills' ratio (Abramowitz & Stegun 26.2.12).
    """
    if x > 5:
        return math.log1p(-0.5 * math.erfc(x / math.sqrt(2.0)))
    if x > -30:
        return math.log(0.5 * math.erfc(-x / math.sqrt(2.0)))
    inverse = 1.0 / (x * x)
    series = inverse * (-1.0 + inverse * (3.0 + inverse * (-15.0 + inverse * 105.0)))
    return -0.5 * x * x - math.log(-x) - HALF_LN_2PI + math.log1p(series)


def mixture_rho(distance: float, alpha: float) -> float:
    """The mixture's width that sees an effect of ``distance`` from the margin fastest.

    Howard, Ramdas et al. 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences", section 3.2.
    """
    level = -2.0 * math.log(2.0 * alpha)
    return (3.0 / distance) ** 2 / (level + math.log(level + 1.0))


def log_e_value(theta: float, variance: float, rho: float) -> float:
    """ln of the one-sided normal-mixture e-value that the true θ is above 0, given its estimate and variance.

    Robbins' mixture over a half-normal, in the asymptotic form of Waudby-Smith et al. 2024. ValueError unless
    ``variance`` and ``rho`` are positive and everything is finite.
    """
    if not (math.isfinite(theta) and math.isfinite(variance) and variance > 0 and rho > 0):
        raise ValueError("an e-value needs a finite estimate and a positive, finite variance")
    information = 1.0 / variance
    score = theta * information
    width = information + rho
    return LN2 + 0.5 * math.log(rho / width) + 0.5 * score * score / width + log_normal_cdf(score / math.sqrt(width))


def e_value_margin(variance: float, rho: float, alpha: float) -> float:
    """How far above 0 an estimate must be for its e-value to reach 1/α: half an always valid interval.

    Newton's method on z = S/√(V+ρ), in which ln e is convex and rises: from the right of the root, where Φ(z) is taken
    for ½ only, it comes down to it.
    """
    information = 1.0 / variance
    width = information + rho
    wanted = -math.log(alpha) - LN2 - 0.5 * math.log(rho / width)
    z = math.sqrt(2.0 * (wanted + LN2))
    for _ in range(30):
        log_cdf = log_normal_cdf(z)
        step = (0.5 * z * z + log_cdf - wanted) / (z + math.exp(-0.5 * z * z - HALF_LN_2PI - log_cdf))
        z -= step
        if abs(step) < 1e-12 * z:
            break
    return z * math.sqrt(width) / information


def log_sum(logs: Iterable[float]) -> float:
    """ln Σ exp, without overflow; -inf of nothing."""
    given = list(logs)
    top = max(given, default=-math.inf)
    return top if math.isinf(top) else top + math.log(sum(math.exp(log - top) for log in given))


def log_srm_e_value(candidate: int, baseline: int, share: float) -> float:
    """ln of the e-value that people do not come to the candidate at ``share`` (0 to 1).

    Mean over four concentrations of Dirichlet-multinomial against multinomial: Lindon & Malek 2022. 0 at a share of
    0 or 1, where there is no split to test.
    """
    if not 0.0 < share < 1.0:
        return 0.0
    expected = candidate * math.log(share) + baseline * math.log1p(-share)
    return log_sum(
        _log_beta(k * share + candidate, k * (1 - share) + baseline) - _log_beta(k * share, k * (1 - share)) - expected
        for k in (10.0, 100.0, 1000.0, 10000.0)
    ) - math.log(4.0)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


@dataclass(frozen=True, kw_only=True)
class ArmPair:
    """Both arms' clusters in one stage."""

    baseline: Clusters
    candidate: Clusters


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Candidate minus baseline, pooled over stages: the estimate, and each arm's share of its variance.

    ``n_baseline`` and ``n_candidate`` are the counts (ΣN) of the stages that had both arms.
    """

    estimate: float
    variance_baseline: float
    variance_candidate: float
    variance: float
    n_baseline: float
    n_candidate: float


def identity(value: float) -> Pair:
    """The value and its derivative, 1."""
    return value, 1.0


def logarithm(value: float) -> Pair:
    """ln and its derivative."""
    return math.log(value), 1.0 / value


def weights(stages: Sequence[ArmPair]) -> list[float]:
    """Each stage's share in the pooled difference, ∝ n_c·n_b/(n_c+n_b); 0 without both arms. They add up to 1."""
    raw = []
    for stage in stages:
        n_b, n_c = _count(stage.baseline), _count(stage.candidate)
        raw.append(n_b * n_c / (n_b + n_c) if n_b and n_c else 0.0)
    whole = sum(raw)
    return [weight / whole for weight in raw] if whole else raw


def pooled_difference(stages: Sequence[ArmPair], scale: Callable[[float], Pair] = identity) -> Difference | None:
    """The difference of two ratios ΣY/ΣN, on ``scale``, pooled within stages; ``None`` where it can't be measured.

    People are the sampling unit: one residual per cluster of people, across arms and stages (cluster-robust delta
    method, Deng et al. 2018). A common drift of both arms between stages cancels out, since arms are only compared
    within a stage.
    """
    estimate = n_baseline = n_candidate = 0.0
    of_baseline: list[_Residuals] = []
    of_candidate: list[_Residuals] = []
    for stage, weight in zip(stages, weights(stages), strict=True):
        if not weight:
            continue
        n_b, n_c = _count(stage.baseline), _count(stage.candidate)
        ratio_b, ratio_c = _total(stage.baseline) / n_b, _total(stage.candidate) / n_c
        if scale is logarithm and (ratio_b <= 0 or ratio_c <= 0):
            return None
        (value_b, slope_b), (value_c, slope_c) = scale(ratio_b), scale(ratio_c)
        estimate += weight * (value_c - value_b)
        n_baseline, n_candidate = n_baseline + n_b, n_candidate + n_c
        of_baseline.append(_residuals(stage.baseline, ratio_b, -weight * slope_b / n_b))
        of_candidate.append(_residuals(stage.candidate, ratio_c, weight * slope_c / n_c))
    if not of_baseline:
        return None
    baseline, candidate = reduce(_Residuals.plus, of_baseline), reduce(_Residuals.plus, of_candidate)
    if baseline.seen < 2 or candidate.seen < 2:
        return None
    return Difference(
        estimate=estimate,
        variance_baseline=baseline.spread,
        variance_candidate=candidate.spread,
        variance=baseline.plus(candidate).spread,
        n_baseline=n_baseline,
        n_candidate=n_candidate,
    )


def design_effect(arms: Iterable[Clusters]) -> float:
    """How much more counts of yes and no vary between clusters of people than independent ones would; 1 at least.

    (cluster SS + 5) / (independent SS + 5): the 5 keeps a handful of errors from saying much.
    """
    clustered = independent = 0.0
    for arm in arms:
        n = _count(arm)
        if not n:
            continue
        rate = _total(arm) / n
        clustered += sum([(y - rate * of) ** 2 for y, of in zip(*arm, strict=True)])
        independent += n * rate * (1 - rate)
    return max(1.0, (clustered + 5.0) / (independent + 5.0))


class _Residuals(NamedTuple):
    """What each cluster adds to a difference beyond its share, 0 where it counts nothing; and its counts."""

    values: Sequence[float]
    counts: Sequence[float]

    def plus(self, other: "_Residuals") -> "_Residuals":
        """Of both, cluster by cluster."""
        return _Residuals([*map(add, self.values, other.values)], [*map(add, self.counts, other.counts)])

    @property
    def seen(self) -> int:
        """How many clusters count anything."""
        return len(self.counts) - self.counts.count(0)

    @property
    def spread(self) -> float:
        """The sum of squares, as a sample of so many clusters."""
        return self.seen / (self.seen - 1) * sum([value * value for value in self.values])


def _residuals(clusters: Clusters, ratio: float, factor: float) -> _Residuals:
    values = [factor * (y - ratio * n) if n else 0.0 for y, n in zip(*clusters, strict=True)]
    return _Residuals(values, clusters.counts)


def _count(clusters: Clusters) -> float:
    return sum(clusters.counts)


def _total(clusters: Clusters) -> float:
    return sum(clusters.totals)
