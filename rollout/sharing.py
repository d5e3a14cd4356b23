"""Rollouts that share a baseline, as rows: what each gets, and which of them another one's change moves.

Part of rollout's services; the arithmetic is ``rollout.layers``'s.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from django.db.models import QuerySet

from rollout.layers import Layer, shares
from rollout.models import Rollout

Splits = Mapping[str, Decimal]


def _of(baseline: str) -> QuerySet[Rollout]:
    rollouts: QuerySet[Rollout] = Rollout.objects.all()
    return rollouts.filter(baseline=baseline)


def layer_of(rollout: Rollout) -> Layer:
    """What a rollout's neighbours have to know of it."""
    return Layer(
        rollout=rollout.name,
        salt=rollout.salt,
        percent=rollout.percent,
        everyone=rollout.everyone,
        priority=rollout.priority,
    )


def splits_of(rollouts: Iterable[Rollout]) -> dict[str, Decimal]:
    """The expected split of each open one among all ``rollouts`` of a baseline, by name."""
    return {share.rollout: share.split for share in shares(map(layer_of, rollouts))}


def lock_baseline(baseline: str) -> list[Rollout]:
    """All rollouts of that baseline, locked until the transaction ends; always in the same order, so that two changes
    wait for each other and never in a ring.
    """
    rows = _of(baseline).order_by("pk")
    list(rows.select_for_update().values_list("pk", flat=True))
    # Read anew: PostgreSQL's locking query does not see a row that came while it waited.
    return list(rows)


def moved(before: Splits, after: Splits) -> dict[str, list[str]]:
    """Which rollouts were open and still are, and have another split: ``{name: [old, new]}``, in percent."""
    return {
        name: [f"{split:.2f}", f"{after[name]:.2f}"]
        for name, split in before.items()
        if name in after and after[name] != split
    }
