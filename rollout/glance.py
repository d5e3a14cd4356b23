"""What is read of a rollout before its figures are: how it is set, what was decided last, how far the roll-ups are.

Enough to tell whether anything that is shown of it has changed. Part of rollout's services; is told the time.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db import connection

from metrics.reading import UpTo
from metrics.statements import columns, fetch, select
from rollout.models import Evaluation, Rollout, RolloutChange, Stage
from rollout.refusals import not_found
from rollout.steering import STANDING

# Always the same: to compile them anew each time takes more than to run them.
_SIBLINGS = f"""
    SELECT {columns(Rollout, "sibling")} FROM {Rollout._meta.db_table} sibling
    JOIN {Rollout._meta.db_table} named ON named.baseline = sibling.baseline WHERE named.name = %s ORDER BY sibling.id
"""  # noqa: S608
# In the order of its own index.
_NEWEST = f"""
    SELECT id, evidence FROM {Evaluation._meta.db_table} WHERE rollout = %s ORDER BY first_at DESC, id DESC LIMIT 1
"""  # noqa: S608
_STAGES = f"""
    SELECT {columns(Stage, "stage")} FROM {Stage._meta.db_table} stage WHERE rollout_id = %s ORDER BY position
"""  # noqa: S608
# What has_any_keys is to each.
_HAS_ANY = {
    "postgresql": f"changes ?| ARRAY[{', '.join(map(repr, STANDING))}]",
    "sqlite": " OR ".join(f"JSON_TYPE(changes, '$.{name}') IS NOT NULL" for name in STANDING),
}
_STEERED = f"""
    SELECT {columns(RolloutChange, "steered")} FROM {RolloutChange._meta.db_table} steered
    WHERE rollout = %s AND ({{0}}) ORDER BY changed_at DESC, id DESC LIMIT 1
"""  # noqa: S608


class Kept(NamedTuple):
    """The newest decision that is kept: its number, its run, and the largest evidence of a wrong split seen in it."""

    number: int
    run: int | None
    srm_peak: float | None


@dataclass(frozen=True, kw_only=True)
class Glance:
    """A rollout at a moment; ``siblings`` are all rollouts of its baseline, itself among them."""

    rollout: Rollout
    siblings: Sequence[Rollout]
    kept: Kept | None
    seen: UpTo
    now: datetime

    @property
    def fingerprint(self) -> str:
        """Changes with the figures, a change, another decision or step, and each minute."""
        minute = self.now.replace(second=0, microsecond=0)
        versions = ".".join(f"{each.pk}.{each.version}" for each in self.siblings)
        decided = None if self.kept is None else self.kept.number
        return f"{minute.timestamp():.0f}-{versions}.{self.rollout.stretch}-{decided}-{self.seen.changed_at}"


def glance_at(name: str, *, now: datetime) -> Glance:
    """In three queries, at any size. Raises RolloutNotFound."""
    siblings: list[Rollout] = [each for (each,) in select(_SIBLINGS, [name], Rollout)]
    rollout = next((each for each in siblings if each.name == name), None)
    if rollout is None:
        raise not_found(name)
    seen = UpTo(rollout=name, until=now)
    return Glance(rollout=rollout, siblings=siblings, kept=newest_kept(name), seen=seen, now=now)


def stages_of(rollout: Rollout) -> list[Stage]:
    """Its ramp, in order."""
    return [stage for (stage,) in select(_STAGES, [rollout.pk], Stage)]


def standing_since(rollout: Rollout) -> datetime:
    """Since when the rollout has had its present state, percentage, people and split."""
    steered: list[list[RolloutChange]] = select(
        _STEERED.format(_HAS_ANY[connection.vendor]), [rollout.name], RolloutChange
    )
    return steered[0][0].changed_at if steered else rollout.created


def newest_kept(name: str) -> Kept | None:
    """What is kept of the rollout's newest decision."""
    found = fetch(_NEWEST, [name])
    if not found:
        return None
    ((number, text),) = found
    evidence = json.loads(text)
    return Kept(number, evidence.get("run"), evidence.get("srm_peak"))
