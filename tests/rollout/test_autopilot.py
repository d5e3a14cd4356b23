from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from rollout.autopilot import Facts, next_step
from rollout.decisions import Decision
from rollout.ramp import Ramp, Step

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)


def decision(verdict: Any = "GO", **facts: Any) -> Decision:
    return Decision(**{"verdict": verdict, "criteria": (), **facts})


HARM = decision("ROLLBACK", harm=True)
SRM = decision("HOLD", srm=True)


def step(**facts: Any) -> Step:
    given = {"min_days": 7, "min_sample": 100, "min_people": 20, "needs_approval": False}
    return Step(**{**given, **facts})


def facts(**given: Any) -> Facts:
    """A ramp at 5 % in which everything is ready for the next stage."""
    ramp = {
        "state": "running",
        "percent": Decimal(5),
        "steps": [step(percent=Decimal(5)), step(percent=Decimal(15), needs_approval=True)],
        "approved": Decimal(15),
        "forced": False,
    }
    of_ramp = {name: given.pop(name) for name in list(given) if name in ramp}
    ready = {
        "now": NOW,
        "ramp": Ramp(**{**ramp, **of_ramp}),
        "decision": decision(),
        "since": NOW - timedelta(days=7),
        "requests": 100,
        "people": 20,
        "last_request_at": NOW,
    }
    return Facts(**{**ready, **given})


def asked(**given: Any) -> tuple[str, str, str]:
    answer = next_step(facts(**given))
    return answer.action, answer.code, answer.waiting_for


# Each with everything that comes after it in the order of questions wrong as well.
WRONG: dict[str, tuple[dict[str, Any], tuple[str, str, str]]] = {
    "off": ({"state": "rolled_back"}, ("none", "off", "person")),
    "harm": ({"decision": HARM}, ("roll_back", "harm", "")),
    "paused": ({"state": "paused"}, ("none", "paused", "person")),
    "srm": ({"decision": SRM}, ("hold", "srm", "repair")),
    "traffic": ({"last_request_at": NOW - timedelta(hours=24)}, ("hold", "no_traffic", "traffic")),
    "sample": ({"requests": 99}, ("wait", "sample", "sample")),
    "people": ({"people": 19}, ("wait", "people", "sample")),
    "time": ({"since": NOW - timedelta(days=7) + timedelta(seconds=1)}, ("wait", "time", "time")),
    "decision": ({"decision": decision("NOT_ENOUGH_DATA")}, ("wait", "undecided", "decision")),
    "approval": ({"approved": None}, ("wait", "approval", "approval")),
}


@pytest.mark.parametrize("first", list(WRONG))
def test_the_questions_are_asked_in_their_order(first):
    names = list(WRONG)
    for last in names[names.index(first) :]:
        both = {**WRONG[last][0], **WRONG[first][0]}
        assert asked(**both) == WRONG[first][1], (first, last)


def test_with_all_of_it_right_it_goes_on():
    assert asked() == ("advance", "ready", "")


def test_in_the_last_stage_it_completes():
    assert asked(percent=Decimal(15)) == ("complete", "finished", "")


@pytest.mark.parametrize("state", ["running", "paused", "completed"])
def test_harm_turns_back_whatever_the_ramp_waits_for(state):
    assert asked(decision=HARM, state=state)[:2] == ("roll_back", "harm")
    assert asked(decision=HARM, state=state, forced=True)[:2] == ("roll_back", "harm")


@pytest.mark.parametrize("state", ["pending", "rolled_back"])
def test_what_is_off_is_left_alone_also_by_harm(state):
    assert asked(decision=HARM, state=state)[:2] == ("none", "off")


def test_what_others_steer_is_left_alone():
    assert asked(state="completed") == ("none", "completed", "")
    assert asked(forced=True) == ("none", "forced", "person")
    assert asked(percent=Decimal(50)) == ("none", "off_ramp", "person")


@pytest.mark.parametrize("verdict", ["HOLD", "ROLLBACK"])
def test_a_worse_candidate_is_held(verdict):
    assert asked(decision=decision(verdict)) == ("hold", "worse", "decision")


def test_silence_is_counted_from_the_beginning_of_the_stage():
    assert asked(last_request_at=None)[1] == "no_traffic"
    assert asked(last_request_at=None, since=NOW - timedelta(hours=23), requests=0)[1] == "sample"


def test_days_can_be_minutes():
    assert asked(since=NOW - timedelta(minutes=7), day=timedelta(minutes=1)) == ("advance", "ready", "")


def test_between_two_stages_nothing_but_the_decision_is_waited_for():
    assert asked(percent=Decimal(7), since=NOW, requests=0, people=0) == ("advance", "ready", "")
