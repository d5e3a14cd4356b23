"""Where a criterion's figures lie on one line, for drawing. Pure: numbers in, places out."""

from dataclasses import dataclass

from rollout.decisions import Criterion

# How much of the line stays free beyond the outermost figure, on each side.
_AIR = 0.12
# A line is never shorter than this many margins: noise looks like noise.
_LEAST = 1.6


@dataclass(frozen=True, kw_only=True)
class Line:
    """Places from 0 (left) to 100 (right) of "no difference", margin, estimate and interval.

    ``beyond`` is the part of the line that lies outside the margin, as its left end and width. An interval that
    reaches beyond the line is cut at its ends. ``low`` to ``high`` go from left to right.
    """

    zero: float
    margin: float
    estimate: float
    low: float
    high: float
    beyond: tuple[float, float]

    @property
    def spread(self) -> float:
        """The interval's width."""
        return self.high - self.low


def line_of(criterion: Criterion) -> Line | None:
    """The line of a criterion that is measured; ``None`` of one that is not.

    It holds no difference, margin and estimate whole, and as much of the interval as fits in six margins beside them.
    """
    if criterion.estimate is None or criterion.low is None or criterion.high is None:
        return None
    whole = (0.0, criterion.margin, criterion.estimate)
    unit = abs(criterion.margin) or max(abs(criterion.estimate), 1.0)
    left = max(min(*whole, criterion.low), min(whole) - 3 * unit)
    right = min(max(*whole, criterion.high), max(whole) + 3 * unit)
    length = max(right - left, _LEAST * unit)
    start, length = left - _AIR * length, (1 + 2 * _AIR) * length

    def place(value: float) -> float:
        return round(min(100.0, max(0.0, 100 * (value - start) / length)), 2)

    margin = place(criterion.margin)
    # Of cost, less saved than the margin is bad; of all others, more than it.
    beyond = (0.0, margin) if criterion.name == "cost" else (margin, round(100 - margin, 2))
    low, high = sorted((place(criterion.low), place(criterion.high)))
    return Line(zero=place(0), margin=margin, estimate=place(criterion.estimate), low=low, high=high, beyond=beyond)
