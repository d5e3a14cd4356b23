from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError

from metrics import services
from metrics.models import ModelCall, Outcome
from metrics.pricing import Usage
from metrics.services import ArmHealth, CallEnd, CallStart, Health
from tests.metrics.factories import NOW, ModelCallFactory

pytestmark = pytest.mark.django_db

NAME = "gemini-flash-lite"


def health() -> Health:
    return services.health(rollout=NAME, since=NOW - timedelta(hours=1), until=NOW)


def start(**changes: Any) -> CallStart:
    return CallStart(
        **{
            "answer_id": uuid4(),
            "attempt": 1,
            "surface": "page",
            "rollout": NAME,
            "arm": "candidate",
            "reason": "percentage",
            "percent": Decimal(5),
            "unit": "u",
            "requested_model": "chat-model",
            "assigned_model": NAME,
            "served_model": NAME,
            "started_at": NOW,
            **changes,
        }
    )


def end(outcome: Outcome = Outcome.OK, **changes: Any) -> CallEnd:
    return CallEnd(outcome=outcome, ended_at=NOW + timedelta(seconds=2), **changes)


# --- a call ---


def test_a_call_is_there_before_it_ends():
    call = ModelCall.objects.get(pk=services.open_call(start()))

    assert (call.outcome, call.ended_at, call.cost_usd, call.input_tokens) == ("running", None, None, None)


def test_a_call_ends_with_all_that_is_known_of_it():
    call_id = services.open_call(start())

    closed = services.close_call(
        call_id,
        end(
            ttft_ms=120,
            latency_ms=900,
            usage=Usage(input_tokens=10, output_tokens=20, cached_tokens=3, reasoning_tokens=4),
            cost_usd=Decimal("0.000001"),
            baseline_cost_usd=Decimal("0.00001"),
            upstream_model="m" * 300,
            finish_reason="stop",
            error_detail="e" * 400,
        ),
    )

    assert closed
    call = ModelCall.objects.get(pk=call_id)
    assert (call.outcome, call.ttft_ms, call.latency_ms) == ("ok", 120, 900)
    assert (call.input_tokens, call.output_tokens, call.cached_tokens, call.reasoning_tokens) == (10, 20, 3, 4)
    assert (call.cost_usd, call.baseline_cost_usd) == (Decimal("0.000001"), Decimal("0.00001"))
    assert (len(call.upstream_model), len(call.error_detail)) == (200, 300)


def test_a_call_ends_once():
    call_id = services.open_call(start())

    assert services.close_call(call_id, end(Outcome.CANCELLED))
    assert not services.close_call(call_id, end(Outcome.OK, ttft_ms=5))
    call = ModelCall.objects.get(pk=call_id)
    assert (call.outcome, call.ttft_ms) == ("cancelled", None)


def test_one_attempt_is_one_row():
    answer_id = uuid4()
    services.open_call(start(answer_id=answer_id))
    services.open_call(start(answer_id=answer_id, attempt=2))

    with pytest.raises(IntegrityError):
        services.open_call(start(answer_id=answer_id))


def test_what_a_dead_process_left_is_abandoned_and_the_living_goes_on():
    old = ModelCallFactory(running=True, started_at=NOW - timedelta(minutes=10))
    dead = ModelCallFactory(running=True, started_at=NOW)
    living = ModelCallFactory(running=True, started_at=NOW)
    done = ModelCallFactory(started_at=NOW - timedelta(minutes=10))

    answers = services.abandon_calls(
        now=NOW, started_before=NOW - timedelta(minutes=5), answer_ids=[dead.answer_id, done.answer_id]
    )

    assert set(answers) == {old.answer_id, dead.answer_id}
    found = {call.pk: (call.outcome, call.ended_at) for call in ModelCall.objects.all()}
    assert found[old.pk] == found[dead.pk] == ("abandoned", NOW)
    assert found[living.pk] == ("running", None)
    assert found[done.pk][0] == "ok"


# --- ratings ---


def test_a_rating_counts_for_the_first_attempt_and_can_be_taken_back():
    first = ModelCallFactory(candidate=True, failed=True)
    ModelCallFactory(candidate=True, answer_id=first.answer_id, attempt=2)

    services.rate(first.answer_id, 4)
    assert list(ModelCall.objects.order_by("attempt").values_list("rating", flat=True)) == [4, None]
    assert (health().candidate.ratings, health().candidate.rating_mean) == (1, 4)

    services.rate(first.answer_id, None)
    assert (health().candidate.ratings, health().candidate.rating_mean) == (0, None)


@pytest.mark.parametrize("rating", [0, 6, -1])
def test_a_rating_is_1_to_5(rating):
    call = ModelCallFactory()

    with pytest.raises(ValueError, match="1 to 5"):
        services.rate(call.answer_id, rating)
    with pytest.raises(IntegrityError):
        ModelCall.objects.update(rating=rating)


# --- an arm's health ---


