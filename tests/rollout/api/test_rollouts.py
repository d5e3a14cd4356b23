"""Rollouts over REST: listed, made, read and changed."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from rollout.changes import change_rollout
from rollout.models import Proposal, Rollout, RolloutChange
from tests.chat.factories import UserFactory
from tests.rollout.factories import ADA, RolloutFactory
from tests.rollout.steps import NAME, signed_in, staff_with, state

LIST = "/api/v1/rollouts"
ONE = f"{LIST}/{NAME}"
NEW = {"name": "second", "baseline": "chat-model-reasoning", "candidate": "gemini-flash-lite"}

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer() -> Client:
    return staff_with("view_rollout")


@pytest.fixture
def operator() -> Client:
    return staff_with("view_rollout", "add_rollout", "change_rollout")


def patch(client: Client, body: Any, *, path: str = ONE, **headers: str) -> Any:
    return client.patch(path, body, content_type="application/json", headers=headers)


def create(client: Client, **fields: Any) -> Any:
    return client.post(LIST, NEW | fields, content_type="application/json")


# --- reading ---


def test_the_whole_steerable_state_is_there(viewer):
    answer = viewer.get(ONE)

    assert answer["ETag"] == '"v1"'
    assert answer["Cache-Control"] == "private, no-cache"
    document = answer.json()
    assert [document.pop("stages")[index]["percent"] for index in (0,)] == [5]
    assert document == {
        "name": NAME,
        "baseline": "chat-model",
        "candidate": "gemini-flash-lite",
        "version": 1,
        "enabled": True,
        "forced": False,
        "users": [],
        "groups": [],
        "rampState": "running",
        "approvedPercent": None,
        "percent": 5.0,
        "priority": 100,
        "superusers": False,
        "staff": False,
        "languages": "",
        "note": "",
        "latencyTargetMs": 140,
        "minCostReduction": 20.0,
        "maxErrorIncrease": 2.0,
        "minSample": 100,
        "latencyMeasure": "ttft",
        "latencyMargin": 10.0,
        "p95Measure": "ttft",
        "p95Margin": 15.0,
        "satisfactionMargin": 0.2,
        "costGoal": 75.0,
        "watchOnly": [],
        "signals": [],
        "isRetired": False,
        "rampMode": "manual",
        "secondPairAbove": None,
    }


def test_stages_come_in_their_order(viewer):
    assert viewer.get(ONE).json()["stages"] == [
        {"percent": percent, "minDays": 7, "minSample": 100, "minPeople": 20, "needsApproval": percent == 100}
        for percent in (5.0, 15.0, 35.0, 100.0)
    ]


@pytest.mark.parametrize(("known", "status"), [('"v1"', 304), ('W/"v1"', 304), ("*", 304), ('"v0", "v1"', 304)])
def test_who_has_it_already_gets_nothing_again(viewer, known, status):
    answer = viewer.get(ONE, headers={"If-None-Match": known})

    assert (answer.status_code, answer.content, answer["ETag"]) == (status, b"", '"v1"')


@pytest.mark.parametrize("known", ['"v2"', "v1", "", "nonsense,"])
def test_who_has_another_one_gets_this_one(viewer, known):
    assert viewer.get(ONE, headers={"If-None-Match": known}).status_code == 200


def test_the_list_goes_by_name_in_pages(viewer, django_assert_max_num_queries):
    for number in range(52):
        RolloutFactory(name=f"r-{number:02}")

    with django_assert_max_num_queries(8):
        first = viewer.get(LIST).json()
    second = viewer.get(first["next"]).json()

    names = [row["name"] for row in [*first["results"], *second["results"]]]
    assert names == [NAME, *(f"r-{number:02}" for number in range(52))]
    assert len(first["results"]) == 50
    assert second["next"] is None
    assert viewer.get(second["previous"]).json()["results"] == first["results"]


@pytest.mark.parametrize("cursor", ["", "x", "cD0lMDA=", "bz1hYmM=", "%ff", "cD0y"])
@pytest.mark.parametrize("path", [LIST, f"{ONE}/history"])
def test_a_strange_cursor_is_a_problem_or_an_empty_page(viewer, path, cursor):
    answer = viewer.get(f"{path}?cursor={cursor}")

    assert answer.status_code in (200, 400)
    if answer.status_code == 400:
        assert answer.json()["errors"][0]["field"] == "cursor"


def test_reading_is_for_staff_who_may_view_rollouts(client):
    for path in (LIST, ONE, f"{ONE}/status", f"{ONE}/decision", f"{ONE}/schedule", f"{ONE}/history"):
        assert client.get(path).status_code == 401
        assert signed_in(UserFactory(guest=True)).get(path).status_code == 401
        assert signed_in(UserFactory()).get(path).status_code == 403
        assert staff_with().get(path).status_code == 403
        assert staff_with("view_rollout").get(path).status_code == 200


@pytest.mark.parametrize("rest", ["", "/status", "/decision", "/schedule", "/history", "/assignments/u", "/reports"])
def test_a_rollout_that_there_is_not_is_not_found(rest):
    answer = staff_with("view_rollout", "view_report").get(f"{LIST}/nothing{rest}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


# --- making ---


def test_a_new_rollout_is_off_until_it_is_started(operator):
    answer = create(operator, why="a try")

    assert answer.status_code == 201
    assert (answer["Location"], answer["ETag"]) == (f"{LIST}/second", '"v1"')
    document = answer.json()
    assert (document["enabled"], document["rampState"], document["percent"]) == (False, "pending", 0)
    assert operator.get(answer["Location"]).json() == document
    line = RolloutChange.objects.get(rollout="second")
    assert (line.source, line.why) == ("api", "a try")


def test_a_new_rollout_can_say_how_it_starts(operator):
    stages = [{"percent": 10, "minDays": 1}, {"percent": 100, "needsApproval": True}]

    document = create(operator, enabled=True, percent=2.5, priority=7, watchOnly=["cost"], stages=stages).json()

    assert (document["enabled"], document["rampState"], document["percent"]) == (True, "running", 2.5)
    assert (document["priority"], document["watchOnly"]) == (7, ["cost"])
    assert [(stage["percent"], stage["minDays"]) for stage in document["stages"]] == [(10, 1), (100, 7)]


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"name": NAME}, 409, "name"),
        ({"name": ""}, 400, "name"),
        ({"name": "has space"}, 400, "name"),
        ({"name": "x" * 101}, 400, "name"),
        ({"name": 5}, 400, "name"),
        ({"baseline": "no-such-model"}, 400, "baseline"),
        ({"candidate": None}, 400, "candidate"),
        ({"users": ["nobody"]}, 400, "users"),
        ({"percent": "5"}, 400, "percent"),
        ({"rampState": "completed"}, 400, "rampState"),
        ({"salt": "x"}, 400, "salt"),
    ],
)
def test_a_rollout_that_makes_no_sense_is_not_made(operator, fields, status, field):
    answer = create(operator, **fields)

    assert answer.status_code == status
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert Rollout.objects.count() == 1
    assert not RolloutChange.objects.exists()


def test_making_one_is_a_right_of_its_own():
    assert create(staff_with("view_rollout", "change_rollout")).status_code == 403
    assert not Rollout.objects.filter(name="second").exists()


# --- changing ---


def test_any_of_the_fields_can_be_changed_at_once(operator):
    grace = UserFactory(username="grace")
    Group.objects.create(name="early")
    body = {
        "percent": 12.5,
        "latencyMargin": 7,
        "p95Measure": "latency",
        "watchOnly": ["cost"],
        "users": ["grace"],
        "groups": ["early"],
        "stages": [{"percent": 12.5, "minSample": 500}],
        "secondPairAbove": 50,
        "why": "a quiet week",
    }

    answer = patch(operator, body)

    assert answer.status_code == 200
    assert answer["ETag"] == '"v2"'
    document = answer.json()
    assert document["percent"] == 12.5
    assert (document["users"], document["groups"]) == (["grace"], ["early"])
    assert document["stages"] == [
        {"percent": 12.5, "minDays": 7, "minSample": 500, "minPeople": 20, "needsApproval": False}
    ]
    assert state()["latency_margin"] == "7.00"
    assert list(Rollout.objects.get(name=NAME).users.all()) == [grace]
    line = RolloutChange.objects.get()
    assert (line.source, line.why, line.changes["percent"]) == ("api", "a quiet week", ["5.00", "12.50"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"percent": 100.01}, "percent"),
        ({"percent": -0.01}, "percent"),
        ({"percent": 12.345}, "percent"),
        ({"percent": True}, "percent"),
        ({"percent": None}, "percent"),
        ({"enabled": "false"}, "enabled"),
        ({"enabled": None}, "enabled"),
        ({"minSample": 0}, "minSample"),
        ({"minSample": 2**31}, "minSample"),
        ({"minSample": 1.5}, "minSample"),
        ({"minSample": "100"}, "minSample"),
        ({"latencyMeasure": "speed"}, "latencyMeasure"),
        ({"watchOnly": ["speed"]}, "watchOnly.0"),
        ({"watchOnly": "cost"}, "watchOnly"),
        ({"users": ["nobody"]}, "users"),
        ({"users": [5]}, "users.0"),
        ({"stages": [{"percent": 15}, {"percent": 5}]}, "stages"),
        ({"stages": [{"percent": 5, "days": 1}]}, "stages.0.days"),
        ({"stages": [{"percent": number} for number in range(51)]}, "stages"),
        ({"why": "x" * 501}, "why"),
        ({"note": "a\0b"}, "note"),
        ({"version": 7}, "version"),
        ({"ramp_mode": "manual"}, "ramp_mode"),
        ({"enabled": False, "forced": True}, "forced"),
    ],
)
def test_bad_input_is_named_by_its_field_and_changes_nothing(operator, body, field):
    before = state()

    answer = patch(operator, {"latencyMargin": 7, **body})

    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert state() == before
    assert not RolloutChange.objects.exists()


@pytest.mark.parametrize("body", [{}, {"why": "because"}])
def test_an_empty_change_is_a_mistake(operator, body):
    answer = patch(operator, body)

    assert (answer.status_code, answer.json()["code"]) == (400, "empty")


@pytest.mark.parametrize("body", [[], None, 5, "on"])
def test_a_body_that_is_no_object_is_refused(operator, body):
    assert patch(operator, body).status_code == 400


def test_a_change_to_what_it_is_already_leaves_no_line(operator):
    answer = patch(operator, {"percent": 5})

    assert (answer.status_code, answer["ETag"]) == (200, '"v1"')
    assert not RolloutChange.objects.exists()


def test_changing_needs_the_right_to():
    assert patch(staff_with("view_rollout", "stop_rollout", "add_rollout"), {"percent": 15}).status_code == 403
    assert state()["percent"] == "5.00"


# --- two at once ---


@pytest.mark.parametrize("match", ['"v1"', "*", '"v0", "v1"'])
def test_the_state_that_was_looked_at_may_be_named(operator, match):
    assert patch(operator, {"percent": 15}, **{"If-Match": match}).status_code == 200


def test_a_stale_change_is_refused_with_what_is_different(operator):
    change_rollout(NAME, {"percent": 15, "latency_margin": 7}, actor=ADA)

    answer = patch(operator, {"percent": 35}, **{"If-Match": '"v1"'})

    assert answer.status_code == 412
    assert answer["ETag"] == '"v2"'
    document = answer.json()
    assert document["code"] == "stale"
    assert document["changes"] == {"percent": ["5.00", "15.00"], "latencyMargin": ["10.00", "7.00"]}
    assert state()["percent"] == "15.00"


@pytest.mark.parametrize("match", ['W/"v1"', '"v9"', "v1", '"1"', ""])
def test_a_tag_that_is_not_the_present_one_changes_nothing(operator, match):
    assert patch(operator, {"percent": 35}, **{"If-Match": match}).status_code == 412
    assert state()["percent"] == "5.00"


def test_what_takes_two_is_accepted_and_waits(operator):
    change_rollout(NAME, {"second_pair_above": 10}, actor=ADA)

    answer = patch(operator, {"percent": 50})

    assert answer.status_code == 202
    assert answer.json()["code"] == "waits_for_approval"
    assert answer.json()["proposal"] == Proposal.objects.get().pk
    assert state()["percent"] == "5.00"
