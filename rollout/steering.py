"""A rollout's steerable state: as JSON values that the history compares, and how new values get into its rows.

Part of rollout's services; only ``rollout.changes`` writes through it, under the rollout's lock.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, cast

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from rollout.models import Rollout, Stage, new_salt
from rollout.ramp import Mode, Ramp, State, Step, state_after
from rollout.refusals import ChangeRefused

# Fields that are written as given; the rest have a meaning of their own, below.
PLAIN = (
    "priority",
    "is_retired",
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
    "signals",
    "ramp_mode",
    "second_pair_above",
)
MANY = ("users", "groups")
FIELDS = ("enabled", "forced", "percent", *PLAIN, *MANY, "stages", "rerandomise")
# What a verb of the ramp and an undone change may set besides.
_INNER = ("ramp_state", "approved_percent", "salt")
STAGE_FIELDS = ("percent", "min_days", "min_sample", "min_people", "needs_approval")
# What changes who gets the candidate.
STEERING = ("enabled", "forced", "percent", "salt")
# What begins another stretch: the split is what others of the same baseline leave.
STANDING = (*STEERING, "split")


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


def refuse_unknown(changes: Iterable[str]) -> None:
    """ChangeRefused for fields that nobody may change by hand."""
    unknown = sorted(set(changes) - set(FIELDS))
    if unknown:
        raise ChangeRefused(_("Unknown: %(fields)s.") % {"fields": ", ".join(unknown)}, field=unknown[0])


def describe(rollout: Rollout) -> dict[str, Any]:
    """A rollout's steerable state as JSON values: what the history compares."""
    return {
        "enabled": rollout.is_on,
        "forced": rollout.everyone is True,
        "percent": f"{rollout.percent:.2f}",
        **{field: _json(getattr(rollout, field)) for field in (*PLAIN, "ramp_state", "approved_percent")},
        "users": sorted(str(user) for user in rollout.users.all()),
        "groups": sorted(str(group) for group in rollout.groups.all()),
        "stages": [_described(stage) for stage in rollout.stages.order_by("position")],
        "salt": rollout.salt,
    }


def as_changes(described: Mapping[str, Any]) -> dict[str, Any]:
    """The way back from ``describe``. ChangeRefused where people or groups are named that are no more."""
    changes = dict(described)
    for field, model, key in (("users", get_user_model(), "username"), ("groups", Group, "name")):
        if field in changes:
            found = {getattr(row, key): row for row in model._default_manager.filter(**{f"{key}__in": changes[field]})}
            if gone := sorted(set(changes[field]) - set(found)):
                raise ChangeRefused(_("No longer there: %(names)s.") % {"names": ", ".join(gone)}, field=field)
            changes[field] = list(found.values())
    if "stages" in changes:
        changes["stages"] = [dict(zip(STAGE_FIELDS, stage, strict=False)) for stage in changes["stages"]]
    return changes


def ramp_of(rollout: Rollout, *, by_autopilot: bool = False) -> Ramp:
    """Where the rollout stands in its ramp.

    To the autopilot a stage that takes a second person needs approval too; a person's step there waits as a proposal.
    """
    above = rollout.second_pair_above if by_autopilot else None
    return Ramp(
        state=cast("State", rollout.ramp_state),
        percent=rollout.percent,
        steps=[
            Step(
                percent=stage.percent,
                min_days=stage.min_days,
                min_sample=stage.min_sample,
                min_people=stage.min_people,
                needs_approval=stage.needs_approval or (above is not None and stage.percent > above),
            )
            for stage in rollout.stages.all()
        ],
        approved=rollout.approved_percent,
        forced=rollout.everyone is True,
    )


def apply(rollout: Rollout, changes: Mapping[str, Any]) -> None:
    """Put the changes into the rollout's rows, its version raised. Raises ChangeRefused."""
    was_on, before = rollout.is_on, (rollout.percent, rollout.everyone)
    if "percent" in changes:
        rollout.percent = parse_percent(changes["percent"])
    rollout.everyone = _everyone(rollout.everyone, changes.get("enabled"), changes.get("forced"))
    for field in (*PLAIN, *_INNER):
        if field in changes:
            setattr(rollout, field, changes[field])
    if changes.get("rerandomise"):
        rollout.salt = new_salt()
    if "ramp_state" not in changes:
        rollout.ramp_state = _state_after(rollout, was_on, steered=before != (rollout.percent, rollout.everyone))
    if not rollout.is_on or rollout.percent != before[0]:
        # What was agreed to was one step, from there.
        rollout.approved_percent = None
    _validate(rollout)
    rollout.version += 1
    _save(rollout)
    for field in MANY:
        if field in changes:
            getattr(rollout, field).set(changes[field])
    if "stages" in changes:
        _set_stages(rollout, changes["stages"])


def _state_after(rollout: Rollout, was_on: bool, *, steered: bool) -> State:
    return state_after(
        cast("State", rollout.ramp_state),
        cast("Mode", rollout.ramp_mode),
        was_on=was_on,
        is_on=rollout.is_on,
        steered=steered,
    )


def _json(value: Any) -> Any:
    return f"{value:.2f}" if isinstance(value, Decimal) else value


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
        # Two of one name made at the same moment: the database refuses the later one.
        raise ChangeRefused(
            _("Another rollout of the same name was made at this moment."), field="name", code="conflict"
        ) from error


def _set_stages(rollout: Rollout, stages: Iterable[Mapping[str, Any]]) -> None:
    rows: Sequence[Stage] = [
        Stage(**{**stage, "rollout": rollout, "position": position, "percent": parse_percent(stage["percent"])})
        for position, stage in enumerate(stages, start=1)
    ]
    if any(later.percent <= earlier.percent for earlier, later in pairwise(rows)):
        raise ChangeRefused(_("Each stage must have a higher percentage than the one before."), field="stages")
    # Rows that stay keep their identity: a page that shows them may be open somewhere.
    if [_described(row) for row in rows] != [_described(row) for row in rollout.stages.order_by("position")]:
        rollout.stages.all().delete()
        Stage.objects.bulk_create(rows)


def _described(stage: Stage) -> list[Any]:
    return [f"{stage.percent:.2f}", stage.min_days, stage.min_sample, stage.min_people, stage.needs_approval]