def test_without_calls_nothing_is_known():
    found = health()

    assert found.candidate == found.baseline == ArmHealth()
    arm = found.candidate
    assert (arm.error_percent, arm.ttft_mean_ms, arm.saved_percent) == (None, None, None)
    assert (arm.saved_usd, arm.known_cost_usd) == (Decimal(0), Decimal(0))
    assert (found.requests, found.expected_candidate, found.other) == (0, Decimal(0), {})


def test_requests_are_first_attempts_and_money_counts_every_attempt():
    first = ModelCallFactory(
        candidate=True, unit="ada", outcome="error", cost_usd=Decimal("0.0001"), baseline_cost_usd=Decimal("0.001")
    )
    ModelCallFactory(
        candidate=True,
        unit="ada",
        answer_id=first.answer_id,
        attempt=2,
        served_model="chat-model",
        cost_usd=Decimal("0.002"),
        baseline_cost_usd=Decimal("0.002"),
    )
    ModelCallFactory(candidate=True, unit="ada", cost_usd=Decimal("0.0004"), baseline_cost_usd=Decimal("0.004"))

    arm = health().candidate
    assert (arm.requests, arm.people, arm.fallbacks) == (2, 1, 1)
    assert arm.outcomes == {"error": 1, "ok": 1}
    assert arm.error_percent == 50
    assert (arm.input_tokens, arm.output_tokens) == (900, 600)
    assert arm.cost_usd == Decimal("0.0025")
    assert arm.saved_usd == Decimal("0.0045")
    assert arm.saved_percent == pytest.approx(100 * 0.0045 / 0.007)


def test_a_persons_own_stop_counts_for_nobody_and_a_running_call_not_yet():
    for outcome in ("ok", "ok", "error", "timeout", "refused", "empty", "abandoned"):
        ModelCallFactory(outcome=outcome)
    ModelCallFactory.create_batch(3, outcome="cancelled")
    ModelCallFactory(running=True)

    arm = health().baseline
    assert (arm.requests, arm.judged, arm.errors) == (11, 7, 5)
    assert arm.error_percent == pytest.approx(500 / 7)


def test_latency_is_that_of_calls_that_gave_text():
    ModelCallFactory(ttft_ms=100, latency_ms=1000)
    ModelCallFactory(ttft_ms=300, latency_ms=2000)
    ModelCallFactory(failed=True, latency_ms=60_000)

    arm = health().baseline
    assert (arm.ttft_n, arm.ttft_mean_ms, arm.latency_mean_ms) == (2, 200, 1500)


def test_what_was_answered_at_an_unknown_price_is_counted_and_saves_nothing_that_we_know():
    ModelCallFactory(candidate=True, cost_usd=None, baseline_cost_usd=Decimal("0.004"))
    ModelCallFactory(candidate=True, failed=True)

    arm = health().candidate
    assert arm.cost_unknown == 1
    assert (arm.known_cost_usd, arm.saved_usd, arm.saved_percent) == (None, None, None)

    ModelCallFactory(candidate=True)

    arm = health().candidate
    assert arm.cost_unknown == 1
    assert arm.known_cost_usd == Decimal("0.0004")
    assert arm.saved_usd == Decimal("0.0036")
    assert arm.saved_percent == 90


def test_a_candidate_whose_baseline_has_no_price_saves_nobody_knows_what():
    ModelCallFactory(candidate=True, baseline_cost_usd=None)

    assert (health().candidate.saved_usd, health().candidate.known_cost_usd) == (None, Decimal("0.0004"))


def test_a_dearer_candidate_saves_less_than_nothing():
    ModelCallFactory(candidate=True, cost_usd=Decimal("0.006"))

    assert health().candidate.saved_usd == Decimal("-0.002")
    assert health().candidate.saved_percent == -50


def test_only_the_percentage_traffic_enters_the_arms_and_the_rest_is_counted_apart():
    ModelCallFactory(candidate=True)
    for reason in ("tester", "manual", "everyone", "everyone"):
        call = ModelCallFactory(candidate=True, reason=reason)
    ModelCallFactory(candidate=True, reason="everyone", answer_id=call.answer_id, attempt=2)
    ModelCallFactory(reason="disabled")

    found = health()
    assert (found.candidate.requests, found.baseline.requests) == (1, 0)
    assert found.other == {"tester": 1, "manual": 1, "everyone": 2, "disabled": 1}


def test_what_was_expected_follows_the_percentage_at_each_request():
    ModelCallFactory.create_batch(20, percent=Decimal(5))
    ModelCallFactory.create_batch(10, candidate=True, percent=Decimal("12.5"))

    assert health().expected_candidate == Decimal("2.25")


def test_a_window_begins_with_its_first_moment_and_ends_before_its_last():
    ModelCallFactory(started_at=NOW - timedelta(hours=1))
    ModelCallFactory(started_at=NOW)
    ModelCallFactory(rollout="another")
    ModelCallFactory(rollout="", arm="", reason="not_in_rollout")

    assert health().requests == 1
