"""The history: append-only, with its evidence, undone by adding to it; and what waits for a second person."""

from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, transaction

from rollout.changes import (
    AUTOPILOT,
    Actor,
    ChangeRefused,
    ChangeWaits,
    VersionConflict,
    act,
    change_rollout,
    decide_proposal,
    revert,
)
from rollout.models import AppendOnly, Proposal, RolloutChange
from rollout.pilot import look_at
from tests.chat.factories import UserFactory
from tests.metrics.factories import NOW
from tests.rollout.factories import ADA
from tests.rollout.steps import NAME, much_traffic, rollout, state

pytestmark = pytest.mark.django_db
BOB = Actor(name="bob", source="admin")


def change(actor: Actor = ADA, **changes: object) -> RolloutChange:
    change_rollout(NAME, changes, actor=actor, now=NOW)
    return RolloutChange.objects.latest("id")


# --- append-only ---


def test_a_line_can_be_neither_changed_nor_deleted_through_the_orm():
    line = change(percent=15)

    line.why = "Another reason"
    for attempt in (
        line.save,
        line.delete,
        RolloutChange.objects.all().delete,
        lambda: RolloutChange.objects.update(why=""),
        lambda: RolloutChange.objects.bulk_update([line], ["why"]),
        lambda: RolloutChange.objects.filter(pk=line.pk).update(actor="eve"),
    ):
        with pytest.raises(AppendOnly):
            attempt()

    assert RolloutChange.objects.get().why == ""


@pytest.mark.parametrize(
    "statement", ["UPDATE rollout_rolloutchange SET why = 'x'", "DELETE FROM rollout_rolloutchange"]
)
def test_nor_past_it(statement):
    change(percent=15)

    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)

    assert RolloutChange.objects.get().changes == {"percent": ["5.00", "15.00"]}


def test_it_outlives_the_account():
    user = UserFactory(username="gone")
    line = change(Actor(name="gone", source="admin", user_id=user.pk), percent=15)
    pk = user.pk

    user.delete()

    line.refresh_from_db()
    assert (line.actor, line.changed_by_id) == ("gone", pk)


# --- evidence ---


def test_a_line_keeps_the_figures_of_its_moment():
    much_traffic(now=NOW)
    look_at(NAME, now=NOW)

    line = change(percent=15)

    assert line.evidence["verdict"] == "GO"
    assert line.evidence["as_of"] == NOW.isoformat()
    assert {criterion["name"] for criterion in line.evidence["criteria"]} >= {"errors", "latency", "cost"}


def test_criteria_stages_and_salts_are_in_it_too():
    before = rollout().salt
    line = change(max_error_increase=Decimal(3), stages=[{"percent": 10, "min_people": 5}], rerandomise=True)

    assert line.changes["max_error_increase"] == ["2.00", "3.00"]
    assert line.changes["stages"][1] == [["10.00", 7, 100, 5, False]]
    assert line.changes["salt"] == [before, rollout().salt]


# --- going back ---


def test_going_back_to_before_a_line_undoes_it_and_all_after_it_and_is_a_change_itself():
    tester, group = UserFactory(username="bob"), Group.objects.create(name="beta")
    change(users=[tester], groups=[group], percent=10)
    at_ten = state()
    wrong = change(percent=15, max_error_increase=Decimal(9), stages=[{"percent": 50}])
    change(users=[], enabled=False, rerandomise=True)

    revert(wrong.pk, actor=BOB, why="Too soon", now=NOW)

    assert {**state(), "ramp_state": "running"} == at_ten
    line = RolloutChange.objects.latest("id")
    assert (line.actor, line.why, line.changes["percent"]) == ("bob", "Too soon", ["15.00", "10.00"])
    assert RolloutChange.objects.count() == 4


def test_where_were_we_is_one_step_after_a_stop():
    change(percent=35)
    stop = change(enabled=False)
    assert stop.changes == {"enabled": [True, False], "ramp_state": ["running", "rolled_back"]}
    run = rollout().run

    revert(stop.pk, actor=ADA, now=NOW)

    assert (rollout().is_on, rollout().percent, rollout().ramp_state) == (True, 35, "running")
    assert rollout().run == run + 1, "what was measured before decides nothing now"


def test_nobody_goes_back_to_a_person_who_is_gone_or_to_before_the_beginning():
    tester = UserFactory(username="bob")
    change(users=[tester])
    line = change(users=[])
    tester.delete()
    before = state()

    with pytest.raises(ChangeRefused, match="bob"):
        revert(line.pk, actor=ADA, now=NOW)
    with pytest.raises(ChangeRefused):
        revert(10**9, actor=ADA, now=NOW)

    assert state() == before


# --- two people at once ---


