"""The autopilot: looks at each rollout, keeps what comes next, and acts where it may. Part of rollout's services.

What comes next is ``rollout.autopilot``'s to say; every step is a change like any other, through ``rollout.changes``.
Harmless twice: a step is taken only from the very version that was looked at.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import DatabaseError, transaction
from django.utils import formats, timezone

from metrics import reading
from metrics.reading import StretchSums
from rollout import ramp_words, services, words
from rollout.autopilot import Action, Answer, Code, Facts, next_step
from rollout.changes import AUTOPILOT, ChangeRefused, act, get_rollout
from rollout.decisions import Decision
from rollout.evaluation import evaluate, figures_of
from rollout.models import AutopilotStep, RampMode, Rollout, live_rollouts
from rollout.notices import Event, notify_step
from rollout.ramp import Verb
from rollout.steering import ramp_of

logger = logging.getLogger(__name__)

# A tick that hangs is followed after this long.
LOCK_SECONDS = 55
VERBS: Mapping[Action, Verb] = {"roll_back": "roll_back", "advance": "advance", "complete": "complete"}
_EVENTS: Mapping[Action, Event] = {"roll_back": "rolled_back", "advance": "advanced", "complete": "completed"}
_NOTHING = Decision(verdict="NOT_ENOUGH_DATA", criteria=())


def tick(*, clock: Callable[[], datetime]) -> int:
    """Look at every rollout, one process at a time. Returns how many were looked at; 0 where another is at it.

    What fails for one rollout changes nothing of it, is kept for people to see, and holds no other up.
    """
    if not cache.add("rollout:autopilot", 1, LOCK_SECONDS):
        return 0
    try:
        names = list(live_rollouts().order_by("name").values_list("name", flat=True))
        for name in names:
            look_at(name, now=clock())
    finally:
        cache.delete("rollout:autopilot")
    return len(names)


def look_at(name: str, *, now: datetime) -> AutopilotStep | None:
    """Decide on one rollout, keep its next step, and take it where its ramp is automatic; ``None`` if that failed.

    Where somebody changes the rollout at this moment, the next look sees it.
    """
    try:
        rollout = get_rollout(name)
        decision = evaluate(rollout, now=now) if rollout.is_on else _NOTHING
        facts = _facts(rollout, decision, now)
        answer = next_step(facts)
        why = _why(facts, answer)
        done = rollout.ramp_mode == RampMode.AUTOMATIC and _take(rollout, decision, answer, why, now)
        return _keep(rollout, answer, why, figures_of(decision), done=done, now=now)
    except Exception:
        logger.exception("The autopilot failed; nothing was changed", extra={"rollout": name})
        _keep_failure(name, now)
        return None


def newest_step(name: str) -> AutopilotStep | None:
    """What the autopilot said last; ``None`` before its first look."""
    return AutopilotStep.objects.filter(rollout=name).first()


def steps(name: str, *, limit: int = 20) -> list[AutopilotStep]:
    """What it said, newest first."""
    return list(AutopilotStep.objects.filter(rollout=name)[:limit])


def _take(rollout: Rollout, decision: Decision, answer: Answer, why: str, now: datetime) -> bool:
    verb = VERBS.get(answer.action)
    if verb is None:
        return False
    figures = figures_of(decision)
    try:
        with transaction.atomic():
            after = act(
                rollout.name,
                verb,
                actor=AUTOPILOT,
                why=why,
                evidence={"as_of": now.isoformat(), **figures},
                expected_version=rollout.version,
                now=now,
            )
            # With the act or not at all; by itself it can't hold the act up.
            notify_step(
                after,
                _EVENTS[answer.action],
                key=f"act:{after.name}:{after.version}",
                action=answer.action,
                code=answer.code,
                reason=why,
                figures=figures,
                now=now,
            )
    except ChangeRefused as refused:
        logger.info("The autopilot's step was refused: %s", refused.message, extra={"rollout": rollout.name})
        return False
    logger.warning("The autopilot acted: %s", verb, extra={"rollout": rollout.name, "why": answer.code})
    return True


def _facts(rollout: Rollout, decision: Decision, now: datetime) -> Facts:
    since = services.standing_since(rollout)
    run = reading.evidence(rollout=rollout.name, run=rollout.run).stretches if rollout.is_on else ()
    seen = reading.health(rollout=rollout.name, since=since, until=now)
    arms = ("candidate",) if rollout.percent == 100 else ("candidate", "baseline")
    return Facts(
        now=now,
        ramp=ramp_of(rollout, by_autopilot=True),
        decision=decision,
        since=since,
        requests=min(_requests(run, arm, rollout.stretch) for arm in arms),
        # Windows are cut at five minutes; who was there before a start is not in the run.
        people=min(min(getattr(seen, arm).people or 0, _people(run, arm)) for arm in arms),
        last_request_at=reading.last_request_at(rollout.name),
        day=timedelta(seconds=settings.RAMP_DAY_SECONDS),
    )


def _requests(run: Sequence[StretchSums], arm: str, stretch: int) -> int:
    return sum(getattr(part, arm).total("n") for part in run if part.stretch == stretch)


def _people(run: Sequence[StretchSums], arm: str) -> int:
    return sum(getattr(part, arm).total("people") for part in run)


def _why(facts: Facts, answer: Answer) -> str:
    ramp, here, following = facts.ramp, facts.ramp.here, facts.ramp.following
    few = (
        {} if here is None else {"sample": (facts.requests, here.min_sample), "people": (facts.people, here.min_people)}
    )
    have, need = few.get(answer.code, (0, 0))
    earliest = facts.since + (0 if here is None else here.min_days) * facts.day
    said = ramp_words.step(
        answer.code,
        here=words.percentage(ramp.percent),
        following="" if following is None else words.percentage(following.percent),
        have=have,
        need=need,
        earliest=formats.date_format(timezone.localtime(earliest), "DATETIME_FORMAT"),
    )
    asks_decision = answer.code in ("harm", "worse", "undecided", "srm", "time")
    return f"{said} {words.reason(facts.decision)}" if asks_decision else said


def _keep(
    rollout: Rollout, answer: Answer, why: str, figures: Mapping[str, Any], *, done: bool, now: datetime
) -> AutopilotStep:
    """A new row where the answer is another one, of which people may be told; else the last one confirmed."""
    said = {
        "action": answer.action,
        "code": answer.code,
        "waiting_for": answer.waiting_for,
        "is_done": done,
        "mode": rollout.ramp_mode,
        "percent": rollout.percent,
        "run": rollout.run,
    }
    renewed = {"reason": why, "last_at": now, "next_check_at": now + timedelta(seconds=settings.AUTOPILOT_SECONDS)}
    last = newest_step(rollout.name)
    if last is not None and all(getattr(last, field) == value for field, value in said.items()):
        for field, value in renewed.items():
            setattr(last, field, value)
        last.save(update_fields=list(renewed))
        return last
    event = None if done else _event_of(answer, rollout.ramp_mode)
    with transaction.atomic():
        step = AutopilotStep.objects.create(rollout=rollout.name, first_at=now, **said, **renewed)
        if event is not None:
            notify_step(
                rollout,
                event,
                key=f"step:{step.pk}",
                action=answer.action,
                code=answer.code,
                reason=why,
                figures=figures,
                now=now,
            )
    return step


def _keep_failure(name: str, now: datetime) -> None:
    try:
        failed = Answer(action="none", code="failed", waiting_for="repair")
        _keep(get_rollout(name), failed, ramp_words.step("failed"), {}, done=False, now=now)
    except (DatabaseError, ChangeRefused):
        # Then nothing can be kept; that the last look is old is shown.
        logger.exception("The autopilot's failure could not be kept", extra={"rollout": name})


def _event_of(answer: Answer, mode: str) -> Event | None:
    """What people are told of an answer that was not acted on."""
    if answer.action == "hold":
        return "held"
    told: Mapping[Code, Event] = {"approval": "approval", "failed": "autopilot_failed"}
    proposed = answer.action in VERBS and mode == RampMode.ASSISTED
    return told.get(answer.code, "proposed" if proposed else None)
