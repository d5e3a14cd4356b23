"""What a key may use."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx2
import openai
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from chat.providers.base import ChatMessage, Options
from gateway import limits
from gateway.errors import ApiError
from gateway.keys import create_key, find_key, revoke_key
from gateway.models import ApiKey, Spending
from gateway.wire_request import Completion
from metrics.pricing import Usage
from tests.chat.factories import UserFactory

NOW = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)
HELLO: Any = [{"role": "user", "content": "Hello"}]
PICO = 10**12


def completion(text: str = "x" * 300, max_tokens: int = 1000) -> Completion:
    return Completion(
        model="chat-model",
        messages=(ChatMessage(role="user", content=text),),
        options=Options(max_tokens=max_tokens),
        stream=False,
        include_usage=False,
        unit="",
    )


def make(**fields: Any) -> ApiKey:
    return create_key(name="shop", owner=UserFactory(), **fields)[0]


def reserve(key: ApiKey, now: datetime = NOW, **what: Any) -> limits.Reservation:
    return limits.reserve(key, completion(**what), ("chat-model", "gemini-flash-lite"), now=now)


def settle(answers: list[limits.Settled]) -> None:
    limits.settle_dollars(answers)
    limits.settle_tokens(answers)


def refused(key: ApiKey, **what: Any) -> ApiError:
    with pytest.raises(ApiError) as raised:
        reserve(key, **what)
    assert raised.value.status == 429
    return raised.value


# --- keys ---


@pytest.mark.django_db
def test_a_key_is_shown_once_and_kept_as_a_digest():
    key, text = create_key(name="shop", owner=UserFactory())

    assert text.startswith("sk-sluice-")
    assert key.prefix == text[:15]
    assert text not in str(list(ApiKey.objects.values()))
    assert find_key(text, now=NOW) == key
    assert find_key(text[:-1], now=NOW) is None


@pytest.mark.django_db
def test_a_key_that_is_revoked_expired_or_of_a_closed_account_is_none():
    ends: list[Callable[[Any], Any]] = [
        lambda key: revoke_key(key, now=NOW),
        lambda key: ApiKey.objects.filter(pk=key.pk).update(expires_at=NOW),
        lambda key: type(key.owner).objects.filter(pk=key.owner_id).update(is_active=False),
    ]
    for end in ends:
        key, text = create_key(name="shop", owner=UserFactory())
        assert find_key(text, now=NOW) == key
        end(key)
        assert find_key(text, now=NOW) is None


@pytest.mark.django_db
def test_the_command_prints_the_key_alone_and_refuses_what_makes_no_sense(capsys):
    UserFactory(username="ada")
    call_command("create_api_key", "ada", "shop", "--models", "chat-model", "--dollars-per-day", "5", "--owner-only")
    text = capsys.readouterr().out.strip()
    key = find_key(text, now=NOW)
    assert key is not None
    kept = (key.name, key.models_allowed, key.dollars_per_day, key.may_name_units)
    assert kept == ("shop", ["chat-model"], Decimal(5), False)

    for wrong in (["nobody", "x"], ["ada", "x", "--models", "nope"], ["ada", "x", "--requests-per-minute", "0"]):
        with pytest.raises(CommandError):
            call_command("create_api_key", *wrong)
    assert ApiKey.objects.count() == 1


# --- requests and tokens a minute ---


@pytest.mark.django_db
def test_requests_a_minute():
    key, other = make(requests_per_minute=2), make(requests_per_minute=2)
    reserve(key)
    reserve(key)

    error = refused(key)
    assert (error.code, error.headers["Retry-After"]) == ("rate_limit_exceeded", "30")
    reserve(other)
    reserve(key, now=NOW + timedelta(seconds=30))


@pytest.mark.django_db
def test_tokens_a_minute_are_reserved_for_the_most_and_settled_for_what_was_used():
    key = make(tokens_per_minute=2500)
    first, second = reserve(key), reserve(key)
    assert first.tokens == second.tokens == 1110
    refused(key)

    settle([(first, [(Usage(input_tokens=80, output_tokens=20), None)])])
    third = reserve(key)
    refused(key)

    # Of what is not known, the most counts; of what was never asked, nothing.
    settle([(second, [(Usage(), None)])])
    refused(key)
    settle([(third, [])])
    reserve(key)


@pytest.mark.django_db
def test_what_is_left_of_a_minute_is_told_as_openai_tells_it():
    key = make(requests_per_minute=10, tokens_per_minute=2500)
    requests = {"X-RateLimit-Limit-Requests": "10", "X-RateLimit-Reset-Requests": "30s"}
    tokens = {"X-RateLimit-Limit-Tokens": "2500", "X-RateLimit-Reset-Tokens": "30s"}
    requests_left, tokens_left = "X-RateLimit-Remaining-Requests", "X-RateLimit-Remaining-Tokens"

    assert reserve(key).headers == {**requests, requests_left: "9", **tokens, tokens_left: "1390"}
    reserve(key)
    # What went beyond took nothing.
    assert refused(key).headers == {"Retry-After": "30", **requests, requests_left: "7", **tokens, tokens_left: "280"}
    assert reserve(make(dollars_per_day=5)).headers == {}
    spent = make(requests_per_minute=10, dollars_per_day=Decimal("0.02"))
    reserve(spent)
    assert refused(spent).headers == {**requests, requests_left: "8"}


@pytest.mark.django_db
def test_a_request_that_is_larger_than_a_limit_is_told_so_and_not_to_wait():
    for limits_of, code in (
        ({"tokens_per_minute": 10}, "rate_limit_exceeded"),
        ({"tokens_per_minute": 5000, "dollars_per_day": Decimal("0.01")}, "insufficient_quota"),
    ):
        error = refused(make(**limits_of))
        assert (error.code, error.param, error.headers) == (code, "max_tokens", {})
        assert "max_tokens" in error.message


# --- dollars a day ---


def sums() -> tuple[Any, Any]:
    row = Spending.objects.get()
    return Decimal(row.spent) / PICO, Decimal(row.reserved) / PICO


@pytest.mark.django_db
def test_dollars_are_reserved_before_and_settled_after():
    key = make(dollars_per_day=Decimal("0.05"))
    first = reserve(key)
    spent, held = sums()
    assert spent == 0
    assert Decimal("0.01") < held < Decimal("0.025")

    settle([(first, [(Usage(input_tokens=1, output_tokens=1), Decimal("0.04"))])])
    assert sums() == (Decimal("0.04"), 0)

    error = refused(key)
    assert (error.code, error.headers) == ("insufficient_quota", {})
    reserve(key, now=NOW + timedelta(hours=12))


@pytest.mark.django_db
def test_answers_that_end_together_are_settled_in_one_statement(django_assert_num_queries):
    key = make(dollars_per_day=Decimal("1"), tokens_per_minute=10**6)
    held = [reserve(key) for _number in range(3)]

    with django_assert_num_queries(1):
        settle([(each, [(Usage(input_tokens=1, output_tokens=1), Decimal("0.01"))]) for each in held])

    assert sums() == (Decimal("0.03"), 0)


@pytest.mark.django_db
def test_a_cost_that_is_not_known_counts_as_reserved():
    key = make(dollars_per_day=Decimal("1"))
    held = reserve(key)

    settle([(held, [(Usage(), None)])])

    assert sums() == (Decimal(held.amount) / PICO, 0)


@pytest.mark.django_db
def test_a_model_without_a_price_is_not_served_to_a_key_with_a_limit_in_dollars(settings):
    settings.CHAT_MODELS = {
        **settings.CHAT_MODELS,
        "odd": {**settings.CHAT_MODELS["chat-model"], "upstream": "no-such-model-9"},
    }
    key = make(dollars_per_day=Decimal("1"))

    with pytest.raises(ApiError) as raised:
        limits.reserve(key, completion(), ("odd", "chat-model"), now=NOW)

    assert (raised.value.status, raised.value.code) == (503, "price_unknown")


@pytest.mark.django_db(transaction=True)
def test_calls_side_by_side_can_not_overspend():
    key = make(dollars_per_day=Decimal("0.10"))
    one = reserve(key)
    most = 100_000_000_000 // one.amount
    taken: list[limits.Reservation] = [one]
    gate = threading.Barrier(4)

    def ask() -> None:
        gate.wait()
        for _ in range(5):
            with suppress(ApiError):
                taken.append(reserve(key))
        connection.close()

    crowd = [threading.Thread(target=ask) for _ in range(4)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()

    assert len(taken) == most < 21
    assert Spending.objects.get().reserved == most * one.amount


# --- through the door ---


def client_of(live_app: str, **fields: Any) -> openai.OpenAI:
    _key, text = create_key(name="shop", owner=UserFactory(), **fields)
    return openai.OpenAI(base_url=f"{live_app}/v1", api_key=text, max_retries=0)


def test_a_spent_limit_is_a_rate_limit_error_of_the_sdk_and_settles_to_what_was_spent(live_app):
    client = client_of(live_app, dollars_per_day=Decimal("0.03"))
    client.chat.completions.create(model="chat-model", messages=HELLO, max_tokens=1500)
    wait_until(lambda: Spending.objects.get().reserved == 0)
    assert 0 < Spending.objects.get().spent < 10**10

    with pytest.raises(openai.RateLimitError) as raised:
        client.chat.completions.create(model="chat-model", messages=HELLO, max_tokens=100_000)

    assert raised.value.code == "insufficient_quota"
    assert Spending.objects.get().reserved == 0


def test_a_key_for_one_model_gets_no_other_and_a_revoked_one_nothing(live_app):
    client = client_of(live_app, models_allowed=["chat-model"])
    assert [model.id for model in client.models.list()] == ["chat-model"]
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="chat-model-reasoning", messages=HELLO)
    client.chat.completions.create(model="chat-model", messages=HELLO)

    revoke_key(ApiKey.objects.get(), now=timezone.now())

    with pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(model="chat-model", messages=HELLO)


def test_answers_and_refusals_say_what_is_left_of_a_limit(live_app):
    client = client_of(live_app, requests_per_minute=2)
    create = client.with_options(max_retries=0).chat.completions.with_raw_response.create

    told: list[Any] = []
    with pytest.raises(openai.RateLimitError) as raised:
        told.extend(create(model="chat-model", messages=HELLO, stream=stream).headers for stream in (False, True) * 3)

    # Before them a minute may have ended.
    assert [headers["x-ratelimit-remaining-requests"] for headers in told[-2:]] == ["1", "0"]
    assert raised.value.response.headers["x-ratelimit-limit-requests"] == "2"


def test_a_key_that_may_not_name_units_is_its_owner(live_app):
    client = client_of(live_app, may_name_units=False)
    with pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(model="chat-model", messages=HELLO, extra_headers={"X-Sluice-Unit": "u"})

    client.chat.completions.create(model="chat-model", messages=HELLO, user="somebody")

    from metrics.models import ModelCall

    assert ModelCall.objects.get().unit == ApiKey.objects.get().owner.unit


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(200):
        if holds():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it did not come to hold")


# --- feedback ---


def test_feedback_is_kept_once_counts_as_a_rating_and_only_its_own_application_may_send_it(live_app):
    from gateway.models import Feedback
    from metrics.models import ModelCall

    client, other = client_of(live_app), client_of(live_app)
    call = client.chat.completions.with_raw_response.create(model="chat-model", messages=HELLO).headers["x-sluice-call"]

    def send(by: openai.OpenAI, **body: Any) -> Any:
        headers = {"Authorization": f"Bearer {by.api_key}"}
        return httpx2.post(f"{live_app}/v1/calls/{call}/feedback", json=body, headers=headers, trust_env=False)

    for _ in range(2):
        answer = send(client, rating="down", reason="incorrect", comment="It is 4.")
        assert answer.json() == {"call": call, "rating": 1, "reason": "incorrect", "comment": "It is 4."}
    row = ModelCall.objects.get()
    assert (row.rating, row.rating_reason, Feedback.objects.get().comment) == (1, "incorrect", "It is 4.")
    assert send(other, rating=5).status_code == 404
    for wrong in (
        {"rating": 6},
        {"rating": True},
        {"reason": "slow"},
        {"rating": 5, "reason": "slow"},
        {"rating": 1, "x": 1},
    ):
        assert send(client, **wrong).status_code == 400
    assert send(client, rating=None).json()["rating"] is None
    row.refresh_from_db()
    assert (row.rating, row.rating_reason) == (None, "")
