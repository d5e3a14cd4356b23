"""Series as charts: titles, lines and marks. Knows words, no storage and no page."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Literal

from django.utils.translation import gettext as _

from metrics.failures import outcome_in_words
from metrics.health import ArmHealth, Point

# What a line stands for; the page gives each its colour.
Role = Literal["candidate", "baseline", "expected", "error", "timeout", "refused", "empty", "cancelled", "abandoned"]
Values = list[float | None]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line, or one part of each bar. ``None`` where nothing is known."""

    name: str
    role: Role
    values: Values
    kind: Literal["line", "bar"] = "line"
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A change of the rollout: how many slices after the chart's beginning it was made, and what it was."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Each line has a value for each slice of the time shown."""

    key: str
    title: str
    unit: Literal["count", "ms", "percent", "usd", "stars"]
    series: Sequence[Series]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(value for line in self.series for value in line.values)

    def to_json(self) -> dict[str, Any]:
        """For the page's script."""
        return {"key": self.key, "unit": self.unit, "series": [vars(line) for line in self.series]}


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """All slices of a time, with and without calls: ``points[i]`` is what happened in the slice ``labels[i]``."""

    candidate: str
    baseline: str
    labels: Sequence[str]
    points: Sequence[Point | None]
    marks: Sequence[Mark] = field(default=())

    def charts(self) -> list[Chart]:
        """Every chart of the dashboard, in the page's order."""
        return [
            self._requests(),
            self._chart("people", _("People"), "count", self._arms(lambda arm: arm.people)),
            self._times("ttft", _("Time to first token"), lambda arm: arm.ttft_p50_ms, lambda arm: arm.ttft_p95_ms),
            self._times("latency", _("Whole answer"), lambda arm: arm.latency_p50_ms, lambda arm: arm.latency_p95_ms),
            self._chart("errors", _("Errors"), "percent", self._arms(lambda arm: arm.error_percent)),
            self._outcomes("candidate", _("How the candidate's requests ended, other than well")),
            self._outcomes("baseline", _("How the baseline's requests ended, other than well")),
            self._chart("cost", _("Cost of a thousand requests"), "usd", self._arms(_cost_of_a_thousand)),
            self._chart("saved", _("Saved"), "usd", [self._line("candidate", lambda arm: arm.saved_usd, kind="bar")]),
            self._chart("rating", _("Satisfaction"), "stars", self._arms(lambda arm: arm.rating_mean)),
        ]

    def _requests(self) -> Chart:
        expected: Values = [
            None if point is None else (point.baseline.sums.percent_sum + point.candidate.sums.percent_sum) / 10_000
            for point in self.points
        ]
        bars = [self._line(role, lambda arm: arm.requests, kind="bar") for role in ("candidate", "baseline")]
        wanted = Series(name=_("Candidate, expected"), role="expected", values=expected, dashed=True)
        return self._chart("requests", _("Requests"), "count", [*bars, wanted])

    def _times(self, key: str, title: str, typical: "Read", slow: "Read") -> Chart:
        lines = []
        for role in ("candidate", "baseline"):
            lines.append(self._line(role, typical, suffix="p50"))
            lines.append(self._line(role, slow, suffix="p95", dashed=True))
        return self._chart(key, title, "ms", lines)

    def _outcomes(self, arm: Literal["candidate", "baseline"], title: str) -> Chart:
        bad: tuple[Role, ...] = ("error", "timeout", "abandoned", "refused", "empty", "cancelled")
        parts = [
            Series(
                name=outcome_in_words(each), role=each, kind="bar", values=self._values(arm, partial(_share_of, each))
            )
            for each in bad
        ]
        met = [part for part in parts if any(part.values)]
        return self._chart(f"outcomes_{arm}", title, "percent", met)

    def _arms(self, read: "Read") -> list[Series]:
        return [self._line(role, read) for role in ("candidate", "baseline")]

    def _line(
        self, role: Any, read: "Read", *, kind: Literal["line", "bar"] = "line", suffix: str = "", dashed: bool = False
    ) -> Series:
        name = " ".join(filter(None, [getattr(self, role), suffix]))
        return Series(name=name, role=role, kind=kind, dashed=dashed, values=self._values(role, read))

    def _values(self, arm: str, read: "Read") -> Values:
        read_all = (None if point is None else read(getattr(point, arm)) for point in self.points)
        return [None if value is None else float(value) for value in read_all]

    def _chart(self, key: str, title: str, unit: Any, series: Iterable[Series]) -> Chart:
        return Chart(key=key, title=title, unit=unit, series=[*series])


Read = Callable[[ArmHealth], Any]


def place_of(moment: datetime, starts: Sequence[datetime]) -> float:
    """How many slices after the first one's beginning a moment lies; ``starts`` holds two or more."""
    return (moment - starts[0]) / (starts[1] - starts[0])


def _cost_of_a_thousand(arm: ArmHealth) -> Any:
    return None if arm.cost_usd is None or not arm.requests else 1000 * arm.cost_usd / arm.requests


def _share_of(outcome: str, arm: ArmHealth) -> float | None:
    return 100 * arm.sums.outcomes.get(outcome, 0) / arm.requests if arm.requests else None
