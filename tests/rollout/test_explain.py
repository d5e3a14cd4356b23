import json
from dataclasses import replace
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.test import Client

from metrics.models import ModelCall
from rollout.bucketing import bucket
from rollout.changes import RolloutNotFound, change_rollout
from rollout.services import Explanation, UnitRefused, explain, find_unit, parse_unit, route, status
from rollout.text import explanation
from tests.chat.factories import UserFactory
from tests.metrics.factories import NOW
from tests.rollout.factories import ADA, RolloutFactory
from tests.rollout.steps import NAME, PATH, rollout, staff_with, text_of

pytestmark = pytest.mark.django_db

UNIT = f"{1:032x}"
SECOND = "second"


def steer(name: str = NAME, **changes: Any) -> None:
    change_rollout(name, changes, actor=ADA, now=NOW)


@pytest.fixture
def second() -> Any:
    """Asked after the default rollout."""
    return RolloutFactory(
        name=SECOND, baseline="chat-model", candidate="chat-model-reasoning", percent=Decimal(0), priority=200
    )


def test_an_explanation_holds_what_decided():
    steer(percent=100)

    assert explain(NAME, UNIT) == Explanation(
        unit=UNIT,
        arm="candidate",
        model="gemini-flash-lite",
        reason="percentage",
        reason_in_words="The bucket lies below the percentage.",
        bucket=round(bucket(rollout=NAME, salt=rollout().salt, unit=UNIT), 4),
        percent=Decimal(100),
        rollout=NAME,
    )


@pytest.mark.parametrize(
    ("changes", "arm", "reason", "words"),
    [
        ({"percent": 0}, "baseline", "percentage", "The bucket does not lie below the percentage."),
        ({"forced": True}, "candidate", "everyone", "The rollout is forced: everyone gets the candidate."),
        ({"enabled": False}, "baseline", "disabled", "The rollout is off."),
        ({"languages": "de"}, "candidate", "tester", "This is one of the testers."),
    ],
)
def test_each_reason_is_told_by_its_code_and_in_words(changes, arm, reason, words):
    steer(**changes)

    found = explain(NAME, UNIT, language="de")
    assert (found.arm, found.reason, found.reason_in_words) == (arm, reason, words)


def test_testers_are_known_by_their_account():
    tester = UserFactory()
    tester.groups.add(group := Group.objects.create(name="beta"))
    steer(percent=0, groups=[group])

    assert explain(NAME, tester.unit, user=tester).reason == "tester"
    assert explain(NAME, tester.unit).reason == "percentage"


def test_who_counts_for_another_rollout_has_no_arm_here(second):
    steer(percent=100)
    found = explain(SECOND, UNIT)
    assert (found.arm, found.reason, found.model, found.rollout) == ("", "other_rollout", "gemini-flash-lite", NAME)
    assert found.reason_in_words == "Another rollout, gemini-flash-lite, gives its candidate."

    steer(percent=0)
    units = [f"{number:032x}" for number in range(50)]
    controls = [each for each in (explain(SECOND, unit) for unit in units) if each.rollout == NAME]
    assert {(each.arm, each.reason, each.model) for each in controls} == {("", "other_control", "chat-model")}
    assert len(controls) < len(units)


def test_a_closed_rollout_says_so_also_where_another_one_counts_the_unit(second):
    steer(SECOND, enabled=False)

    found = explain(SECOND, UNIT)
    assert (found.arm, found.reason, found.rollout) == ("", "disabled", NAME)


def test_an_explanation_is_the_route_and_records_nothing(second):
    steer(SECOND, percent=50)

    for number in range(200):
        unit = f"{number:032x}"
        there = route(requested_model="chat-model", unit=unit)
        for name in (NAME, SECOND):
            found = explain(name, unit)
            assert (found.model, found.rollout) == (there.assigned_model, there.rollout)
            assert found.arm == (there.arm if there.rollout == name else "")
    assert not ModelCall.objects.exists()


def test_a_rollout_that_there_is_not_explains_nothing():
    with pytest.raises(RolloutNotFound):
        explain("nobody", UNIT)


# --- whom ---


def test_a_person_is_found_by_unit_and_by_name_and_a_programs_unit_is_taken_as_it_is():
    ada = UserFactory(username="Ada")

    assert find_unit(ada.unit) == (ada.unit, ada)
    assert find_unit("aDA") == (ada.unit, ada)
    assert find_unit("order-4711") == ("order-4711", None)


@pytest.mark.parametrize("given", ["", "x" * 65, "a\0b", "a\nb", "\ud800", 5, None, ["a"], True])
def test_what_is_no_unit_is_refused(given):
    with pytest.raises(UnitRefused):
        parse_unit(given)


