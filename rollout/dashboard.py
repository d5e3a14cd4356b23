"""Everything that a rollout's dashboard shows, for one span of time. Part of rollout's services; is told the time.

The figures are the status document's own, so they agree with the API, the command line and the reports to the digit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from metrics import reading
from metrics.failures import recent_failures
from metrics.replica import from_replica
from metrics.slices import Grain, ceil, floor
from rollout import services, words
from rollout.charts import Chart, Mark, Sheet, place_of
from rollout.models import RolloutChange
from rollout.schedule import Schedule, schedule_of
from rollout.serializers import document_of
from rollout.status import Status
from rollout.tiles import Line, line_of


@dataclass(frozen=True, kw_only=True)
class Range:
    """A span of time up to now, how finely it is drawn, and whether a slice is named by its day or its time or both."""

    key: str
    title: Any
    hours: int
    grain: Grain
    has_days: bool = False
    has_times: bool = False


RANGES: Mapping[str, Range] = {
    each.key: each
    for each in (
        Range(key="1h", title=gettext_lazy("1 hour"), hours=1, grain=Grain.FIVE_MINUTES, has_times=True),
        Range(key="6h", title=gettext_lazy("6 hours"), hours=6, grain=Grain.FIVE_MINUTES, has_times=True),
        Range(key="24h", title=gettext_lazy("24 hours"), hours=24, grain=Grain.HOUR, has_times=True),
        Range(key="7d", title=gettext_lazy("7 days"), hours=168, grain=Grain.HOUR, has_days=True, has_times=True),
        Range(key="30d", title=gettext_lazy("30 days"), hours=720, grain=Grain.DAY, has_days=True),
        Range(key="90d", title=gettext_lazy("90 days"), hours=2160, grain=Grain.DAY, has_days=True),
    )
}
DEFAULT_RANGE = "24h"


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One criterion: its part of the status document, and its line (``None`` while it is not measured)."""

    criterion: Mapping[str, Any]
    line: Line | None

    @property
    def state(self) -> str:
        """How it stands, as a label."""
        return words.criterion_state(self.criterion["state"])

    @property
    def measure(self) -> str:
        """What its figures are."""
        return words.criterion_measure(self.criterion["name"])

    @property
    def estimate(self) -> str:
        """In words, as the two below."""
        return self._quantity("estimate")

    @property
    def margin(self) -> str:
        """How far the estimate may go."""
        return self._quantity("margin")

    @property
    def interval(self) -> str:
        """Where the truth lies; only of what is measured."""
        low = words.bare_quantity(self.criterion["low"], self.criterion["unit"])
        return _("%(low)s to %(high)s") % {"low": low, "high": self._quantity("high")}

    @property
    def requests(self) -> str:
        """The candidate's and the baseline's; as ``people``."""
        return self._both("requests")

    @property
    def people(self) -> str:
        """Of both arms."""
        return self._both("people")

    def _both(self, key: str) -> str:
        return "{candidate:,} + {baseline:,}".format(**self.criterion[key])

    def _quantity(self, key: str) -> str:
        return words.quantity(self.criterion[key], self.criterion["unit"])


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """``document`` is the status document of the range; ``failures`` are calls that ended badly, newest first;
    ``labels`` and ``marks`` are of all charts.

    ``fingerprint`` is from before the figures were read: what came in between is fetched the next time.
    """

    fingerprint: str
    current: Status
    schedule: Schedule
    document: Mapping[str, Any]
    tiles: Sequence[Tile]
    charts: Sequence[Chart]
    labels: Sequence[str]
    marks: Sequence[Mark]
    changes: Sequence[RolloutChange]
    failures: Sequence[Any]


@from_replica
def dashboard(name: str, chosen: Range, *, now: datetime) -> Dashboard:
    """The dashboard of a rollout over a range that ends ``now``. Raises RolloutNotFound."""
    glance = services.glance_at(name, now=now)
    current = services.status_of(glance, hours=chosen.hours)
    document = document_of(current)
    changes = list(
        RolloutChange.objects.filter(rollout=name, changed_at__gte=current.health.since, changed_at__lte=now)
    )
    sheet = _sheet(current, chosen, changes, now)
    return Dashboard(
        fingerprint=glance.fingerprint,
        current=current,
        schedule=schedule_of(current.rollout, since=current.standing_since, now=now),
        document=document,
        tiles=[
            Tile(criterion=part, line=line_of(criterion))
            for part, criterion in zip(document["criteria"], current.decision.criteria, strict=True)
        ],
        charts=sheet.charts(),
        labels=sheet.labels,
        marks=sheet.marks,
        changes=changes,
        failures=recent_failures(rollout=name, since=current.health.since, now=now),
    )


@from_replica
def fingerprint(name: str, *, now: datetime) -> str:
    """Changes whenever the dashboard would: new figures, a change, another decision or step, another minute.

    Three queries, at any size. Raises RolloutNotFound.
    """
    return services.glance_at(name, now=now).fingerprint


def _sheet(current: Status, chosen: Range, changes: Sequence[RolloutChange], now: datetime) -> Sheet:
    since, grain = current.health.since, chosen.grain
    found = {
        point.start: point
        for point in reading.series(rollout=current.rollout.name, since=since, until=now, grain=grain)
    }
    first, end = floor(since, grain), max(ceil(now, grain), floor(since, grain) + 2 * grain.length)
    starts = [first + number * grain.length for number in range((end - first) // grain.length)]
    marks = [Mark(at=round(place_of(change.changed_at, starts), 4), text=_in_words(change)) for change in changes]
    return Sheet(
        candidate=current.rollout.candidate,
        baseline=current.rollout.baseline,
        labels=_labels(starts, chosen),
        points=[found.get(start) for start in starts],
        marks=marks,
    )


def _labels(starts: Sequence[datetime], chosen: Range) -> list[str]:
    # Slices of a day are cut in UTC, and so named.
    moments = starts if chosen.grain == Grain.DAY else [timezone.localtime(start) for start in starts]
    # Each day is put into words once, which takes as long as twenty times of day.
    days = {day: formats.date_format(day, "j N") for day in {moment.date() for moment in moments} if chosen.has_days}
    times = "%H:%M" if chosen.has_times else ""
    return [f"{days.get(moment.date(), '')} {moment.strftime(times)}".strip() for moment in moments]


def _in_words(change: RolloutChange) -> str:
    lines = [
        _("%(what)s: %(old)s → %(new)s") % {"what": what, "old": old, "new": new}
        for what, old, new in words.change_in_words(change.changes)
    ]
    return ", ".join([*lines, change.actor])
