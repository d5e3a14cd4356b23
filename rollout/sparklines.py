"""A row of numbers as a row of little bars, for terminals and plain mails. Pure: numbers in, text out."""

from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"
_UNKNOWN = "·"


def sparkline(values: Sequence[float | None]) -> str:
    """One character a value, from 0, or the least where that is below, to the greatest; a dot where none is known.

    A row of zeros is a flat line at the bottom. "" of nothing known at all.
    """
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(0.0, *known), max(0.0, *known)
    steps = len(_BARS) - 1
    return "".join(
        _UNKNOWN if value is None else _BARS[round(steps * (value - low) / (high - low)) if high > low else 0]
        for value in values
    )
