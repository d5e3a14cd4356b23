"""Two weeks of a rollout side by side, day by day, for its weekly report. Part of rollout's services.

Days are those of ``TIME_ZONE``. Reads the roll-ups; the comparison is ``rollout.weeks``'.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings

from metrics import reading
from metrics.health import ArmHealth
from metrics.slices import Grain, day_bounds, floor
from metrics.sums import Sums
from rollout.weeks import Day, change_between

_ARMS = ("candidate", "baseline")
# What is compared, as Y and N of a day: times in ms, money in USD, errors in 100 requests.
_FIGURES: Mapping[str, Callable[[ArmHealth], Day]] = {
    "errorPercent": lambda arm: (100 * arm.errors, arm.judged),
    "ttftMeanMs": lambda arm: (arm.sums.ttft_sum, arm.sums.ttft_n),
    "latencyMeanMs": lambda arm: (arm.sums.latency_sum, arm.sums.latency_n),
    "costPerThousandUsd": lambda arm: (1000 * float(arm.cost_usd or 0), 0 if arm.cost_usd is None else arm.requests),
    "ratingMean": lambda arm: (sum(int(star) * n for star, n in arm.ratings_by_star.items()), arm.ratings),
}


def week_over_week(rollout: str, monday: date) -> dict[str, Any]:
    """Each arm's changes from the week before to the one that begins on ``monday``; null where too little is known."""
    before = _days(rollout, monday - timedelta(days=7))
    after = _days(rollout, monday)
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


def _days(rollout: str, monday: date) -> list[dict[str, ArmHealth]]:
    zone = ZoneInfo(settings.TIME_ZONE)
    bounds = [day_bounds(monday + timedelta(days=number), zone) for number in range(7)]
    # Half hours are what some zones' days begin at.
    whole = all(floor(start, Grain.HOUR) == start for start, _end in bounds)
    grain = Grain.HOUR if whole else Grain.FIVE_MINUTES
    points = reading.series(rollout=rollout, since=bounds[0][0], until=bounds[-1][1], grain=grain)
    return [
        {arm: _added_up([getattr(point, arm) for point in points if start <= point.start < end]) for arm in _ARMS}
        for start, end in bounds
    ]


def _added_up(slices: Sequence[ArmHealth]) -> ArmHealth:
    sums = Sums()
    for each in slices:
        sums.merge(each.sums)
    return ArmHealth(sums=sums, people=None)
