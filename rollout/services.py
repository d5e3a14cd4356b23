"""The only way into rollout for reading: whose request goes where, how it stands, what to do next.

Changing a rollout is ``rollout.changes.change_rollout``. Knows rollouts and reads health from metrics.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import gettext as _

from metrics.replica import from_replica
from metrics.slices import Grain, ceil
from rollout import evaluation
from rollout.changes import ChangeRefused
from rollout.defaults import create_default_rollout
from rollout.glance import Glance, glance_at, stages_of, standing_since
from rollout.layers import shares
from rollout.models import Rollout, RolloutChange, Stage
from rollout.report_series import series_of
from rollout.routing import (
    Explanation,
    Question,
    Route,
    UnitRefused,
    account_of,
    accounts_of,
    explain,
    find_unit,
    log_route,
    parse_unit,
    route,
    routes,
)
from rollout.sharing import layer_of
from rollout.status import Status

__all__ = [
    "MAX_HOURS",
    "Explanation",
    "Question",
    "Route",
    "UnitRefused",
    "WindowRefused",
    "account_of",
    "accounts_of",
    "ensure_default_rollout",
    "explain",
    "find_change",
    "find_unit",
    "glance_at",
    "history",
    "log_route",
    "parse_hours",
    "parse_unit",
    "rollouts",
    "route",
    "routes",
    "standing_since",
    "status",
    "status_of",
    "trend",
]

# Thirty days, as the older tool had it; the dashboard looks further back.
MAX_HOURS = 720


class WindowRefused(ValueError):
    """Not a window that health can be added up over; the text says what is."""


def parse_hours(given: str) -> int:
    """A window's length from what a person or a program typed: whole hours, 1 to 720. Raises WindowRefused."""
    if not (given.isascii() and given.isdigit() and len(given) <= 3 and 1 <= int(given) <= MAX_HOURS):
        raise WindowRefused(_("hours must be a whole number from 1 to %(most)d.") % {"most": MAX_HOURS})
    return int(given)


def status(name: str, *, hours: int = 24, now: datetime) -> Status:
    """How the rollout stands over the ``hours`` before ``now``. Raises RolloutNotFound."""
    return status_of(glance_at(name, now=now), hours=hours)


def status_of(glance: Glance, *, hours: int) -> Status:
    """The same of a rollout that was looked at, at that moment."""
    rollout, seen, now = glance.rollout, glance.seen, glance.now
    return Status(
        rollout=rollout,
        stages=stages_of(rollout),
        hours=hours,
        now=now,
        standing_since=standing_since(rollout),
        shares=shares(map(layer_of, glance.siblings)),
        health=seen.health(since=now - timedelta(hours=hours)),
        saved_ever_usd=seen.saved_usd(),
        knows_calls=seen.knows_calls,
        decision=evaluation.decide_on(rollout, now=now, glance=glance),
    )


@from_replica
def trend(name: str, *, hours: int, now: datetime) -> list[dict[str, Any]]:
    """Both arms in each hour up to ``now``, in each 24 hours where that were more than 48; as reports have it."""
    length = timedelta(hours=1 if hours <= 48 else 24)
    end = ceil(now, Grain.HOUR)
    starts = [end - number * length for number in range(-(-timedelta(hours=hours) // length), 0, -1)]
    return series_of(name, [(start, start + length) for start in starts])


def rollouts() -> Sequence[Rollout]:
    """All rollouts, by name."""
    return list(Rollout.objects.order_by("name"))


def history(name: str, *, limit: int = 20) -> Sequence[RolloutChange]:
    """The newest changes of a rollout, newest first."""
    return list(RolloutChange.objects.filter(rollout=name)[:limit])


def find_change(name: str, number: str) -> RolloutChange:
    """A line of a rollout's history by its number, as a person gave it. Raises ChangeRefused: not_found."""
    known = number.isascii() and number.isdigit() and len(number) < 10
    line = RolloutChange.objects.filter(rollout=name, pk=int(number)).first() if known else None
    if line is None:
        raise ChangeRefused(_("There is no such change."), code="not_found")
    return line


def ensure_default_rollout() -> None:
    """Create the default rollout where it is missing."""
    create_default_rollout(Rollout, Stage)
