"""The checklist of a stage: questions that answer themselves from the numbers, and what people said to them.

Part of rollout's services; is told the time. Nothing here changes a rollout.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from metrics import reading
from rollout import services, words
from rollout.changes import Actor
from rollout.evaluation import evidence_of
from rollout.models import ChecklistEntry, Evaluation, Rollout, Stage

# "left_out" is a question that this rollout does not ask, or that too few ratings answer.
AnswerName = Literal["yes", "no", "not_yet", "left_out"]
_ANSWERS: Mapping[str, AnswerName] = {
    "inside": "yes",
    "harm": "no",
    "unproven": "not_yet",
    "not_measured": "not_yet",
    "waived": "left_out",
}


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question of a stage. ``entries`` are what people said, newest first; ``why`` is the answer in a sentence."""

    code: str
    text: str
    answer: AnswerName
    why: str
    entries: Sequence[ChecklistEntry] = ()

    @property
    def entry(self) -> ChecklistEntry | None:
        """What counts of what people said."""
        return self.entries[0] if self.entries else None

    @property
    def answer_in_words(self) -> str:
        """As a label."""
        return {"yes": _("Yes"), "no": _("No"), "not_yet": _("Not yet"), "left_out": _("Left out")}[self.answer]


@dataclass(frozen=True, kw_only=True)
class Checklist:
    """A stage's questions; of a stage that is not reached yet there are none.

    ``is_now``: the rollout stands at this stage; ``until`` is when a past one was last looked at.
    """

    stage: Stage
    is_now: bool
    questions: Sequence[Question]
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What the numbers say of a stage, from its beginning to when they were last looked at."""

    verdict: str
    reason: str
    criteria: Sequence[Mapping[str, Any]]
    srm: bool
    since: datetime
    until: datetime


def checklist(rollout: Rollout, stage: Stage, *, now: datetime) -> Checklist:
    """The checklist of a stage in the rollout's present run."""
    is_now = stage.percent == rollout.percent and rollout.everyone is None
    found = _today(rollout, now) if is_now else _kept(rollout, stage)
    if found is None:
        return Checklist(stage=stage, is_now=False, questions=[])
    said: dict[str, list[ChecklistEntry]] = {}
    for entry in ChecklistEntry.objects.filter(rollout=rollout.name, run=rollout.run, percent=stage.percent):
        said.setdefault(entry.question, []).append(entry)
    questions = [
        Question(code=code, text=text, answer=answer, why=why, entries=said.get(code, ()))
        for code, text, answer, why in _questions(rollout, stage, found)
    ]
    return Checklist(stage=stage, is_now=is_now, questions=questions, until=None if is_now else found.until)


def answer_checklist(
    rollout: Rollout, stage: Stage, said: Mapping[str, tuple[bool, str]], *, actor: Actor, now: datetime
) -> int:
    """Keep what a person says: question → ticked or not, and a comment. What says nothing new is not kept again.

    Returns how many entries were made. ValueError for a question that the stage does not ask.
    """
    asked = {question.code: question for question in checklist(rollout, stage, now=now).questions}
    if unknown := sorted(set(said) - set(asked)):
        raise ValueError(f"no such questions: {unknown}")
    new = [
        ChecklistEntry(
            rollout=rollout.name,
            run=rollout.run,
            percent=stage.percent,
            question=code,
            is_ticked=is_ticked,
            comment=comment,
            actor=actor.name,
            at=now,
        )
        for code, (is_ticked, comment) in said.items()
        if _says_more(asked[code].entry, is_ticked, comment)
    ]
    with transaction.atomic():
        ChecklistEntry.objects.bulk_create(new)
    return len(new)


def _says_more(before: ChecklistEntry | None, is_ticked: bool, comment: str) -> bool:
    if before is None:
        return is_ticked or bool(comment)
    return is_ticked != before.is_ticked or (bool(comment) and comment != before.comment)


