"""What a ramp should do next, and why. Pure: facts in, a step out; no Django, no clock, no words.

The questions are asked in an order of which each may answer only if those before it did not: is it stopped, harm, does
anybody else steer, the split, traffic at all, the sample, time, the decision, and approval last. ``rollout.pilot``
gathers the facts and acts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from rollout.decisions import Decision
from rollout.ramp import OFF, Ramp

Action = Literal["none", "roll_back", "hold", "wait", "advance", "complete"]
# Why, for programs; ``rollout.words`` has the sentences.
Code = Literal[
    "off",
    "harm",
    "completed",
    "paused",
    "forced",
    "off_ramp",
    "srm",
    "no_traffic",
    "sample",
    "people",
    "time",
    "worse",
    "undecided",
    "finished",
    "approval",
    "ready",
    "failed",
]
WaitingFor = Literal["", "person", "traffic", "sample", "time", "decision", "approval", "repair"]

# Without a request for this long, nothing can be said of a candidate.
SILENCE = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known at ``now``.

    ``since`` is when the present stage began. ``requests`` and ``people`` are of the arm that has fewer, in this stage;
    where the stage has one arm only (at 100 %), of that one. ``last_request_at`` is ``None`` where this stage has had
    none. ``day`` is the length of a ramp's day.
    """

    now: datetime
    ramp: Ramp
    decision: Decision
    since: datetime
    requests: int
    people: int
    last_request_at: datetime | None
    day: timedelta = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What to do, why, and for what the ramp waits."""

    action: Action
    code: Code
    waiting_for: WaitingFor = ""


def next_step(facts: Facts) -> Answer:
    """The step that the facts call for; to be asked again at each tick, for harm is looked for at each."""
    return next(answer for question in _QUESTIONS if (answer := question(facts)) is not None)


def _stopped(facts: Facts) -> Answer | None:
    return Answer(action="none", code="off", waiting_for="person") if facts.ramp.state in OFF else None


def _harm(facts: Facts) -> Answer | None:
    """Also while the ramp is paused, or done."""
    return Answer(action="roll_back", code="harm") if facts.decision.harm else None


def _not_ours(facts: Facts) -> Answer | None:
    ramp = facts.ramp
    if ramp.state == "completed":
        return Answer(action="none", code="completed")
    if ramp.state == "paused":
        return Answer(action="none", code="paused", waiting_for="person")
    if ramp.forced:
        return Answer(action="none", code="forced", waiting_for="person")
    if ramp.here is None and ramp.following is None:
        return Answer(action="none", code="off_ramp", waiting_for="person")
    return None


def _split(facts: Facts) -> Answer | None:
    return Answer(action="hold", code="srm", waiting_for="repair") if facts.decision.srm else None


def _traffic(facts: Facts) -> Answer | None:
    silent = facts.now - (facts.last_request_at or facts.since) >= SILENCE
    return Answer(action="hold", code="no_traffic", waiting_for="traffic") if silent else None


def _sample(facts: Facts) -> Answer | None:
    here = facts.ramp.here
    if here is None:
        return None
    if facts.requests < here.min_sample:
        return Answer(action="wait", code="sample", waiting_for="sample")
    if facts.people < here.min_people:
        return Answer(action="wait", code="people", waiting_for="sample")
    return None


def _time(facts: Facts) -> Answer | None:
    here = facts.ramp.here
    if here is None or facts.now >= facts.since + here.min_days * facts.day:
        return None
    return Answer(action="wait", code="time", waiting_for="time")


def _decision(facts: Facts) -> Answer | None:
    verdict = facts.decision.verdict
    if verdict == "GO":
        return None
    if verdict == "NOT_ENOUGH_DATA":
        return Answer(action="wait", code="undecided", waiting_for="decision")
    return Answer(action="hold", code="worse", waiting_for="decision")


def _approval(facts: Facts) -> Answer | None:
    if facts.ramp.following is None:
        return Answer(action="complete", code="finished")
    if not facts.ramp.is_approved:
        return Answer(action="wait", code="approval", waiting_for="approval")
    return None


def _onward(facts: Facts) -> Answer:
    return Answer(action="advance", code="ready")


_QUESTIONS: tuple[Callable[[Facts], Answer | None], ...] = (
    _stopped,
    _harm,
    _not_ours,
    _split,
    _traffic,
    _sample,
    _time,
    _decision,
    _approval,
    _onward,
)
