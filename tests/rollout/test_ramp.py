from decimal import Decimal
from typing import Any

import pytest

from rollout.ramp import VERBS, Ramp, Step, VerbRefused, plan, state_after

STATES = ("pending", "running", "paused", "completed", "rolled_back")
# Which verb fits in which state, in the middle of a ramp; as staff are told in the README.
FITS = {
    "start": {"pending"},
    "pause": {"running"},
    "resume": {"paused"},
    "advance": {"running"},
    "approve": set(),
    "roll_back": {"running", "paused", "completed"},
    "complete": set(),
    "restart": {"completed", "rolled_back"},
}


def ramp(state: str = "running", percent: int = 5, **facts: Any) -> Ramp:
    steps = [
        Step(percent=Decimal(share), min_days=7, min_sample=100, min_people=20, needs_approval=share == 100)
        for share in (5, 15, 100)
    ]
    return Ramp(**{"state": state, "percent": Decimal(percent), "steps": steps, **facts})


def why(refused_of: Ramp, verb: Any) -> str:
    with pytest.raises(VerbRefused) as refused:
        plan(refused_of, verb)
    return refused.value.why


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_fits_in_its_states_alone(verb: Any, state: str) -> None:
    assert ramp(state).fits(verb) == (state in FITS[verb])
    if state not in FITS[verb] and verb not in ("approve", "complete"):
        assert why(ramp(state), verb) == "state"


def test_a_start_begins_at_the_first_stage_with_nothing_forced_or_approved():
    starts: list[tuple[str, Any]] = [("pending", "start"), ("rolled_back", "restart"), ("completed", "restart")]
    for state, verb in starts:
        assert plan(ramp(state, percent=35, approved=Decimal(100)), verb) == {
            "ramp_state": "running",
            "enabled": True,
            "forced": False,
            "percent": Decimal(5),
            "approved_percent": None,
        }
    assert why(ramp("pending", steps=[]), "start") == "no_stages"


def test_going_on_is_one_stage_and_never_more():
    assert plan(ramp(percent=5), "advance")["percent"] == 15
    assert plan(ramp(percent=7), "advance")["percent"] == 15
    assert why(ramp(percent=100), "advance") == "last_stage"
    assert why(ramp(percent=5, forced=True), "advance") == "forced"


def test_a_stage_that_needs_approval_begins_after_it_and_for_that_stage_alone():
    assert why(ramp(percent=15), "advance") == "needs_approval"
    assert plan(ramp(percent=15), "approve") == {"approved_percent": Decimal(100)}
    assert plan(ramp("paused", percent=15), "approve") == {"approved_percent": Decimal(100)}
    assert plan(ramp(percent=15, approved=Decimal(100)), "advance")["percent"] == 100
    assert why(ramp(percent=15, approved=Decimal(35)), "advance") == "needs_approval"
    assert why(ramp(percent=15, approved=Decimal(100)), "approve") == "nothing_to_approve"
    assert why(ramp(percent=100), "approve") == "nothing_to_approve"


def test_a_ramp_is_completed_in_its_last_stage_alone():
    assert plan(ramp(percent=100), "complete") == {"ramp_state": "completed"}
    assert why(ramp(percent=15), "complete") == "not_last_stage"


def test_turning_back_keeps_the_percentage():
    assert plan(ramp(percent=15), "roll_back") == {
        "ramp_state": "rolled_back",
        "enabled": False,
        "approved_percent": None,
    }


@pytest.mark.parametrize("mode", ["manual", "assisted", "automatic"])
@pytest.mark.parametrize(
    ("state", "was_on", "is_on", "steered", "after"),
    [
        ("running", True, False, False, "rolled_back"),
        ("paused", True, False, True, "rolled_back"),
        ("completed", True, False, False, "rolled_back"),
        ("pending", False, False, True, "pending"),
        ("rolled_back", False, False, True, "rolled_back"),
        ("pending", False, True, True, "running"),
        ("rolled_back", False, True, False, "running"),
        ("running", True, True, False, "running"),
        ("paused", True, True, True, "paused"),
        ("completed", True, True, False, "completed"),
    ],
)
def test_where_the_ramp_is_after_a_change_by_hand(state, was_on, is_on, steered, after, mode):
    assert state_after(state, mode, was_on=was_on, is_on=is_on, steered=steered) == after


@pytest.mark.parametrize(("mode", "after"), [("manual", "running"), ("assisted", "running"), ("automatic", "paused")])
@pytest.mark.parametrize("state", ["running", "completed"])
def test_steering_by_hand_pauses_an_automatic_ramp(state, mode, after):
    assert state_after(state, mode, was_on=True, is_on=True, steered=True) == after
