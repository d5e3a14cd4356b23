import logging
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from rollout import services
from rollout.changes import RolloutNotFound, change_rollout
from rollout.models import Evaluation, Rollout
from rollout.services import Route, WindowRefused, parse_hours, route, status
from tests.chat.factories import UserFactory
from tests.metrics.factories import NOW, ModelCallFactory
from tests.rollout.factories import ADA, RolloutFactory

pytestmark = pytest.mark.django_db

NAME = "gemini-flash-lite"
UNIT = f"{1:032x}"


def steer(**changes: Any) -> None:
    change_rollout(NAME, changes, actor=ADA, now=NOW)


def routed(model: str = "chat-model", **facts: Any) -> tuple[str, str, str]:
    found = route(**{"requested_model": model, "unit": UNIT, **facts})
    return found.assigned_model, found.arm, found.reason


# --- who gets which model ---


def test_the_percentage_decides_for_most():
    steer(percent=0)
    assert routed() == ("chat-model", "baseline", "percentage")

    steer(percent=100)
    assert routed() == ("gemini-flash-lite", "candidate", "percentage")


def test_force_stop_and_a_persons_own_wish():
    steer(percent=0, forced=True)
    assert routed() == ("gemini-flash-lite", "candidate", "everyone")
    assert routed("gemini-flash-lite") == ("gemini-flash-lite", "candidate", "manual")

    steer(enabled=False)
    assert routed() == ("chat-model", "baseline", "disabled")
    assert routed("gemini-flash-lite") == ("chat-model", "baseline", "disabled")


def test_other_models_pass_untouched():
    steer(forced=True)

    found = route(requested_model="chat-model-reasoning", unit=UNIT)
    assert found == Route(
        requested_model="chat-model-reasoning",
        assigned_model="chat-model-reasoning",
        baseline_model="chat-model-reasoning",
        rollout="",
        arm="",
        reason="not_in_rollout",
        percent=None,
    )


def test_a_route_carries_what_the_call_is_to_remember():
    steer(percent="12.5")

    found = route(requested_model="chat-model", unit=UNIT)
    assert (found.rollout, found.percent, found.baseline_model) == (NAME, Decimal("12.5"), "chat-model")


@pytest.mark.parametrize("kind", ["superusers", "staff", "users", "groups", "languages"])
def test_testers_of_each_kind_get_the_candidate_early_and_others_do_not(kind):
    group = Group.objects.create(name="beta")
    tester = UserFactory(is_superuser=kind == "superusers", is_staff=kind == "staff")
    tester.groups.add(group)
    someone = UserFactory()
    tests: dict[str, Any] = {
        "superusers": True,
        "staff": True,
        "users": [tester],
        "groups": [group],
        "languages": "de, pt-BR",
    }
    steer(percent=0, **{kind: tests[kind]})
    language = "pt-br" if kind == "languages" else "en"

    assert routed(user=tester, language=language)[2] == "tester"
    assert routed(user=someone, language="en")[2] == "percentage"
    assert routed(language="en")[2] == "percentage"


def test_superusers_are_no_testers_unless_that_is_said():
    assert routed(user=UserFactory(is_superuser=True, is_staff=True))[2] == "percentage"


def test_deciding_takes_one_query_with_and_without_an_account():
    user = UserFactory()
    everybody: list[dict[str, Any]] = [{}, {"user": user, "language": "en"}]
    for facts in everybody:
        with CaptureQueriesContext(connection) as queries:
            routed(**facts)

        assert len(queries) == 1


def test_a_change_holds_from_the_next_request_on():
    steer(percent=100)
    assert routed()[1] == "candidate"

    Rollout.objects.update(everyone=False)
    assert routed()[2] == "disabled"


def test_an_open_rollout_goes_before_a_closed_one_of_the_same_baseline():
    steer(enabled=False)
    RolloutFactory(name="a-second-try", baseline="chat-model", candidate="chat-model-reasoning", percent=Decimal(100))

    assert routed() == ("chat-model-reasoning", "candidate", "percentage")


def test_each_routing_is_one_line_to_grep(caplog):
    steer(forced=True)
    with caplog.at_level(logging.INFO, logger="rollout.services"):
        services.log_route(route(requested_model="chat-model", unit=UNIT), unit=UNIT, call_id="c-1")

    (record,) = caplog.records
    assert record.getMessage() == "Model routing: chat-model → gemini-flash-lite"
    assert {"rollout": NAME, "reason": "everyone", "unit": UNIT, "call_id": "c-1"}.items() <= vars(record).items()


# --- how it stands ---


