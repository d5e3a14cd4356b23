"""What a terminal's words do to a rollout: each is one change, through ``rollout.changes``. Knows no output."""

from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from rollout import services
from rollout.changes import RESET, Actor, ChangeRefused, act, change_rollout, get_rollout, parse_percent, revert
from rollout.models import Rollout
from rollout.ramp import VERBS, Verb
from rollout.schedule import schedule

# What each changing word asks for; set-traffic brings its own number.
CHANGES: dict[str, dict[str, Any]] = {
    "set-traffic": {},
    "enable": {"enabled": True},
    "disable": {"enabled": False},
    "force-gemini": {"forced": True},
    "reset": dict(RESET),
}
# The ramp's verbs as words.
RAMP: dict[str, Verb] = {verb.replace("_", "-"): verb for verb in VERBS}
WORDS = (*CHANGES, *RAMP, "accept", "undo")


def steer(name: str, word: str, *, operand: str | None, why: str, confirmed: bool, actor: Actor) -> bool:
    """Do what one of ``WORDS`` says; ``operand`` is set-traffic's percentage or undo's number.

    Returns whether there was anything to change. ``confirmed``: an automatic ramp may be paused by it. Raises
    ChangeRefused.
    """
    before = get_rollout(name)
    if word in CHANGES:
        after = _change(before, word, operand, why=why, confirmed=confirmed, actor=actor)
    elif word == "undo":
        after = _undo(before, operand or "", why=why, actor=actor)
    else:
        after = _take(before, word, why=why, actor=actor)
    return after.version != before.version


def _change(rollout: Rollout, word: str, operand: str | None, *, why: str, confirmed: bool, actor: Actor) -> Rollout:
    changes = {"percent": parse_percent(operand)} if word == "set-traffic" else CHANGES[word]
    if rollout.runs_itself and word not in ("enable", "disable") and not confirmed:
        raise ChangeRefused(_("The ramp runs by itself; this pauses it. Say --yes if that is meant."), code="confirm")
    return change_rollout(rollout.name, changes, actor=actor, why=why)


def _take(rollout: Rollout, word: str, *, why: str, actor: Actor) -> Rollout:
    if word == "roll-back" and not why:
        raise ChangeRefused(_("Say why: --reason TEXT stands in the history."), field="why")
    if word != "accept":
        return act(rollout.name, RAMP[word], actor=actor, why=why)
    proposed = schedule(rollout.name, now=timezone.now()).proposed
    if proposed is None:
        raise ChangeRefused(_("The autopilot proposes nothing now. See: rollout schedule"))
    return act(rollout.name, proposed, actor=actor, why=why, expected_version=rollout.version)


def _undo(rollout: Rollout, operand: str, *, why: str, actor: Actor) -> Rollout:
    return revert(services.find_change(rollout.name, operand).pk, actor=actor, why=why)
