"""The ramp from a terminal."""

import json
from datetime import timedelta

import pytest
from django.core.management import CommandError
from django.utils import timezone

from rollout.changes import change_rollout
from rollout.models import Rollout, RolloutChange
from rollout.pilot import look_at
from tests.rollout.factories import ADA
from tests.rollout.steps import NAME, much_traffic, rollout, state
from tests.rollout.test_rollout_command import run

pytestmark = pytest.mark.django_db


def refused(*words: str) -> str:
    before = state()
    with pytest.raises(CommandError) as error:
        run(*words)
    assert state() == before
    return str(error.value)


def test_each_verb_is_a_word():
    for word, after in (
        ("pause", "paused"),
        ("resume", "running"),
        ("advance", "running"),
        ("roll-back", "rolled_back"),
        ("restart", "running"),
    ):
        assert run(word, "--reason", "As planned").startswith("Done.")
        assert rollout().ramp_state == after

    assert [line.why for line in RolloutChange.objects.all()] == ["As planned"] * 5
    assert rollout().percent == 5


def test_what_does_not_fit_is_refused_and_names_the_state():
    assert refused("start") == "A ramp that is running can't be started."
    assert refused("complete") == "The ramp has stages left; it is completed in its last one. It is running."
    run("set-traffic", "35")
    assert refused("advance") == "The next stage needs approval first. The ramp is running."
    assert run("approve").startswith("Done.")
    assert run("advance").startswith("Done.")
    assert run("complete").startswith("Done.")


def test_a_rollback_wants_a_reason():
    assert "--reason" in refused("roll-back")


def test_what_the_autopilot_proposes_is_accepted_by_a_word():
    stages = [{"percent": share, "min_days": 0, "min_sample": 0, "min_people": 0} for share in (5, 15)]
    change_rollout(NAME, {"ramp_mode": "assisted", "stages": stages, "max_error_increase": 10}, actor=ADA)
    assert "proposes nothing" in refused("accept")
    much_traffic(now=timezone.now())
    look_at(NAME, now=timezone.now())

    run("accept")

    assert rollout().percent == 15
    assert "proposes nothing" in refused("accept")


def test_steering_an_automatic_ramp_by_hand_wants_a_yes_and_a_stop_none():
    run("set-traffic", "15")
    change_rollout(NAME, {"ramp_mode": "automatic"}, actor=ADA)

    for words in (("set-traffic", "20"), ("force-gemini",), ("reset",)):
        assert "--yes" in refused(*words)

    run("set-traffic", "20", "--yes")
    assert (rollout().percent, rollout().ramp_state) == (20, "paused")
    run("resume")
    run("disable")
    assert not rollout().is_on


def test_history_has_numbers_that_undo_takes():
    assert "No changes yet." in run("history")
    run("set-traffic", "15", "--reason", "A quiet week")
    line = RolloutChange.objects.get()

    told = run("history")
    assert f"{line.pk}  " in told
    assert "Percentage: 5 % → 15 %" in told
    assert "A quiet week" in told

    run("undo", str(line.pk))
    assert rollout().percent == 5
    for wrong in ("0", "x", "99999999999", str(line.pk + 1000)):
        assert "no such change" in refused("undo", wrong)
    assert "A change's number goes with undo" in refused("undo")


def test_schedule_says_what_comes_next_and_what_it_waits_for():
    assert "has not looked lately" not in run("schedule")
    Rollout.objects.update(created=timezone.now() - timedelta(hours=1))
    assert "The autopilot has not looked lately" in run("schedule")
    look_at(NAME, now=timezone.now())

    told = run("schedule")

    assert "The ramp is running. Manual" in told
    assert "This stage has had 0 of 100 requests in each arm." in told
    assert "has not looked lately" not in told
    assert "needs approval" in told

    document = json.loads(run("schedule", "--json"))
    assert (document["state"], document["mode"], document["nextPercent"]) == ("running", "manual", 15.0)
    assert document["verbs"] == ["pause", "advance", "roll_back"]
    assert document["step"]["code"] == "sample"
    assert document["stages"][3] == {
        "percent": 100.0,
        "minDays": 7,
        "minSample": 100,
        "minPeople": 20,
        "needsApproval": True,
    }


def test_what_waits_for_a_second_person_is_told():
    change_rollout(NAME, {"second_pair_above": 10}, actor=ADA)

    assert "waits for a second person" in refused("set-traffic", "50")
    assert "1 change waits for a second person." in run("schedule")
