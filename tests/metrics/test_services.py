from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError

from metrics import services
from metrics.models import ModelCall, Outcome
from metrics.pricing import Usage
from metrics.services import CallEnd, CallStart
from tests.metrics.factories import NOW, ModelCallFactory

pytestmark = pytest.mark.django_db

NAME = "gemini-flash-lite"


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
            "run": 1,
            "stretch": 1,
            "provider": "gemini",
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
        started_at=NOW,
    )

    assert closed
    call = ModelCall.objects.get(pk=call_id)
    assert (call.outcome, call.ttft_ms, call.latency_ms) == ("ok", 120, 900)
    assert (call.input_tokens, call.output_tokens, call.cached_tokens, call.reasoning_tokens) == (10, 20, 3, 4)
    assert (call.cost_usd, call.baseline_cost_usd) == (Decimal("0.000001"), Decimal("0.00001"))
    assert (len(call.upstream_model), len(call.error_detail)) == (200, 300)


def test_a_call_ends_once():
    call_id = services.open_call(start())

    assert services.close_call(call_id, end(Outcome.CANCELLED), started_at=NOW)
    assert not services.close_call(call_id, end(Outcome.OK, ttft_ms=5), started_at=NOW)
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

    services.rate(first.answer_id, None)
    assert list(ModelCall.objects.order_by("attempt").values_list("rating", flat=True)) == [None, None]


def test_a_reason_stands_beside_a_bad_rating_and_goes_with_it():
    first = ModelCallFactory(candidate=True, failed=True)
    ModelCallFactory(candidate=True, answer_id=first.answer_id, attempt=2)

    for rating, reason in ((1, "slow"), (3, "other"), (3, ""), (2, "style"), (5, "")):
        services.rate(first.answer_id, rating, reason)
        stored = ModelCall.objects.order_by("attempt").values_list("rating", "rating_reason")
        assert list(stored) == [(rating, reason), (None, "")]

    services.rate(first.answer_id, 1, "slow")
    services.rate(first.answer_id, None)
    assert ModelCall.objects.get(attempt=1).rating_reason == ""


@pytest.mark.parametrize(("rating", "reason"), [(None, "slow"), (4, "slow"), (5, "other"), (1, "boring")])
def test_a_reason_that_does_not_go_with_the_rating_changes_nothing(rating, reason):
    call = ModelCallFactory(rating=2, rating_reason="unsafe", pending=False)

    with pytest.raises(ValueError, match="a known one"):
        services.rate(call.answer_id, rating, reason)

    call.refresh_from_db()
    assert (call.rating, call.rating_reason, call.pending) == (2, "unsafe", False)


@pytest.mark.parametrize("rating", [None, 4, 5])
def test_no_row_holds_a_reason_without_a_bad_rating(rating):
    ModelCallFactory(rating=3, rating_reason="slow")

    with pytest.raises(IntegrityError):
        ModelCall.objects.update(rating=rating)


@pytest.mark.parametrize("rating", [0, 6, -1])
def test_a_rating_is_1_to_5(rating):
    call = ModelCallFactory()

    with pytest.raises(ValueError, match="1 to 5"):
        services.rate(call.answer_id, rating)
    with pytest.raises(IntegrityError):
        ModelCall.objects.update(rating=rating)
