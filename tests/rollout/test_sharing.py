import threading
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from metrics.models import ModelCall
from rollout import services
from rollout.changes import Actor, ChangeWaits, change_rollout, create_rollout, decide_proposal, revert
from rollout.models import RolloutChange
from rollout.routing import route
from tests.chat.factories import UserFactory
from tests.chat.test_answers import ask, read_events, visitor
from tests.metrics.factories import NOW
from tests.rollout.factories import ADA, RolloutFactory
from tests.rollout.steps import NAME, rollout, state

__all__ = ["visitor"]  # a fixture

pytestmark = pytest.mark.django_db

SECOND = "second"
UNITS = [f"{n:032x}" for n in range(2000)]


@pytest.fixture
def second() -> Any:
    """Asked after the default rollout, which is at 5 %."""
    return RolloutFactory(
        name=SECOND, baseline="chat-model", candidate="chat-model-reasoning", percent=Decimal(20), priority=200
    )


def steer(name: str, *, actor: Actor = ADA, **changes: Any) -> None:
    change_rollout(name, changes, actor=actor, why="a reason", now=NOW)


def lines(name: str) -> list[dict[str, Any]]:
    return [line.changes for line in RolloutChange.objects.filter(rollout=name).order_by("id")]


# --- routes ---


def test_each_unit_counts_for_one_rollout_with_its_expected_split(second):
    found = [route(requested_model="chat-model", unit=unit) for unit in UNITS]

    counted = Counter((each.rollout, each.assigned_model) for each in found)
    assert counted.keys() == {
        (NAME, "gemini-flash-lite"),
        (NAME, "chat-model"),
        (SECOND, "chat-model-reasoning"),
        (SECOND, "chat-model"),
    }
    # 5 / (5 + 0.95 × 0.8 / 2) and 20 / (20 + 80 / 2).
    assert {each.rollout: each.percent for each in found} == {NAME: Decimal("11.63"), SECOND: Decimal("33.33")}
    assert {each.reason for each in found} == {"percentage"}


def test_a_wish_counts_with_the_same_split_and_takes_one_query_too(second):
    with CaptureQueriesContext(connection) as queries:
        found = route(requested_model="chat-model-reasoning", unit=UNITS[0], user=UserFactory.build(pk=1))

    assert (found.rollout, found.arm, found.reason, found.percent) == (SECOND, "candidate", "manual", Decimal("33.33"))
    assert len(queries) == 1


def test_a_tester_of_the_second_is_not_taken_by_the_first(second):
    tester = UserFactory()
    steer(NAME, percent=100)
    steer(SECOND, users=[tester])

    assert route(requested_model="chat-model", unit=tester.unit, user=tester).rollout == SECOND
    assert route(requested_model="chat-model", unit=tester.unit).rollout == NAME


def test_closing_all_leaves_requests_with_the_first_of_them(second):
    steer(NAME, enabled=False)
    steer(SECOND, enabled=False, priority=1)

    found = route(requested_model="chat-model", unit=UNITS[0])
    assert (found.rollout, found.reason, found.percent) == (SECOND, "disabled", Decimal(20))


@pytest.mark.django_db(transaction=True)
def test_calls_of_the_chat_page_are_recorded_for_the_rollout_that_the_person_is_in(second, visitor):
    for percent in (0, 100):
        steer(SECOND, percent=percent)
        reply = ask(visitor)["reply"]
        read_events(visitor, reply)

        call = ModelCall.objects.get(answer_id=reply)
        found = route(requested_model="chat-model", unit=call.unit)
        assert (call.rollout, call.arm, call.percent) == (found.rollout, found.arm, found.percent)
        assert (call.run, call.stretch, call.served_model) == (found.run, found.stretch, found.assigned_model)
        assert call.served_model != "chat-model" or percent == 0


# --- what a change does to the others ---


def test_a_change_that_moves_anothers_split_begins_its_stretch_and_a_line_of_its_history(second):
    before = rollout(NAME)

    steer(SECOND, percent=60, actor=Actor(name="autopilot", source="autopilot"))

    after, line = rollout(NAME), RolloutChange.objects.get(rollout=NAME)
    assert (after.run, after.stretch, after.version) == (before.run, before.stretch + 1, before.version)
    assert line.changes == {"split": ["11.63", "20.83"]}
    assert (line.actor, line.source, line.changed_at) == ("autopilot", "autopilot", NOW)
    assert line.why == "Follows from a change of second."
    assert lines(SECOND) == [{"percent": ["20.00", "60.00"]}]
    assert services.standing_since(after) == NOW


