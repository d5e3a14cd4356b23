"""The one way to change a rollout. Admin, API, command line and autopilot all come through here.

Part of rollout's services: validates, locks, applies all or nothing, and writes the history.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from rollout.defaults import RAMP, START_PERCENT
from rollout.models import Rollout, RolloutChange, Stage, new_salt

# Fields that are written as given; the rest have a meaning of their own, below.
_PLAIN = (
    "superusers",
    "staff",
    "languages",
    "note",
    "latency_target_ms",
    "min_cost_reduction",
    "max_error_increase",
    "min_sample",
    "latency_measure",
    "latency_margin",
    "p95_measure",
    "p95_margin",
    "satisfaction_margin",
    "cost_goal",
    "watch_only",
)
_MANY = ("users", "groups")
FIELDS = ("enabled", "forced", "percent", *_PLAIN, *_MANY, "stages", "rerandomise")
# A rollout's name is part of each person's hash, of log lines and of commands.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

# Back to the beginning of the ramp.
RESET: Mapping[str, Any] = {"enabled": True, "forced": False, "percent": START_PERCENT}


class ChangeRefused(ValueError):
    """The change is not possible; nothing was changed. ``field`` names the culprit, "" if it is the whole."""

    def __init__(self, message: str, *, field: str = "", code: str = "invalid") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.code = code


class RolloutNotFound(ChangeRefused):
    """No rollout of that name."""


class VersionConflict(ChangeRefused):
    """Somebody else changed the rollout since it was read."""

    def __init__(self) -> None:
        super().__init__(
            _("The rollout was changed by somebody else in the meantime. Look at its new state and try again."),
            code="conflict",
        )


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who asks for a change: a name for the history, the account where there is one, and from where."""

    name: str
    source: str
    user_id: int | None = None


def parse_percent(value: object) -> Decimal:
    """A percentage from a number or its text: 0 to 100, at most two decimals.

    Raises ChangeRefused for anything else: booleans, NaN, infinity, other text, more digits.
    """
    refused = ChangeRefused(
        _("The percentage must be a number from 0 to 100 with at most two decimals."), field="percent"
    )
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise refused
    if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?\d{1,10}(\.\d{1,10})?\s*", value, re.ASCII):
        raise refused
    try:
        percent = Decimal(repr(value) if isinstance(value, float) else value)
        valid = percent.is_finite() and 0 <= percent <= 100 and percent == round(percent, 2)
    except InvalidOperation:
        valid = False
    if not valid:
        raise refused
    return abs(percent).quantize(Decimal("0.01"))


def change_rollout(
    name: str,
    changes: Mapping[str, Any],
    *,
    actor: Actor,
    why: str = "",
    expected_version: int | None = None,
    now: datetime | None = None,
) -> Rollout:
    """Apply ``changes`` to a rollout, all or none, and add a line to its history.

    ``changes`` may hold: ``enabled`` (bool), ``forced`` (bool, everyone gets the candidate),
    ``percent`` (see ``parse_percent``), ``superusers``, ``staff`` (bool), ``languages``, ``note`` (str),
    the criteria fields, ``users``, ``groups`` (whole sets), ``stages`` (the whole ramp: dicts of
    percent, min_days, min_sample) and ``rerandomise`` (True: a new salt). A stop always wins: disabling ends
    a force. Nothing to change leaves no line. Raises ChangeRefused, RolloutNotFound, VersionConflict.
    """
    _refuse_unknown(changes)
    with transaction.atomic():
        rollout = get_rollout(name, Rollout.objects.select_for_update())
        if expected_version is not None and rollout.version != expected_version:
            raise VersionConflict
        before = describe(rollout)
        _apply(rollout, changes)
        after = describe(rollout)
        diff = {field: [before[field], after[field]] for field in after if before[field] != after[field]}
        if not diff:
            transaction.set_rollback(True)
        else:
            _advance(rollout, diff)
            _record(rollout, diff, actor=actor, why=why, at=now or timezone.now())
    return get_rollout(name)


def create_rollout(
    name: str,
    *,
    baseline: str,
    candidate: str,
    changes: Mapping[str, Any],
    actor: Actor,
    why: str = "",
    now: datetime | None = None,
) -> Rollout:
    """Make a rollout from the model key ``baseline`` to ``candidate``, and begin its history.

    ``changes`` says how it starts, as in ``change_rollout``; without ``stages`` it gets the guide's ramp. Raises
    ChangeRefused, also for a name that is taken or a model key that is not in the catalogue.
    """
    _refuse_unknown(changes)
    if not _NAME.fullmatch(name):
        raise ChangeRefused(
            _("A name begins with a letter or digit and goes on with letters, digits, hyphens or underscores."),
            field="name",
        )
    for field, key in (("baseline", baseline), ("candidate", candidate)):
        if key not in settings.CHAT_MODELS:
            raise ChangeRefused(_("There is no model of that key."), field=field)
    rollout = Rollout(name=name, baseline=baseline, candidate=candidate, version=0)
    with transaction.atomic():
        _apply(rollout, {"stages": [{"percent": percent} for percent in RAMP], **changes})
        start = {"baseline": baseline, "candidate": candidate, **describe(rollout)}
        diff = {field: [None, value] for field, value in start.items()}
        _record(rollout, diff, actor=actor, why=why, at=now or timezone.now())
    return rollout


