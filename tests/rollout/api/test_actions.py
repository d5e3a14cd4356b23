"""The ramp's verbs over REST."""

from typing import Any

import pytest
from django.test import Client

from rollout.changes import act, change_rollout
from rollout.models import Proposal, RolloutChange
from rollout.ramp import VERBS
from tests.rollout.factories import ADA
from tests.rollout.steps import NAME, staff_with, state

ONE = f"/api/v1/rollouts/{NAME}"

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Client:
    return staff_with("view_rollout", "change_rollout", "approve_rollout")


def take(client: Client, verb: str, body: Any = None, **headers: str) -> Any:
    path = f"{ONE}/actions/{verb}"
    if body is None:
        return client.generic("POST", path, headers=headers)
    return client.post(path, body, content_type="application/json", headers=headers)


def test_a_ramp_goes_all_the_way(operator):
    seen = []
    for verb in ("pause", "resume", "advance", "advance", "approve", "advance", "complete", "roll_back", "restart"):
        answer = take(operator, verb, {"why": verb})
        assert answer.status_code == 200, verb
        seen.append((answer.json()["rampState"], answer.json()["percent"], answer.json()["enabled"]))

    assert seen == [
        ("paused", 5, True),
        ("running", 5, True),
        ("running", 15, True),
        ("running", 35, True),
        ("running", 35, True),
        ("running", 100, True),
        ("completed", 100, True),
        ("rolled_back", 100, False),
        ("running", 5, True),
    ]
    lines = RolloutChange.objects.all()
    assert {line.source for line in lines} == {"api"}
    assert lines[1].why == "roll_back"


def test_a_new_rollout_is_started():
    admin = staff_with("view_rollout", "add_rollout", "change_rollout")
    new = {"name": "second", "baseline": "chat-model-reasoning", "candidate": "gemini-flash-lite"}
    admin.post("/api/v1/rollouts", new, content_type="application/json")

    document = admin.generic("POST", "/api/v1/rollouts/second/actions/start").json()

    assert (document["rampState"], document["percent"], document["enabled"]) == ("running", 5, True)


def test_a_verb_needs_no_body(operator):
    answer = take(operator, "pause")

    assert answer.status_code == 200
    assert answer["ETag"] == '"v2"'


@pytest.mark.parametrize(
    ("verb", "code"),
    [
        ("start", "state"),
        ("resume", "state"),
        ("restart", "state"),
        ("complete", "not_last_stage"),
        ("approve", "nothing_to_approve"),
    ],
)
def test_a_verb_that_does_not_fit_is_a_conflict_that_names_the_state(operator, verb, code):
    answer = take(operator, verb)

    assert answer.status_code == 409
    document = answer.json()
    assert (document["code"], document["state"]) == (code, "running")
    assert not RolloutChange.objects.exists()


def test_a_step_that_needs_a_yes_waits_for_it(operator):
    change_rollout(NAME, {"percent": 35}, actor=ADA)

    assert take(operator, "advance").json()["code"] == "needs_approval"


def test_a_stale_step_is_refused_but_never_a_stop(operator):
    change_rollout(NAME, {"note": "x"}, actor=ADA)

    assert take(operator, "advance", **{"If-Match": '"v1"'}).status_code == 412
    assert state()["percent"] == "5.00"
    assert take(operator, "advance", **{"If-Match": '"v2"'}).status_code == 200
    assert take(operator, "roll_back", **{"If-Match": '"v1"'}).status_code == 200
    assert state()["enabled"] is False


def test_an_empty_body_of_any_kind_is_none(operator):
    form = "application/x-www-form-urlencoded"

    assert operator.generic("POST", f"{ONE}/actions/pause", "", content_type=form).status_code == 200


@pytest.mark.parametrize("body", [{"why": "x" * 501}, {"why": 5}, {"reason": "x"}, [], "{"])
def test_a_body_that_makes_no_sense_takes_no_step(operator, body):
    assert take(operator, "pause", body).status_code == 400
    assert state()["ramp_state"] == "running"


@pytest.mark.parametrize(
    ("permission", "may"),
    [
        ("view_rollout", set()),
        ("stop_rollout", {"roll_back"}),
        ("approve_rollout", {"approve"}),
        ("change_rollout", {*VERBS} - {"approve"}),
    ],
)
def test_each_verb_asks_for_its_own_right(permission, may):
    client = staff_with(permission)
    # Whatever the state: 409 or 200 is allowed, 403 is not.
    act(NAME, "pause", actor=ADA)

    assert {verb for verb in VERBS if take(client, verb).status_code != 403} == may


def test_there_are_no_other_verbs_and_no_other_methods(operator):
    assert take(operator, "explode").status_code == 404
    assert "roll_back" in take(operator, "explode").json()["detail"]
    assert operator.get(f"{ONE}/actions/pause").status_code == 405
    assert operator.generic("POST", "/api/v1/rollouts/nothing/actions/pause").status_code == 404


def test_a_step_that_takes_two_waits(operator):
    change_rollout(NAME, {"second_pair_above": 10}, actor=ADA)
    take(operator, "approve")

    answer = take(operator, "advance")

    assert answer.status_code == 202
    assert answer.json()["proposal"] == Proposal.objects.latest("pk").pk
    assert state()["percent"] == "5.00"
