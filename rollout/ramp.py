"""The ramp of a rollout: its states, which verb fits which, and what a verb changes. Pure: no clock, no words.

``rollout.changes`` applies what is decided here, under the rollout's lock; ``rollout.autopilot`` says what is next.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, get_args

Mode = Literal["manual", "assisted", "automatic"]
State = Literal["pending", "running", "paused", "completed", "rolled_back"]
Verb = Literal["start", "pause", "resume", "advance", "approve", "roll_back", "complete", "restart"]

VERBS: tuple[Verb, ...] = get_args(Verb)
# In these nobody is moved to the candidate: the rollout is off.
OFF: frozenset[State] = frozenset(("pending", "rolled_back"))

_FITS: Mapping[Verb, frozenset[State]] = {
    "start": frozenset(("pending",)),
    "pause": frozenset(("running",)),
    "resume": frozenset(("paused",)),
    "advance": frozenset(("running",)),
    "approve": frozenset(("running", "paused")),
    "roll_back": frozenset(("running", "paused", "completed")),
    "complete": frozenset(("running",)),
    "restart": frozenset(("completed", "rolled_back")),
}

Refusal = Literal[
    "state", "no_stages", "last_stage", "not_last_stage", "needs_approval", "nothing_to_approve", "forced"
]


class VerbRefused(Exception):
    """The verb does not fit: ``why`` is a code, "state" where it is the state that forbids it."""

    def __init__(self, why: Refusal) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, kw_only=True)
class Step:
    """One stage: percentage, and what must have come before the next one: days, requests and people an arm.

    ``needs_approval``: a person must agree before this stage begins.
    """

    percent: Decimal
    min_days: int
    min_sample: int
    min_people: int
    needs_approval: bool


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """Where a rollout stands. ``approved`` is the percentage of the stage that a person has agreed to, if any."""

    state: State
    percent: Decimal
    steps: Sequence[Step]
    approved: Decimal | None = None
    forced: bool = False

    @property
    def here(self) -> Step | None:
        """The stage that today's percentage is; ``None`` beside the ramp."""
        return next((step for step in self.steps if step.percent == self.percent), None)

    @property
    def following(self) -> Step | None:
        """The first stage above today's percentage."""
        return next((step for step in self.steps if step.percent > self.percent), None)

    @property
    def is_approved(self) -> bool:
        """Whether nothing but the figures stands before the next stage."""
        following = self.following
        return following is None or not following.needs_approval or self.approved == following.percent

    def fits(self, verb: Verb) -> bool:
        """Whether the verb would be taken now."""
        try:
            plan(self, verb)
        except VerbRefused:
            return False
        return True


def plan(ramp: Ramp, verb: Verb) -> dict[str, Any]:
    """What a verb changes, as ``rollout.changes.change_rollout`` takes it. Raises VerbRefused.

    A stage is never skipped: ``advance`` goes to the next one, ``complete`` ends the ramp in its last one only.
    """
    if ramp.state not in _FITS[verb]:
        raise VerbRefused("state")
    return _PLANS[verb](ramp)


def state_after(state: State, mode: Mode, *, was_on: bool, is_on: bool, steered: bool) -> State:
    """The state after a change by hand. ``steered``: the percentage was changed, or everyone's force.

    Off is ``rolled_back``, or ``pending`` where it never ran; on again is ``running``. An automatic ramp that somebody
    steers by hand pauses; one that was completed runs again.
    """
    if not is_on:
        return state if state in OFF else "rolled_back"
    if not was_on:
        return "running"
    if not steered or state == "paused":
        return state
    return "paused" if mode == "automatic" else "running"


def _start(ramp: Ramp) -> dict[str, Any]:
    if not ramp.steps:
        raise VerbRefused("no_stages")
    return {
        "ramp_state": "running",
        "enabled": True,
        "forced": False,
        "percent": ramp.steps[0].percent,
        "approved_percent": None,
    }


def _advance(ramp: Ramp) -> dict[str, Any]:
    following = ramp.following
    if ramp.forced:
        raise VerbRefused("forced")
    if following is None:
        raise VerbRefused("last_stage")
    if not ramp.is_approved:
        raise VerbRefused("needs_approval")
    return {"percent": following.percent, "approved_percent": None, "ramp_state": "running"}


def _approve(ramp: Ramp) -> dict[str, Any]:
    following = ramp.following
    if following is None or ramp.is_approved:
        raise VerbRefused("nothing_to_approve")
    return {"approved_percent": following.percent}


def _complete(ramp: Ramp) -> dict[str, Any]:
    if ramp.following is not None:
        raise VerbRefused("not_last_stage")
    return {"ramp_state": "completed"}


_PLANS: Mapping[Verb, Callable[[Ramp], dict[str, Any]]] = {
    "start": _start,
    "pause": lambda ramp: {"ramp_state": "paused"},
    "resume": lambda ramp: {"ramp_state": "running"},
    "advance": _advance,
    "approve": _approve,
    "roll_back": lambda ramp: {"ramp_state": "rolled_back", "enabled": False, "approved_percent": None},
    "complete": _complete,
    "restart": _start,
}