def _today(rollout: Rollout, now: datetime) -> _Found:
    current = services.status(rollout.name, now=now)
    return _Found(
        verdict=current.decision.verdict,
        reason=current.reason,
        criteria=evidence_of(current.decision),
        srm=current.decision.srm,
        since=current.standing_since,
        until=now,
    )


def _kept(rollout: Rollout, stage: Stage) -> _Found | None:
    """As it stood when the stage was last looked at in this run; ``None`` if it never was."""
    looked = Evaluation.objects.filter(rollout=rollout.name, percent=stage.percent, evidence__run=rollout.run)
    last, first = looked.first(), looked.last()
    if last is None or first is None:
        return None
    return _Found(
        verdict=last.verdict,
        reason=last.reason,
        criteria=last.evidence["criteria"],
        srm=last.evidence["srm"],
        since=first.first_at,
        until=last.last_at,
    )


def _questions(rollout: Rollout, stage: Stage, found: _Found) -> list[tuple[str, str, AnswerName, str]]:
    criteria = {criterion["name"]: criterion for criterion in found.criteria}
    asked = {
        "latency": _("Is latency within the acceptable range?"),
        "p95_latency": _("Are the slowest answers within the acceptable range?"),
        "errors": _("Are error rates stable?"),
        "cost": _("Are the cost savings confirmed?"),
        "satisfaction": _("Are people as satisfied as before?"),
    }
    answered = [
        (name, text, _ANSWERS[criteria[name]["state"]], str(criteria[name]["words"])) for name, text in asked.items()
    ]
    split: AnswerName = "no" if found.srm else "yes"
    enough = [_time(stage, found), _sample(rollout, stage)]
    return [
        *answered,
        ("split", _("Do people come to the arms as the percentage says?"), split, ""),
        *enough,
        _ready(rollout, stage, found, [answer for _code, _text, answer, _why in enough]),
    ]


def _time(stage: Stage, found: _Found) -> tuple[str, str, AnswerName, str]:
    days = (found.until - found.since) / timedelta(days=1)
    why = ngettext("%(days).1f of %(least)d day.", "%(days).1f of %(least)d days.", stage.min_days)
    answer: AnswerName = "yes" if days >= stage.min_days else "not_yet"
    return "time", _("Has the stage lasted long enough?"), answer, why % {"days": days, "least": stage.min_days}


def _sample(rollout: Rollout, stage: Stage) -> tuple[str, str, AnswerName, str]:
    """Requests while the percentage was the stage's; at 100 % the baseline has none to ask for."""
    at_stage = [
        stretch
        for stretch in reading.evidence(rollout=rollout.name, run=rollout.run).stretches
        if stretch.percent == stage.percent
    ]
    counts = [sum(getattr(stretch, arm).total("n") for stretch in at_stage) for arm in ("candidate", "baseline")]
    needed = counts[:1] if stage.percent == 100 else counts
    why = _("%(candidate)s and %(baseline)s requests, %(least)s wanted in each arm.") % {
        "candidate": f"{counts[0]:,}",
        "baseline": f"{counts[1]:,}",
        "least": f"{stage.min_sample:,}",
    }
    answer: AnswerName = "yes" if min(needed) >= stage.min_sample else "not_yet"
    return "sample", _("Were there enough requests?"), answer, why


def _ready(
    rollout: Rollout, stage: Stage, found: _Found, enough: Sequence[AnswerName]
) -> tuple[str, str, AnswerName, str]:
    following = rollout.stages.filter(position__gt=stage.position).order_by("position").first()
    text = (
        _("Is the ramp complete?")
        if following is None
        else _("Ready to go on to %(percent)s?") % {"percent": words.percentage(following.percent)}
    )
    answer: AnswerName = "not_yet"
    if found.verdict in ("ROLLBACK", "HOLD"):
        answer = "no"
    elif found.verdict == "GO" and all(each == "yes" for each in enough):
        answer = "yes"
    return "ready", text, answer, found.reason
