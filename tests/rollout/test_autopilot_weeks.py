"""Whole ramps, with real calls, roll-ups and decisions, and a clock of the test's own."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from rollout.changes import act, change_rollout, get_rollout
from rollout.models import RolloutChange
from tests.rollout.factories import ADA
from tests.rollout.ramp_weeks import World, shares
from tests.rollout.steps import NAME

pytestmark = [pytest.mark.django_db, pytest.mark.only_on("postgres")]
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def world() -> World:
    """A ramp that begins on a Monday, by itself, with margins that a small crowd can prove in a week."""
    margins = {"max_error_increase": 10, "latency_margin": 20, "p95_margin": 50, "min_sample": 50}
    change_rollout(NAME, {"enabled": False}, actor=ADA, now=MONDAY)
    change_rollout(NAME, {**margins, "ramp_mode": "automatic"}, actor=ADA, now=MONDAY)
    act(NAME, "restart", actor=ADA, now=MONDAY)
    return World(now=MONDAY)


def acts() -> list[tuple[str, str]]:
    """What the autopilot did: percentage and state after it."""
    lines = RolloutChange.objects.filter(actor="autopilot").order_by("id")
    return [(line.changes.get("percent", ["", ""])[1], line.changes.get("ramp_state", ["", ""])[1]) for line in lines]


def test_a_healthy_candidate_goes_from_5_to_100_in_four_weeks_with_one_approval(world):
    world.pass_days(21)
    assert shares(world) == [5, 15, 35]
    assert world.pass_quarter().code == "approval"

    act(NAME, "approve", actor=ADA, now=world.now)
    world.pass_days(7.5)

    assert acts() == [("15.00", ""), ("35.00", ""), ("100.00", ""), ("", "completed")]
    assert [get_rollout(NAME).percent, get_rollout(NAME).ramp_state] == [100, "completed"]
    assert world.now - MONDAY < timedelta(days=29)
    assert all(line.evidence["verdict"] == "GO" for line in RolloutChange.objects.filter(actor="autopilot"))


def test_a_candidate_that_breaks_on_the_tenth_day_is_turned_back_at_the_next_look(world):
    world.pass_days(10)
    assert get_rollout(NAME).percent == 15

    world.failing = 0.6
    looks = 0
    while get_rollout(NAME).is_on and looks < 12:
        step = world.pass_quarter()
        looks += 1

    rollout = get_rollout(NAME)
    assert (step.action, step.code, step.is_done) == ("roll_back", "harm", True)
    assert (rollout.is_on, rollout.ramp_state, rollout.percent) == (False, "rolled_back", Decimal(15))
    line = RolloutChange.objects.filter(actor="autopilot").latest("id")
    assert line.evidence["verdict"] == "ROLLBACK"
    assert line.changed_at == step.last_at, "the very look that found the harm turned back"
    world.failing = 0.01
    world.pass_days(3)
    assert not get_rollout(NAME).is_on, "and nothing starts it again but a person"


def test_without_traffic_it_holds_and_says_so(world):
    world.pass_days(2)
    world.calls = 0

    world.pass_days(1.25)

    assert (world.looks[-1].action, world.looks[-1].code) == ("hold", "no_traffic")
    assert "24 hours" in world.looks[-1].reason
    world.pass_days(10)
    assert get_rollout(NAME).percent == 5


def test_figures_from_before_a_restart_open_no_gate(world):
    world.pass_days(6)
    act(NAME, "roll_back", actor=ADA, why="A look at the prompt", now=world.now)
    act(NAME, "restart", actor=ADA, now=world.now)
    restarted = world.now

    world.pass_days(6.5)
    assert get_rollout(NAME).percent == 5
    assert world.looks[-1].code in ("time", "undecided")

    world.pass_days(1)
    assert get_rollout(NAME).percent == 15
    assert RolloutChange.objects.latest("id").changed_at >= restarted + timedelta(days=7)


def test_an_overdue_ramp_takes_one_stage_at_a_time(world):
    """The autopilot was away for three weeks."""
    world.pass_days(6.75)
    world.now += timedelta(days=21)

    world.calls = 0
    assert world.pass_quarter().code == "no_traffic"
    world.calls = 200
    first = world.pass_quarter()

    assert (first.action, first.is_done) == ("advance", True)
    assert get_rollout(NAME).percent == 15
    assert world.pass_quarter().action == "wait"
