"""How a week differs from the one before, with an interval. Pure: daily sums in, numbers out.

What is kept for years are sums by day, not by person, so the day is the unit here: the seven weekdays of the one week
are compared with the same weekdays of the other, which leaves the difference between a Monday and a Sunday out of it.
A decision never rests on this (see ``rollout.decisions``): people come back from day to day, and load and prices change
for both arms alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

# With fewer weekdays in common, nothing can be said of how much days differ.
LEAST_DAYS = 4
_LEVEL = 0.95

# A total over a count: (Y, N), of one day.
Day = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Change:
    """This week's ratio minus the one before's, in the ratio's own unit; ``low`` to ``high`` hold 95 of 100 such."""

    difference: float
    low: float
    high: float


def change_between(before: Sequence[Day], after: Sequence[Day]) -> Change | None:
    """The change of ΣY/ΣN from one week to the next, from each weekday's (Y, N) in both, in the same order.

    ``None`` where fewer than ``LEAST_DAYS`` weekdays have counts in both weeks; other weekdays are left out. The
    variance is that of the linearised difference of two ratios over pairs of days (Cochran, "Sampling Techniques", 3rd
    ed., 6.3 and 6.9): e = (Y₁ - R₁N₁)/ΣN₁ - (Y₀ - R₀N₀)/ΣN₀ for each pair, n/(n-1) Σe². The interval is Student's with
    n - 1 degrees of freedom. ValueError for weeks of different length.
    """
    pairs = [(old, new) for old, new in zip(before, after, strict=True) if old[1] and new[1]]
    n = len(pairs)
    if n < LEAST_DAYS:
        return None
    n_before, n_after = sum(old[1] for old, _new in pairs), sum(new[1] for _old, new in pairs)
    r_before, r_after = sum(old[0] for old, _new in pairs) / n_before, sum(new[0] for _old, new in pairs) / n_after
    residuals = [(new[0] - r_after * new[1]) / n_after - (old[0] - r_before * old[1]) / n_before for old, new in pairs]
    margin = student_quantile(0.5 + _LEVEL / 2, n - 1) * math.sqrt(n / (n - 1) * sum(e * e for e in residuals))
    difference = r_after - r_before
    return Change(difference=difference, low=difference - margin, high=difference + margin)


def student_quantile(share: float, degrees: int) -> float:
    """Student's t below which ``share`` lies, for 3 degrees of freedom or more, to two parts in a thousand.

    Expanded around the normal quantile: Abramowitz & Stegun 26.7.5. ValueError below 3 degrees.
    """
    if degrees < 3:
        raise ValueError("the expansion needs 3 degrees of freedom or more")
    z, v = NormalDist().inv_cdf(share), degrees
    g1 = (z**3 + z) / 4
    g2 = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    g3 = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    g4 = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + g1 / v + g2 / v**2 + g3 / v**3 + g4 / v**4