# --- the command ---


def run(*words: str, **options: Any) -> str:
    out = StringIO()
    call_command("rollout", "explain", *words, stdout=out, **options)
    return out.getvalue()


def test_the_command_explains_in_lines_and_in_json():
    ada = UserFactory(username="ada", is_staff=True)
    steer(staff=True)

    lines = dict(line.split("   ", 1) for line in run("ada").splitlines())
    assert {label.strip(): value.strip() for label, value in lines.items()} == {
        "Unit": ada.unit,
        "Arm": "Candidate",
        "Model": "gemini-flash-lite",
        "Why": "This is one of the testers. (tester)",
        "Bucket": f"{bucket(rollout=NAME, salt=rollout().salt, unit=ada.unit):.4f}",
        "Percentage": "5 %",
        "Counts for": NAME,
    }
    document = json.loads(run(ada.unit, json=True))
    assert (document["arm"], document["reason"], document["percentage"]) == ("candidate", "tester", 5.0)


def test_the_command_takes_a_language_and_another_rollout(second):
    steer(SECOND, languages="de")

    assert json.loads(run(UNIT, rollout=SECOND, language="de", json=True))["reason"] == "tester"


def test_an_arm_of_another_rollout_is_told_as_such():
    assert "Neither: another rollout's" in explanation(replace(explain(NAME, UNIT), arm=""))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "A unit or user name goes with explain: explain ada"),
        (["x" * 65], "A unit is a text of 1 to 64 characters."),
        (["ada", "--rollout", "nobody"], "There is no rollout named nobody."),
    ],
)
def test_the_command_refuses_what_makes_no_sense_in_one_sentence(words, told):
    with pytest.raises(CommandError, match=told):
        run(*words)


# --- the pages ---


def dashboard(client: Client, **query: str) -> Any:
    return client.get(f"/admin/rollout/rollout/{rollout().pk}/dashboard/", query)


def test_the_dashboard_says_which_arm_a_person_would_get():
    ada = UserFactory(username="ada")
    steer(users=[ada])
    viewer = staff_with("view_rollout")

    told = text_of(dashboard(viewer, person="ada"))
    assert "Candidate : This is one of the testers." in told
    assert f"ada (unit {ada.unit}) would be answered by gemini-flash-lite." in told


def test_the_dashboard_says_where_nobody_is_known_by_that_name():
    steer(percent=0)

    told = text_of(dashboard(staff_with("view_rollout"), person="order-4711"))
    assert "No account has this unit or name: taken as a program's own unit." in told
    assert "order-4711 would be answered by chat-model." in told


@pytest.mark.parametrize("person", ["", "x" * 65, "x" * 151, "a\0b"])
def test_the_dashboard_refuses_what_is_nobody_on_the_same_page(person):
    answer = dashboard(staff_with("view_rollout"), person=person)

    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()


def test_who_may_not_view_rollouts_is_told_nothing():
    assert dashboard(staff_with(), person="ada").status_code == 403


@pytest.mark.parametrize("path", ["change", "dashboard", "dashboard/live"])
def test_the_pages_show_the_shares_where_rollouts_share_a_baseline(path):
    viewer = staff_with("view_rollout")
    address = f"/admin/rollout/rollout/{rollout().pk}/{path}/"
    assert "Expected split" not in text_of(viewer.get(address))

    RolloutFactory(name=SECOND, baseline="chat-model", percent=Decimal(20), priority=200)

    told = text_of(viewer.get(address))
    assert "gemini-flash-lite 5 % 5 % 38 % 11.63 %" in told
    assert "second 20 % 19 % 38 % 33.33 %" in told


def test_the_terminal_and_the_api_say_the_split_beside_whom(client, reader):
    client.force_login(reader)
    assert client.get(PATH).json()["shares"] == [
        {
            "rollout": NAME,
            "percentage": 5.0,
            "candidatePercentage": 5.0,
            "controlPercentage": 95.0,
            "splitPercentage": 5.0,
        }
    ]
    out = StringIO()
    call_command("rollout", "status", stdout=out)
    assert "Expected split" not in out.getvalue()

    RolloutFactory(name=SECOND, baseline="chat-model", percent=Decimal(20), priority=1)

    call_command("rollout", "status", stdout=out)
    assert "Expected split   9.52 % of its people, beside second" in out.getvalue()
    assert "~4% of chat-model users" in out.getvalue()


def test_how_many_are_affected_follows_those_before(second):
    steer(SECOND, percent=50, priority=1)
    assert status(NAME, now=NOW).affected == "~2.5% of chat-model users"

    steer(forced=True)
    assert status(NAME, now=NOW).affected == "~50% of chat-model users"
