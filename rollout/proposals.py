"""Changes that wait for a second person: which do, and how they are kept. Part of rollout's services.

Deciding on one is a change, and so ``rollout.changes``'s.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from rollout.actors import Actor
from rollout.models import Proposal


def takes_two(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether more people than ``second_pair_above`` % would get the candidate, or the rule would be loosened."""
    limit, later = (_percent_or_none(state["second_pair_above"]) for state in (before, after))
    if limit is None:
        return False
    more = _share(after) > max(limit, _share(before))
    return more or later is None or later > limit


def _share(state: Mapping[str, Any]) -> Decimal:
    if not state["enabled"]:
        return Decimal(0)
    return Decimal(100) if state["forced"] else Decimal(state["percent"])


def _percent_or_none(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def propose(
    name: str, diff: Mapping[str, Sequence[Any]], version: int, *, actor: Actor, why: str, at: datetime
) -> Proposal:
    """Keep what waits. The same again, while it waits, is the same proposal; another one of this person replaces it."""
    mine = Proposal.objects.filter(rollout=name, state=Proposal.State.OPEN, actor=actor.name, user_id=actor.user_id)
    same = mine.filter(version=version, changes=diff).first()
    if same is not None:
        return same
    mine.update(state=Proposal.State.OUTDATED, decided_at=at)
    return Proposal.objects.create(
        rollout=name,
        version=version,
        changes=diff,
        actor=actor.name,
        user_id=actor.user_id,
        source=actor.source,
        why=why[:500],
        proposed_at=at,
    )
