"""The only way into rollout for reading: whose request goes where, how it stands, what to do next.

Changing a rollout is ``rollout.changes.change_rollout``. Knows rollouts and reads health from metrics;
knows nothing of people beyond their unit and whether they are testers.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from metrics import reading
from metrics.slices import Grain, ceil
from rollout import evaluation
from rollout.bucketing import ArmName, Reason, assign
from rollout.changes import get_rollout
from rollout.defaults import create_default_rollout
from rollout.models import Rollout, RolloutChange, Stage
from rollout.report_series import series_of
from rollout.status import Status
from rollout.steering import STEERING

logger = logging.getLogger(__name__)

# Thirty days, as the older tool had it; the dashboard looks further back.
MAX_HOURS = 720


@dataclass(frozen=True, kw_only=True)
class Route:
    """Where one request goes. ``rollout`` and ``arm`` are "" where no rollout has a say."""

    requested_model: str
    assigned_model: str
    baseline_model: str
    rollout: str
    arm: ArmName | str
    reason: Reason
    percent: Decimal | None
    run: int
    stretch: int


def route(*, requested_model: str, unit: str, user: Any = None, language: str = "") -> Route:
    """Decide which model answers a request, from the database's row as it is now, in one query.

    ``user`` is the Django account behind the unit, ``None`` for a program's end user; it and ``language``
    only serve to find testers.
    """
    rollout = _rollout_for(requested_model, user)
    if rollout is None:
        return Route(
            requested_model=requested_model,
            assigned_model=requested_model,
            baseline_model=requested_model,
            rollout="",
            arm="",
            reason="not_in_rollout",
            percent=None,
            run=0,
            stretch=0,
        )
    assignment = assign(
        rollout=rollout.name,
        salt=rollout.salt,
        unit=unit,
        percent=rollout.percent,
        everyone=rollout.everyone,
        is_tester=_is_tester(rollout, user, language),
        asked_for_candidate=requested_model == rollout.candidate,
    )
    return Route(
        requested_model=requested_model,
        assigned_model=rollout.candidate if assignment.arm == "candidate" else rollout.baseline,
        baseline_model=rollout.baseline,
        rollout=rollout.name,
        arm=assignment.arm,
        reason=assignment.reason,
        percent=rollout.percent,
        run=rollout.run,
        stretch=rollout.stretch,
    )


def log_route(route: Route, *, unit: str, call_id: object) -> None:
    """The one line an operator greps for."""
    logger.info(
        "Model routing: %s → %s",
        route.requested_model,
        route.assigned_model,
        extra={"rollout": route.rollout, "reason": route.reason, "unit": unit, "call_id": call_id},
    )


def _rollout_for(model: str, user: Any) -> Rollout | None:
    """The open rollout that this model key takes part in, else a closed one, in a single query."""
    rollouts: QuerySet[Rollout] = Rollout.objects.filter(Q(baseline=model) | Q(candidate=model))
    if user is not None:
        named = Rollout.users.through.objects.filter(rollout_id=OuterRef("pk"), user_id=user.pk)
        grouped = Rollout.groups.through.objects.filter(
            rollout_id=OuterRef("pk"), group__in=user.groups.values("pk").order_by()
        )
        rollouts = rollouts.annotate(names_user=Exists(named) | Exists(grouped))
    candidates = sorted(rollouts, key=lambda row: (not row.is_on, row.baseline != model, row.name))
    return candidates[0] if candidates else None


def _is_tester(rollout: Rollout, user: Any, language: str) -> bool:
    languages = {code.strip().lower() for code in rollout.languages.split(",") if code.strip()}
    if language and language.lower() in languages:
        return True
    if user is None:
        return False
    return bool(
        getattr(rollout, "names_user", False)
        or (rollout.superusers and user.is_superuser)
        or (rollout.staff and user.is_staff)
    )


class WindowRefused(ValueError):
    """Not a window that health can be added up over; the text says what is."""


def parse_hours(given: str) -> int:
    """A window's length from what a person or a program typed: whole hours, 1 to 720. Raises WindowRefused."""
    if not (given.isascii() and given.isdigit() and len(given) <= 3 and 1 <= int(given) <= MAX_HOURS):
        raise WindowRefused(_("hours must be a whole number from 1 to %(most)d.") % {"most": MAX_HOURS})
    return int(given)


def status(name: str, *, hours: int = 24, now: datetime) -> Status:
    """How the rollout stands over the ``hours`` before ``now``. Raises RolloutNotFound."""
    rollout = get_rollout(name)
    health = reading.health(rollout=name, since=now - timedelta(hours=hours), until=now)
    return Status(
        rollout=rollout,
        stages=list(rollout.stages.order_by("position")),
        hours=hours,
        now=now,
        standing_since=standing_since(rollout),
        health=health,
        saved_ever_usd=reading.saved_usd(rollout=name, until=now),
        decision=evaluation.decide_on(rollout, now=now),
    )


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


def standing_since(rollout: Rollout) -> datetime:
    """Since when the rollout has had its present state, percentage and people."""
    last = RolloutChange.objects.filter(rollout=rollout.name, changes__has_any_keys=[*STEERING, "split"]).first()
    return rollout.created if last is None else last.changed_at


def ensure_default_rollout() -> None:
    """Create the default rollout where it is missing."""
    create_default_rollout(Rollout, Stage)