def test_the_status_of_a_rollout_that_there_is_not():
    with pytest.raises(RolloutNotFound):
        status("nobody", now=NOW)


@pytest.mark.parametrize(("given", "hours"), [("1", 1), ("24", 24), ("720", 720), ("007", 7)])
def test_a_window_is_whole_hours(given, hours):
    assert parse_hours(given) == hours


@pytest.mark.parametrize("given", ["", "0", "721", "-1", "1.5", "1e2", " 24", "٢٤", "²", "9" * 5000, "NaN", "True"])
def test_what_is_no_window_is_refused(given):
    with pytest.raises(WindowRefused):
        parse_hours(given)


def test_a_window_holds_what_began_in_it_and_nothing_older():
    ModelCallFactory(started_at=NOW)
    ModelCallFactory(started_at=NOW - timedelta(hours=1))
    ModelCallFactory(started_at=NOW - timedelta(hours=1, seconds=1))

    assert status(NAME, hours=1, now=NOW).health.requests == 2
    assert status(NAME, hours=2, now=NOW).health.requests == 3


def calls(candidates: int, baselines: int, **changes: Any) -> None:
    ModelCallFactory.create_batch(candidates, candidate=True, percent=Decimal(25), **changes)
    ModelCallFactory.create_batch(baselines, percent=Decimal(25))


def test_a_good_candidate_goes_on_to_the_next_stage():
    steer(min_sample=5)
    calls(5, 15)

    found = status(NAME, now=NOW)
    assert found.decision.verdict == "GO"
    assert found.should_proceed
    assert found.recommendation == "Go on: raise the percentage to 15 %."
    assert (found.actual_percent, found.expected_percent) == (25, 25)
    assert found.latency_improvement == 50


def test_at_the_end_of_the_ramp_there_is_no_percentage_to_go_to():
    steer(min_sample=5, percent=100)
    calls(5, 0, ttft_ms=100)

    assert status(NAME, now=NOW).recommendation == "Every criterion is met, and the ramp is at its end."


def test_what_a_closed_rollout_needs_is_to_be_enabled():
    steer(enabled=False)

    assert status(NAME, now=NOW).recommendation == "The rollout is off: enable it to gather figures."


def test_failures_answered_by_the_baseline_still_count_against_the_candidate():
    steer(min_sample=5)
    for _ in range(5):
        failed = ModelCallFactory(candidate=True, failed=True)
        ModelCallFactory(candidate=True, answer_id=failed.answer_id, attempt=2, served_model="chat-model")
    calls(0, 5)

    found = status(NAME, now=NOW)
    assert found.health.candidate.error_percent == 100
    assert found.health.candidate.requests == 5
    assert found.decision.verdict == "ROLLBACK"


@pytest.mark.parametrize(
    ("changes", "affected"),
    [
        ({}, "~5% of chat-model users"),
        ({"percent": "12.5"}, "~12.5% of chat-model users"),
        ({"percent": 100}, "~100% of chat-model users"),
        ({"forced": True}, "~100% of chat-model users"),
        ({"enabled": False}, "~0% of chat-model users"),
    ],
)
def test_how_many_are_affected_follows_the_state(changes, affected):
    steer(**changes)

    assert status(NAME, now=NOW).affected == affected


def test_the_present_state_stands_since_its_last_change():
    change_rollout(NAME, {"percent": 15}, actor=ADA, now=NOW - timedelta(days=3))
    change_rollout(NAME, {"staff": True}, actor=ADA, now=NOW - timedelta(days=1))

    assert services.standing_since(Rollout.objects.get(name=NAME)) == NOW - timedelta(days=3)


def test_a_rollout_that_was_never_changed_stands_since_it_was_made():
    rollout = Rollout.objects.get(name=NAME)

    assert services.standing_since(rollout) == rollout.created


# --- the decision, minute by minute ---


def test_a_decision_that_repeats_is_one_row_and_another_begins_a_new_one():
    steer(min_sample=5)
    services.evaluate_rollouts(now=NOW)
    services.evaluate_rollouts(now=NOW + timedelta(minutes=1))
    calls(5, 15)
    services.evaluate_rollouts(now=NOW + timedelta(minutes=2))

    new, old = Evaluation.objects.all()
    assert (old.verdict, old.first_at, old.last_at) == ("NOT_ENOUGH_DATA", NOW, NOW + timedelta(minutes=1))
    assert (new.verdict, new.first_at) == ("GO", NOW + timedelta(minutes=2))
    assert new.evidence["candidate"] == {"requests": 5, "people": 5}


def test_a_closed_rollout_is_not_evaluated():
    steer(enabled=False)

    assert services.evaluate_rollouts(now=NOW) == []