def test_the_later_save_is_refused_with_the_difference():
    seen = rollout().version
    change(percent=15, min_sample=200)
    change(BOB, percent=20)

    with pytest.raises(VersionConflict) as refused:
        change_rollout(NAME, {"percent": 50}, actor=ADA, expected_version=seen)

    assert refused.value.changes == {"percent": ["5.00", "20.00"], "min_sample": [100, 200]}
    assert "Percentage: 5 % → 20 %" in str(refused.value)
    assert rollout().percent == 20


# --- a second pair of eyes ---


@pytest.fixture
def limited() -> None:
    """Above 20 %, two must agree."""
    change(second_pair_above=Decimal(20))


def proposed(**changes: object) -> Proposal:
    with pytest.raises(ChangeWaits) as waits:
        change_rollout(NAME, changes, actor=ADA, why="It goes well", now=NOW)
    return Proposal.objects.get(pk=waits.value.proposal)


@pytest.mark.usefixtures("limited")
def test_above_the_threshold_it_waits_and_changes_nothing():
    before, lines = state(), RolloutChange.objects.count()

    proposal = proposed(percent=35, note="New prompt")

    assert state() == before
    assert RolloutChange.objects.count() == lines
    assert proposal.changes == {"percent": ["5.00", "35.00"], "note": ["", "New prompt"]}
    assert (proposal.actor, proposal.why, proposal.state) == ("ada", "It goes well", "open")


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize(
    "changes", [{"percent": 20.01}, {"forced": True}, {"second_pair_above": None}, {"second_pair_above": Decimal(50)}]
)
def test_everything_that_is_more_waits(changes):
    proposed(**changes)

    assert rollout().percent == 5
    assert rollout().everyone is None


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("changes", [{"percent": 20}, {"second_pair_above": Decimal(10)}, {"note": "x"}])
def test_what_is_not_more_does_not_wait(changes):
    change(**changes)

    assert not Proposal.objects.exists()


def test_a_stop_never_waits():
    change(percent=100)
    change(second_pair_above=Decimal(0))

    change(percent=50)
    act(NAME, "roll_back", actor=ADA, now=NOW)

    assert not rollout().is_on
    proposed(enabled=True)


@pytest.mark.usefixtures("limited")
def test_another_person_accepts_it_and_both_are_in_the_history():
    proposal = proposed(percent=35)
    with pytest.raises(ChangeRefused, match="can't approve"):
        decide_proposal(proposal.pk, accept=True, actor=ADA, now=NOW)

    decide_proposal(proposal.pk, accept=True, actor=BOB, now=NOW)

    line = RolloutChange.objects.latest("id")
    assert (rollout().percent, line.actor, line.approved_by, line.why) == (35, "ada", "bob", "It goes well")
    with pytest.raises(ChangeRefused, match="no longer open"):
        decide_proposal(proposal.pk, accept=True, actor=BOB, now=NOW)


@pytest.mark.usefixtures("limited")
def test_one_account_under_two_names_is_one_person():
    user = UserFactory()
    with pytest.raises(ChangeWaits) as waits:
        change_rollout(NAME, {"percent": 35}, actor=Actor(name="old", source="api", user_id=user.pk), now=NOW)

    with pytest.raises(ChangeRefused, match="can't approve"):
        decide_proposal(
            waits.value.proposal, accept=True, actor=Actor(name="new", source="admin", user_id=user.pk), now=NOW
        )


@pytest.mark.usefixtures("limited")
def test_it_can_be_refused_by_anybody_also_by_who_proposed_it():
    proposal = proposed(percent=35)

    decide_proposal(proposal.pk, accept=False, actor=ADA, now=NOW)

    assert (Proposal.objects.get().state, rollout().percent) == ("refused", 5)


@pytest.mark.usefixtures("limited")
def test_a_stop_in_between_overtakes_it():
    proposal = proposed(percent=35)
    change(enabled=False)

    with pytest.raises(VersionConflict):
        decide_proposal(proposal.pk, accept=True, actor=BOB, now=NOW)

    assert Proposal.objects.get().state == "outdated"
    assert not rollout().is_on


@pytest.mark.usefixtures("limited")
def test_the_same_again_is_one_proposal_and_another_one_takes_its_place():
    first = proposed(percent=35)
    assert proposed(percent=35).pk == first.pk

    second = proposed(percent=50)

    assert dict(Proposal.objects.values_list("pk", "state")) == {first.pk: "outdated", second.pk: "open"}


@pytest.mark.usefixtures("limited")
def test_the_autopilot_goes_above_it_only_with_a_persons_approval():
    change(percent=15)
    with pytest.raises(ChangeRefused) as refused:
        act(NAME, "advance", actor=AUTOPILOT, now=NOW)
    assert refused.value.code == "needs_approval"

    act(NAME, "approve", actor=ADA, now=NOW)
    act(NAME, "advance", actor=AUTOPILOT, now=NOW)

    assert rollout().percent == 35
