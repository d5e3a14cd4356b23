"""A report's days or hours as bars to draw and to print: the document in, places out. Asks nobody for figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollout.tables import series_figures

_ARMS = ("candidate", "baseline")


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Places of one bar in a drawing of 100 by 100, from its upper left corner, and what it is, in words."""

    arm: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class BarChart:
    """Bars of both arms side by side in each slice; ``top`` names the greatest value."""

    title: str
    top: str
    bars: Sequence[Bar]


def report_charts(document: Mapping[str, Any]) -> list[BarChart]:
    """Requests, errors and time to first token over the report's time, as far as there are any."""
    found = [_chart(title, document["series"], key, write) for title, key, write in series_figures()]
    return [chart for chart in found if chart is not None]


def _chart(title: str, series: Sequence[Mapping[str, Any]], key: str, write: Any) -> BarChart | None:
    greatest = max((point[arm][key] or 0 for point in series for arm in _ARMS), default=0)
    if not greatest:
        return None
    slot = 100 / len(series)
    bars = []
    for place, point in enumerate(series):
        for side, arm in enumerate(_ARMS):
            height = 100 * (point[arm][key] or 0) / greatest
            x = slot * (place + 0.1 + 0.4 * side)
            bars.append(
                Bar(
                    arm=arm,
                    x=round(x, 2),
                    y=round(100 - height, 2),
                    width=round(0.4 * slot, 2),
                    height=round(height, 2),
                )
            )
    return BarChart(title=title, top=write(greatest), bars=bars)
