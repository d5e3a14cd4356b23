"""A rollout's arms in spans of time side by side, for its reports: days of a week, hours of a day. Reads the roll-ups.

Days are those of ``TIME_ZONE``. Part of rollout's services; how two weeks compare is ``rollout.weeks``'.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings

from metrics import reading
from metrics.health import ArmHealth
from metrics.slices import Grain, day_bounds, floor
from metrics.sums import Sums
from rollout.weeks import Day, change_between

Bounds = tuple[datetime, datetime]
Arms = Mapping[str, ArmHealth]

_ARMS = ("candidate", "baseline")
# What is compared, as Y and N of a day: times in ms, money in USD, errors in 100 requests.
_FIGURES: Mapping[str, Callable[[ArmHealth], Day]] = {
    "errorPercent": lambda arm: (100 * arm.errors, arm.judged),
    "ttftMeanMs": lambda arm: (arm.sums.ttft_sum, arm.sums.ttft_n),
    "latencyMeanMs": lambda arm: (arm.sums.latency_sum, arm.sums.latency_n),
    "costPerThousandUsd": lambda arm: (1000 * float(arm.cost_usd or 0), 0 if arm.cost_usd is None else arm.requests),
    "ratingMean": lambda arm: (sum(int(star) * n for star, n in arm.ratings_by_star.items()), arm.ratings),
}


def days_of(monday: date) -> list[Bounds]:
    """The seven days of a week."""
    zone = ZoneInfo(settings.TIME_ZONE)
    return [day_bounds(monday + timedelta(days=number), zone) for number in range(7)]


def hours_of(day: Bounds) -> list[Bounds]:
    """The 23 to 25 hours of a day; the last one is half an hour long where clocks move by that much."""
    since, until = day
    starts = [since + timedelta(hours=number) for number in range(25) if since + timedelta(hours=number) < until]
    return list(zip(starts, [*starts[1:], until], strict=True))


def arms_in(rollout: str, spans: Sequence[Bounds]) -> list[Arms]:
    """Both arms in each of some spans that follow on each other, with nobody counted."""
    # Half hours are what some zones' days begin at.
    whole = all(floor(bound, Grain.HOUR) == bound for span in spans for bound in span)
    points = reading.series(
        rollout=rollout, since=spans[0][0], until=spans[-1][1], grain=Grain.HOUR if whole else Grain.FIVE_MINUTES
    )
    return [
        {arm: _added_up([getattr(point, arm) for point in points if start <= point.start < end]) for arm in _ARMS}
        for start, end in spans
    ]


def series_of(rollout: str, spans: Sequence[Bounds]) -> list[dict[str, Any]]:
    """The same as JSON values, for charts and sparklines; null is "not known"."""
    return [
        {"start": start.isoformat(), **{arm: _point(health) for arm, health in arms.items()}}
        for (start, _end), arms in zip(spans, arms_in(rollout, spans), strict=True)
    ]


def week_over_week(rollout: str, monday: date) -> dict[str, Any]:
    """Each arm's changes from the week before to the one that begins on ``monday``; null where too little is known."""
    before = arms_in(rollout, days_of(monday - timedelta(days=7)))
    after = arms_in(rollout, days_of(monday))
    return {
        arm: {
            name: _change([read(day[arm]) for day in before], [read(day[arm]) for day in after])
            for name, read in _FIGURES.items()
        }
        for arm in _ARMS
    }


def _change(before: Sequence[Day], after: Sequence[Day]) -> dict[str, float] | None:
    change = change_between(before, after)
    return None if change is None else asdict(change)


def _point(arm: ArmHealth) -> dict[str, Any]:
    return {
        "requests": arm.requests,
        "errorPercent": arm.error_percent,
        "ttftP50Ms": arm.ttft_p50_ms,
        "ttftP95Ms": arm.ttft_p95_ms,
        "costUsd": None if arm.cost_usd is None else float(arm.cost_usd),
        "savedUsd": None if arm.saved_usd is None else float(arm.saved_usd),
    }


def _added_up(slices: Sequence[ArmHealth]) -> ArmHealth:
    sums = Sums()
    for each in slices:
        sums.merge(each.sums)
    return ArmHealth(sums=sums, people=None)
