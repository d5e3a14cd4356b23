import logging
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from metrics.models import ModelCall
from rollout import services
from rollout.changes import RolloutNotFound, change_rollout
from rollout.models import Evaluation, Rollout
from rollout.pilot import look_at
from rollout.services import Route, WindowRefused, parse_hours, route, status
from tests.chat.factories import UserFactory
from tests.metrics.factories import NOW, ModelCallFactory
from tests.rollout.factories import ADA, RolloutFactory
from tests.rollout.steps import much_traffic

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
        run=0,
        stretch=0,
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

    steer(enabled=False)
    assert routed()[2] == "disabled"


def test_an_open_rollout_goes_before_a_closed_one_of_the_same_baseline():
    steer(enabled=False)
    RolloutFactory(name="a-second-try", baseline="chat-model", candidate="chat-model-reasoning", percent=Decimal(100))

    assert routed() == ("chat-model-reasoning", "candidate", "percentage")


def test_each_routing_is_one_line_to_grep(caplog):
    steer(forced=True)
    with caplog.at_level(logging.INFO, logger="rollout.routing"):
        services.log_route(
            route(requested_model="chat-model", unit=UNIT), served_model="gemini-flash-lite", unit=UNIT, call_id="c-1"
        )

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
    ModelCallFactory(started_at=NOW - timedelta(seconds=1))
    ModelCallFactory(started_at=NOW - timedelta(hours=1))
    ModelCallFactory(started_at=NOW - timedelta(hours=1, seconds=1))

    assert status(NAME, hours=1, now=NOW).health.requests == 2
    assert status(NAME, hours=2, now=NOW).health.requests == 3


def test_a_good_candidate_goes_on_to_the_next_stage():
    much_traffic(now=NOW)

    found = status(NAME, now=NOW)
    assert found.decision.verdict == "GO"
    assert found.should_proceed
    assert found.recommendation == "Go on: raise the percentage to 15 %."
    assert found.health.actual_percent == pytest.approx(50, abs=3)
    assert found.health.expected_percent == 50
    assert found.latency_improvement == pytest.approx(30, abs=3)
    assert found.health.projected_savings_usd is not None
    assert found.health.candidate.saved_usd is not None
    assert found.health.projected_savings_usd > found.health.candidate.saved_usd


def test_at_the_end_of_the_ramp_there_is_no_percentage_to_go_to():
    much_traffic(now=NOW)
    steer(percent=100)

    assert status(NAME, now=NOW).recommendation == "Every criterion is met, and the ramp is at its end."


def test_what_a_closed_rollout_needs_is_to_be_enabled():
    steer(enabled=False)

    assert status(NAME, now=NOW).recommendation == "The rollout is off: enable it to gather figures."


def test_failures_answered_by_the_baseline_still_count_against_the_candidate():
    much_traffic(now=NOW, calls=600, failing=1.0)
    for failed in ModelCall.objects.filter(arm="candidate"):
        ModelCallFactory(candidate=True, answer_id=failed.answer_id, attempt=2, served_model="chat-model")

    found = status(NAME, now=NOW)
    assert found.health.candidate.error_percent == 100
    assert found.health.candidate.requests + found.health.baseline.requests == 600
    assert found.decision.verdict == "ROLLBACK"


def test_what_was_measured_before_a_start_decides_nothing_after_it():
    much_traffic(now=NOW, calls=600, failing=1.0)
    steer(enabled=False)
    steer(enabled=True)

    found = status(NAME, now=NOW)
    assert found.decision.verdict == "NOT_ENOUGH_DATA"
    assert found.health.candidate.error_percent == 100


def test_another_share_begins_a_stretch_of_the_same_run_and_another_margin_begins_nothing():
    before = Rollout.objects.get(name=NAME)
    steer(latency_margin=Decimal(20))
    assert Rollout.objects.get(name=NAME).stretch == before.stretch
    steer(percent=15)
    after = Rollout.objects.get(name=NAME)
    assert (after.run, after.stretch) == (before.run, before.stretch + 1)


def test_another_margin_is_another_decision_on_the_same_figures():
    much_traffic(now=NOW, slower=1.25)
    assert status(NAME, now=NOW).decision.verdict == "ROLLBACK"

    steer(watch_only=["latency", "p95_latency"])
    assert status(NAME, now=NOW).decision.verdict == "GO"


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
    look_at(NAME, now=NOW)
    look_at(NAME, now=NOW + timedelta(minutes=1))
    much_traffic(now=NOW, calls=8000)
    look_at(NAME, now=NOW + timedelta(minutes=2))

    new, old = Evaluation.objects.all()
    assert (old.verdict, old.first_at, old.last_at) == ("NOT_ENOUGH_DATA", NOW, NOW + timedelta(minutes=1))
    assert (new.verdict, new.first_at) == ("GO", NOW + timedelta(minutes=2))
    assert new.evidence["criteria"][0]["people"] == {"candidate": 450, "baseline": 450}


def test_a_closed_rollout_is_not_evaluated():
    steer(enabled=False)

    look_at(NAME, now=NOW)

    assert not Evaluation.objects.exists()
