import re
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from rollout.changes import ChangeWaits, change_rollout
from rollout.defaults import ON_CALL, OPERATORS, VIEWERS
from rollout.models import Proposal, RolloutChange
from rollout.pilot import look_at
from tests.chat.factories import UserFactory
from tests.rollout.factories import ADA
from tests.rollout.steps import NAME, filled, much_traffic, rollout, state, text_of
from tests.rollout.steps import page as form

pytestmark = pytest.mark.django_db


def path() -> str:
    return f"/admin/rollout/rollout/{rollout().pk}/ramp/"


def page(client: Client) -> str:
    return text_of(client.get(path()))


def press(client: Client, verb: str = "", **fields: Any) -> Any:
    version = {"expected_version": rollout().version}
    return client.post(path(), {**version, **({"verb": verb} if verb else {}), **fields}, follow=True)


def member(group: str, client: Client) -> Client:
    user = UserFactory(username=group.split()[-1], is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client.force_login(user)
    return client


def test_it_says_where_the_ramp_is_what_is_next_and_what_it_waits_for(admin):
    assert "The autopilot has not looked" in page(admin)
    look_at(NAME, now=timezone.now())

    shown = page(admin)

    for words in (
        "5 % running",
        "Next: 15 %",
        "at the earliest",
        "0 of 100 requests",
        "→ 5 %",
        "100 % 7 100 20 needed",
    ):
        assert words in shown
    assert "should have looked since" not in shown


def test_its_buttons_are_those_that_fit(admin):
    answer = admin.get(path()).content.decode()
    fits = {"pause", "advance", "roll_back"}
    assert {
        verb for verb in ("start", "resume", "approve", "complete", "restart", *fits) if f'value="{verb}"' in answer
    } == fits


def test_a_button_is_a_change_like_any_other(admin):
    shown = press(admin, "advance", why="A good week")

    line = RolloutChange.objects.get()
    assert "Done: Go on to the next stage." in text_of(shown)
    assert (rollout().percent, line.actor, line.source, line.why) == (15, "ada", "admin", "A good week")


def test_a_rollback_wants_a_reason_and_what_was_typed_stays(admin):
    refused = press(admin, "roll_back")
    assert refused.status_code == 400
    assert rollout().is_on

    press(admin, "roll_back", why="It answers in French")

    assert (rollout().is_on, rollout().ramp_state, rollout().percent) == (False, "rolled_back", 5)


def test_a_verb_that_no_longer_fits_is_refused_in_words_that_name_the_state(admin):
    change_rollout(NAME, {"enabled": False}, actor=ADA)

    refused = press(admin, "advance", why="A good week")

    assert refused.status_code == 409
    assert "A ramp that is rolled back can't be advanced." in text_of(refused)
    assert 'value="A good week"' in refused.content.decode()


def test_of_two_people_the_later_is_told_the_difference_but_a_stop_goes_through(admin):
    seen = rollout().version
    change_rollout(NAME, {"percent": 15}, actor=ADA)

    refused = press(admin, "advance", expected_version=seen)
    assert refused.status_code == 409
    assert "Percentage: 5 % → 15 %" in text_of(refused)

    press(admin, "roll_back", expected_version=seen, why="Now")
    assert not rollout().is_on


@pytest.mark.parametrize("fields", [{}, {"verb": "explode"}, {"verb": "pause", "expected_version": "x"}])
def test_what_is_no_button_changes_nothing(admin, fields):
    before = state()

    assert press(admin, **fields).status_code == 400
    assert state() == before


def test_what_the_autopilot_proposes_is_one_click(admin):
    stages = [{"percent": share, "min_days": 0, "min_sample": 0, "min_people": 0} for share in (5, 15)]
    change_rollout(NAME, {"ramp_mode": "assisted", "stages": stages, "max_error_increase": 10}, actor=ADA)
    look_at(NAME, now=timezone.now())
    assert "Accept:" not in page(admin), "nothing is proven yet"
    much_traffic(now=timezone.now())
    look_at(NAME, now=timezone.now())
    assert "Accept: Go on to the next stage" in page(admin)
    assert rollout().percent == 5

    press(admin, "advance")

    assert rollout().percent == 15
    assert "Accept:" not in page(admin), "that was of the stage before"


# --- rights ---


def test_people_on_call_may_stop_and_nothing_else(client):
    member(ON_CALL, client)
    answer = client.get(path()).content.decode()
    assert 'value="roll_back"' in answer
    assert not any(f'value="{verb}"' in answer for verb in ("pause", "advance"))

    assert press(client, "pause").status_code == 403
    assert press(client, undo=1).status_code == 403
    assert rollout().ramp_state == "running"
    press(client, "roll_back", why="Alarm")
    assert not rollout().is_on
    assert press(client, "restart").status_code == 403


def test_viewers_see_it_and_have_no_buttons(client):
    member(VIEWERS, client)

    assert 'name="verb"' not in client.get(path()).content.decode()
    assert press(client, "roll_back", why="x").status_code == 403
    assert rollout().is_on


def test_people_without_any_right_do_not_see_it(client):
    client.force_login(UserFactory(is_staff=True))
    assert client.get(path()).status_code == 403


def test_operators_may_all_of_it(client):
    member(OPERATORS, client)

    for verb, after in (
        ("pause", "paused"),
        ("resume", "running"),
        ("roll_back", "rolled_back"),
        ("restart", "running"),
    ):
        press(client, verb, why="x")
        assert rollout().ramp_state == after


# --- a second person, and going back ---


def test_what_waits_is_approved_by_another_person(admin):
    change_rollout(NAME, {"second_pair_above": 10}, actor=ADA)
    press(admin, "advance", why="A good week")
    proposal = Proposal.objects.get()
    assert "Waiting for a second person" in page(admin)
    assert "Take back" in page(admin)
    assert press(admin, proposal=proposal.pk, decide="accept").status_code == 409

    other = member(OPERATORS, Client())
    press(other, proposal=proposal.pk, decide="accept")

    line = RolloutChange.objects.latest("id")
    assert (rollout().percent, line.actor, line.approved_by) == (15, "ada", "operators")
    assert "Waiting for a second person" not in page(admin)


def test_what_waits_can_be_taken_back_by_who_proposed_it(admin):
    change_rollout(NAME, {"second_pair_above": 10}, actor=ADA)
    with pytest.raises(ChangeWaits):
        change_rollout(NAME, {"percent": 50}, actor=ADA)

    press(admin, proposal=Proposal.objects.get().pk, decide="refuse")

    assert Proposal.objects.get().state == "refused"
    assert press(admin, proposal=10**8).status_code == 404


def test_the_whole_history_is_a_file_in_which_no_cell_runs(admin):
    press(admin, "pause", why="=1+1")
    address = re.search(r'href="([^"]+format=csv)"', admin.get(path()).content.decode())
    assert address is not None

    lines = admin.get(address[1]).content.decode().splitlines()

    assert lines[0].startswith("id,changedAt,version,actor")
    assert "'=1+1" in lines[1]


def test_one_click_goes_back_to_before_a_change(admin):
    press(admin, "advance")
    press(admin, "roll_back", why="Alarm")

    press(admin, undo=RolloutChange.objects.latest("id").pk)

    assert (rollout().is_on, rollout().percent, rollout().ramp_state) == (True, 15, "running")
    assert press(admin, undo=10**8).status_code == 404


# --- by hand, while it runs by itself ---


def test_steering_an_automatic_ramp_by_hand_asks_and_then_pauses_it(admin):
    change_rollout(NAME, {"ramp_mode": "automatic"}, actor=ADA)
    asked = admin.post(form(), filled(percent="12", why="By hand"))
    assert "confirm that this change pauses it" in text_of(asked)
    assert 'value="By hand"' in asked.content.decode()
    assert rollout().percent == 5

    admin.post(form(), filled(percent="12", why="By hand", pause_ramp="on"))

    assert (rollout().percent, rollout().ramp_state) == (12, "paused")


def test_a_stop_by_hand_asks_for_nothing(admin):
    change_rollout(NAME, {"ramp_mode": "automatic"}, actor=ADA)

    admin.post(form(), filled(state="off"))

    assert not rollout().is_on


def test_a_form_that_waits_for_a_second_person_says_so(admin):
    change_rollout(NAME, {"second_pair_above": 10}, actor=ADA)

    shown = admin.post(form(), filled(percent="50"), follow=True)

    assert "waits for a second person" in text_of(shown)
    assert "Percentage: 5 % → 50 %" in text_of(shown)
    assert rollout().percent == 5
