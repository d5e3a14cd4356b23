"""Rollouts that share a baseline, asked one after the other: whose a unit is, and what share of people each gets.

Knows arithmetic and ``bucketing`` only: no Django, no clock, no storage. A unit is in at most one candidate; whoever
is in none is a control of exactly one open rollout, dealt by a hash that knows nothing of any bucket.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from rollout.bucketing import ArmName, Reason, bucket, in_candidate

_ALL = Decimal(1)
_CENT = Decimal("0.01")


class Layer(NamedTuple):
    """A rollout as its neighbours see it; they sort as they are asked: by priority, lower first, then by name.

    ``percent`` is 0 to 100, ``everyone`` is waffle's tri-state.
    """

    priority: int
    rollout: str
    salt: str
    percent: Decimal
    everyone: bool | None

    @property
    def share(self) -> Decimal:
        """The part (0 to 1) that it takes of those whom none before it took."""
        return _ALL if self.everyone else self.percent / 100


class Assignment(NamedTuple):
    """The rollout that a unit's request counts for, the unit's arm in it, and why."""

    rollout: str
    arm: ArmName
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class Share:
    """What an open rollout gets, in percent: ``candidate`` and ``control`` of all people, ``split`` of its own.

    ``percent`` is what it takes of those whom none before it took, 100 while forced. ``split`` is the part of the
    people who count for it that gets its candidate, to 0.01, and 0 or 100 only where that is exact.
    """

    rollout: str
    percent: Decimal
    candidate: Decimal
    control: Decimal
    split: Decimal


def assign(layers: Collection[Layer], *, unit: str, testers: Collection[str] = (), wish: str = "") -> Assignment:
    """Where a unit goes among all rollouts of one baseline (at least one, open or closed).

    ``wish`` names the rollout whose candidate was asked for, ``testers`` those that have the unit among their
    testers. A stop wins over everything, a wish over testers, testers over force and percentage.
    """
    opened = _opened(layers)
    if wish or not opened:
        known = sorted(layers)
        asked = next((layer for layer in known if layer.rollout == wish), known[0])
        if asked.everyone is False:
            return Assignment(asked.rollout, "baseline", "disabled")
        return Assignment(asked.rollout, "candidate", "manual")
    for layer in opened:
        if layer.rollout in testers:
            return _candidate(layer, "tester")
    for layer in opened:
        if layer.everyone or in_candidate(rollout=layer.rollout, salt=layer.salt, unit=unit, percent=layer.percent):
            return _candidate(layer, "percentage")
    return Assignment(_controller(opened, unit).rollout, "baseline", "percentage")


def _candidate(layer: Layer, reason: Reason) -> Assignment:
    return Assignment(layer.rollout, "candidate", "everyone" if layer.everyone else reason)


def _controller(opened: Sequence[Layer], unit: str) -> Layer:
    """Whose control the unit is: rendezvous hashing (Thaler & Ravishankar 1998), so that opening or closing one moves
    only those whom it gains or loses. No rollout's name holds a dot, so no bucket is drawn by these keys.
    """
    if len(opened) == 1:
        return opened[0]
    return max(opened, key=lambda layer: bucket(rollout=f"control.{layer.rollout}", salt=layer.salt, unit=unit))


def shares(layers: Iterable[Layer]) -> list[Share]:
    """What each open rollout of one baseline gets, in the order in which they are asked."""
    opened = _opened(layers)
    found, reach = [], _ALL
    control = _product(opened) / len(opened) if opened else _ALL
    for place, layer in enumerate(opened):
        found.append(
            Share(
                rollout=layer.rollout,
                percent=100 * layer.share,
                candidate=100 * reach * layer.share,
                control=100 * control,
                split=_split(opened, place),
            )
        )
        reach *= 1 - layer.share
    return found


def split_of(layers: Iterable[Layer], rollout: str) -> Decimal:
    """``Share.split`` of that one among all rollouts of one baseline. Raises ValueError where it is not open."""
    opened = _opened(layers)
    return _split(opened, [layer.rollout for layer in opened].index(rollout))


def _opened(layers: Iterable[Layer]) -> list[Layer]:
    """As they are asked."""
    return sorted([layer for layer in layers if layer.everyone is not False])


def _product(layers: Sequence[Layer]) -> Decimal:
    """The part that none of them takes."""
    rest = _ALL
    for layer in layers:
        rest *= 1 - layer.share
    return rest


def _split(opened: Sequence[Layer], place: int) -> Decimal:
    """Candidates of candidates and controls. What those before take is the same part of both, and left out: so a
    rollout that nobody reaches has a split too.
    """
    share = opened[place].share
    if not share:
        return Decimal("0.00")
    control = (1 - share) * _product(opened[place + 1 :]) / len(opened)
    exact = 100 * share / (share + control)
    rounded = exact.quantize(_CENT)
    return rounded if exact == 100 else min(max(rounded, _CENT), 100 - _CENT)