def test_a_change_of_an_earlier_one_leaves_the_split_of_the_later_as_it_is(second):
    steer(NAME, percent=90)

    assert (rollout(SECOND).stretch, lines(SECOND)) == (second.stretch, [])


@pytest.mark.parametrize(
    ("changes", "split"),
    [
        ({"enabled": False}, ["11.63", "5.00"]),
        ({"forced": True}, ["11.63", "100.00"]),
        ({"priority": 1}, ["11.63", "9.52"]),
    ],
)
def test_closing_forcing_and_moving_one_are_such_changes(second, changes, split):
    steer(SECOND, **changes)

    assert lines(NAME) == [{"split": split}]


def test_who_goes_first_is_in_the_history_with_what_it_did_to_the_split(second):
    before = rollout(SECOND)

    steer(SECOND, priority=1)

    assert lines(SECOND) == [{"split": ["33.33", "34.48"], "priority": [200, 1]}]
    assert rollout(SECOND).stretch == before.stretch + 1


def test_a_priority_that_changes_no_order_begins_nothing(second):
    before = rollout(SECOND)

    steer(SECOND, priority=150)

    assert lines(SECOND) == [{"priority": [200, 150]}]
    assert rollout(SECOND).stretch == before.stretch
    assert not lines(NAME)


@pytest.mark.parametrize("changes", [{"staff": True}, {"rerandomise": True}, {"note": "Hello"}])
def test_other_changes_are_nobody_elses(second, changes):
    steer(SECOND, **changes)

    assert not lines(NAME)


def test_the_share_of_a_closed_rollout_is_nobody_elses(second):
    steer(SECOND, enabled=False)

    steer(SECOND, percent=90, priority=1)

    assert lines(NAME) == [{"split": ["11.63", "5.00"]}]


def test_a_refused_change_leaves_the_others_as_they_were(second):
    with pytest.raises(ValueError, match="percentage"):
        steer(SECOND, enabled=False, percent=101)

    assert (rollout(NAME).stretch, lines(NAME)) == (1, [])


def test_a_change_that_waits_for_a_second_person_moves_nobodys_split_before(second):
    steer(SECOND, second_pair_above=Decimal(20))

    with pytest.raises(ChangeWaits) as waits:
        steer(SECOND, percent=60)
    assert (rollout(NAME).stretch, lines(NAME)) == (1, [])

    decide_proposal(waits.value.proposal, accept=True, actor=Actor(name="bob", source="cli"), now=NOW)
    assert lines(NAME) == [{"split": ["11.63", "20.83"]}]


def test_undoing_a_line_about_a_neighbour_undoes_nothing(second):
    steer(SECOND, percent=60)
    before = state(NAME)

    revert(RolloutChange.objects.get(rollout=NAME).pk, actor=ADA, now=NOW)

    assert state(NAME) == before
    assert len(lines(NAME)) == 1


def test_a_new_rollout_that_is_on_moves_the_split_of_those_before_it():
    create_rollout(
        "new", baseline="chat-model", candidate="chat-model-reasoning", changes={"percent": 20}, actor=ADA, now=NOW
    )

    assert lines(NAME) == [{"split": ["5.00", "11.63"]}]
    assert rollout(NAME).stretch == 2


def test_rollouts_of_another_baseline_are_no_neighbours():
    RolloutFactory(name="elsewhere", baseline="chat-model-reasoning", candidate="gemini-flash-lite")

    steer(NAME, percent=50)

    assert not lines("elsewhere")


@pytest.mark.django_db(transaction=True)
def test_changes_of_neighbours_at_the_same_moment_end_with_histories_that_fit_together(second):
    start, failed = threading.Barrier(4), []

    def set_traffic(name: str, percent: int) -> None:
        start.wait()
        try:
            change_rollout(name, {"percent": percent, "priority": percent}, actor=ADA)
        except Exception as error:  # noqa: BLE001 a thread's own failure would go unseen
            failed.append(error)
        finally:
            connection.close()

    asked = [(NAME, 10), (SECOND, 15), (NAME, 30), (SECOND, 35)]
    threads = [threading.Thread(target=set_traffic, args=each) for each in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    for name in (NAME, SECOND):
        steps = [line["percent"] for line in lines(name) if "percent" in line]
        assert [old for old, _new in steps[1:]] == [new for _old, new in steps[:-1]]
        assert f"{rollout(name).percent:.2f}" == steps[-1][1]
        assert rollout(name).stretch == 1 + len(lines(name))