def get_rollout(name: str, among: "QuerySet[Rollout] | None" = None) -> Rollout:
    """The rollout of that name. Raises RolloutNotFound."""
    rollout = (Rollout.objects.all() if among is None else among).filter(name=name).first()
    if rollout is None:
        raise RolloutNotFound(_("There is no rollout named %(name)s.") % {"name": name}, code="not_found")
    return rollout


def describe(rollout: Rollout) -> dict[str, Any]:
    """A rollout's steerable state as JSON values: what the history compares."""
    return {
        "enabled": rollout.is_on,
        "forced": rollout.everyone is True,
        "percent": f"{rollout.percent:.2f}",
        **{field: _json(getattr(rollout, field)) for field in _PLAIN},
        "users": sorted(str(user) for user in rollout.users.all()),
        "groups": sorted(str(group) for group in rollout.groups.all()),
        "stages": [_ramp_step(stage) for stage in rollout.stages.order_by("position")],
        "salt": rollout.salt,
    }


def _json(value: Any) -> Any:
    return f"{value:.2f}" if isinstance(value, Decimal) else value


def _refuse_unknown(changes: Mapping[str, Any]) -> None:
    unknown = sorted(set(changes) - set(FIELDS))
    if unknown:
        raise ChangeRefused(_("Unknown: %(fields)s.") % {"fields": ", ".join(unknown)}, field=unknown[0])


def _apply(rollout: Rollout, changes: Mapping[str, Any]) -> None:
    if "percent" in changes:
        rollout.percent = parse_percent(changes["percent"])
    rollout.everyone = _everyone(rollout.everyone, changes.get("enabled"), changes.get("forced"))
    for field in _PLAIN:
        if field in changes:
            setattr(rollout, field, changes[field])
    if changes.get("rerandomise"):
        rollout.salt = new_salt()
    _validate(rollout)
    rollout.version += 1
    _save(rollout)
    for field in _MANY:
        if field in changes:
            getattr(rollout, field).set(changes[field])
    if "stages" in changes:
        _set_stages(rollout, changes["stages"])


def _advance(rollout: Rollout, diff: Mapping[str, Sequence[Any]]) -> None:
    """Another share begins a stretch; a start, or people dealt anew, begins a run, where older figures don't count."""
    if not {"enabled", "forced", "percent", "salt"} & diff.keys():
        return
    rollout.stretch += 1
    if "salt" in diff or diff.get("enabled") == [False, True]:
        rollout.run += 1
    rollout.save(update_fields=["run", "stretch"])


def _record(rollout: Rollout, diff: dict[str, Any], *, actor: Actor, why: str, at: datetime) -> None:
    RolloutChange.objects.create(
        rollout=rollout.name,
        changed_at=at,
        changed_by_id=actor.user_id,
        actor=actor.name,
        source=actor.source,
        changes=diff,
        why=why[:500],
    )


def _everyone(now: bool | None, enabled: bool | None, forced: bool | None) -> bool | None:
    """waffle's tri-state after a change: None by percentage, True everyone, False off."""
    on = now is not False if enabled is None else enabled
    if not on:
        if forced:
            raise ChangeRefused(
                _("A disabled rollout can't be forced. Enable it first, or in the same change."), field="forced"
            )
        return False
    force = now is True if forced is None else forced
    return True if force else None


def _validate(rollout: Rollout) -> None:
    try:
        rollout.full_clean()
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise ChangeRefused(messages[0], field="" if field == "__all__" else field) from error


def _save(rollout: Rollout) -> None:
    try:
        with transaction.atomic():
            rollout.save()
    except IntegrityError as error:
        # Two changes that are each fine, at the same moment: the database refuses the later one.
        raise ChangeRefused(
            _("Another rollout of the same name or baseline model was opened at this moment."), code="conflict"
        ) from error


def _set_stages(rollout: Rollout, stages: Iterable[Mapping[str, Any]]) -> None:
    rows: Sequence[Stage] = [
        Stage(**{**stage, "rollout": rollout, "position": position, "percent": parse_percent(stage["percent"])})
        for position, stage in enumerate(stages, start=1)
    ]
    if any(later.percent <= earlier.percent for earlier, later in pairwise(rows)):
        raise ChangeRefused(_("Each stage must have a higher percentage than the one before."), field="stages")
    # Rows that stay keep their identity: a page that shows them may be open somewhere.
    if [_ramp_step(row) for row in rows] != [_ramp_step(row) for row in rollout.stages.order_by("position")]:
        rollout.stages.all().delete()
        Stage.objects.bulk_create(rows)


def _ramp_step(stage: Stage) -> list[Any]:
    return [f"{stage.percent:.2f}", stage.min_days, stage.min_sample]
