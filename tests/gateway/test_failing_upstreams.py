"""Upstreams that fail, hang or have no place left, at /v1 and on the page: real servers, a real Redis."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx2
import openai
import pytest
from django.conf import settings
from django.utils import timezone

from chat import capacity
from chat.admission import breakers
from chat.models import BreakerChange, Message
from gateway.keys import create_key
from metrics.models import ModelCall
from metrics.reading import health
from metrics.rollup import roll_up
from rollout.changes import Actor, change_rollout
from tests.chat.factories import UserFactory
from tests.chat.test_answers import ask, post, read_events, visitor  # noqa: F401

STAFF = Actor(name="test", source="cli")
HELLO: Any = [{"role": "user", "content": "Hello"}]
FACTS = ("arm", "reason", "model", "fallback")


@pytest.fixture(autouse=True)
def _quick_to_open(settings: Any) -> None:
    settings.BREAKER_FAILURES, settings.BREAKER_ATTEMPTS = 3, 6


@pytest.fixture
def client(live_app: str) -> Iterator[openai.OpenAI]:
    _key, text = create_key(name="shop", owner=UserFactory(username="shop"))
    with openai.OpenAI(base_url=f"{live_app}/v1", api_key=text, max_retries=0) as sdk:
        yield sdk


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Turns the breakers' clock on."""

    def turn(seconds: float) -> None:
        now = breakers._clock()
        monkeypatch.setattr(breakers, "_clock", lambda: now + seconds)

    return turn


def share(percent: int) -> None:
    change_rollout("gemini-flash-lite", {"percent": percent}, actor=STAFF)


def misbehave(vendor: str, **changes: float) -> None:
    url = f"{settings.GEMINI_BASE_URL}/_simulator/behaviour"
    httpx2.put(url, json={vendor: changes}, trust_env=False).raise_for_status()


def requests_to(vendor: str) -> int:
    counts = httpx2.get(f"{settings.GEMINI_BASE_URL}/_simulator/counts", trust_env=False).json()
    return int(counts[vendor]["requests"])


def complete(client: openai.OpenAI) -> dict[str, str]:
    """What Sluice says of a request that was answered."""
    raw = client.chat.completions.with_raw_response.create(model="chat-model", messages=HELLO)
    assert raw.parse().choices[0].message.content
    return {name: raw.headers[f"x-sluice-{name}"] for name in FACTS}


def refusal(client: openai.OpenAI) -> tuple[int, Any, int]:
    with pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(model="chat-model", messages=HELLO)
    return raised.value.status_code, raised.value.code, int(raised.value.response.headers["retry-after"])


def states() -> list[tuple[str, str]]:
    return list(BreakerChange.objects.order_by("id").values_list("upstream", "state"))


@contextmanager
def hanging(client: openai.OpenAI, vendor: str) -> Iterator[None]:
    """A request that its vendor keeps waiting, and that is let go at the end."""
    misbehave(vendor, ttft_ms=60_000)
    before = requests_to(vendor)
    url, body = httpx2.URL(str(client.base_url)), json.dumps({"model": "chat-model", "messages": HELLO})
    with socket.create_connection((url.host, url.port or 80)) as line:
        line.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {client.api_key}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        until(lambda: requests_to(vendor) == before + 1)
        misbehave(vendor, ttft_ms=5)
        yield
    until(lambda: not capacity.answers.running)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


# --- a candidate that fails ---


def test_a_failing_candidate_is_left_alone_and_its_people_are_answered_by_the_baseline(client, later):
    share(100)
    misbehave("gemini", error_rate=1.0)
    fallen_back = {"arm": "candidate", "reason": "percentage", "model": "chat-model", "fallback": "true"}
    assert [complete(client) for _ in range(3)] == [fallen_back] * 3
    asked = requests_to("gemini")
    assert asked == 3

    spared = {"arm": "candidate", "reason": "breaker_open", "model": "chat-model", "fallback": "true"}
    assert [complete(client) for _ in range(4)] == [spared] * 4

    assert requests_to("gemini") == asked
    until(lambda: not ModelCall.objects.filter(outcome="running").exists())
    rows = ModelCall.objects.filter(reason="breaker_open")
    assert set(rows.values_list("arm", "assigned_model", "served_model", "attempt", "outcome")) == {
        ("candidate", "gemini-flash-lite", "chat-model", 1, "ok")
    }
    assert rows.count() == 4
    assert states() == [("gemini-flash-lite", "open")]

    misbehave("gemini", error_rate=0.0)
    later(settings.BREAKER_COOL_DOWN_S)
    back = {"arm": "candidate", "reason": "percentage", "model": "gemini-flash-lite", "fallback": "false"}
    assert [complete(client) for _ in range(3)] == [back] * 3
    assert [state for _, state in states()] == ["open", "half_open", "closed"]


def test_a_probe_that_fails_costs_nobody_an_answer_and_one_request_to_the_vendor(client, later):
    share(100)
    misbehave("gemini", error_rate=1.0)
    for _ in range(3):
        complete(client)
    later(settings.BREAKER_COOL_DOWN_S)
    asked = requests_to("gemini")

    reasons = [complete(client)["reason"] for _ in range(4)]

    assert reasons == ["breaker_open", "percentage", "breaker_open", "breaker_open"]
    assert requests_to("gemini") == asked + 1
    assert [state for _, state in states()] == ["open", "half_open", "open"]


def test_on_the_page_too_the_baseline_answers_for_a_failing_candidate(visitor):  # noqa: F811
    share(100)
    misbehave("gemini", error_rate=1.0)
    for _ in range(4):
        answer = ask(visitor)
        assert read_events(visitor, answer["reply"])[-1][2]["state"] == "complete"

    assert requests_to("gemini") == 3
    call = ModelCall.objects.get(reason="breaker_open")
    assert (call.arm, call.assigned_model, call.served_model) == ("candidate", "gemini-flash-lite", "chat-model")
    assert Message.objects.get(id=call.answer_id).served_model == "chat-model"


def test_requests_that_a_breaker_sent_elsewhere_are_counted_apart_and_decide_nothing(client):
    share(100)
    misbehave("gemini", error_rate=1.0)
    for _ in range(5):
        complete(client)
    until(lambda: not ModelCall.objects.filter(outcome="running").exists())
    now = timezone.now()
    roll_up(now=now)

    found = health(rollout="gemini-flash-lite", since=now - timedelta(hours=1), until=now)

    assert (found.candidate.sums.requests, found.candidate.sums.outcomes) == (3, {"error": 3})
    assert found.other == {"breaker_open": 2}


def test_bad_requests_open_nothing(client):
    share(100)
    misbehave("gemini", error_rate=1.0, error_status=400)
    for _ in range(4):
        assert complete(client)["reason"] == "percentage"

    assert states() == []


# --- a baseline that fails ---


def test_a_failing_baseline_is_not_asked_and_nobody_is_moved_to_the_candidate(client, visitor):  # noqa: F811
    share(0)
    misbehave("openai", error_rate=1.0)
    for _ in range(2):
        with pytest.raises(openai.APIStatusError):
            client.chat.completions.create(model="chat-model", messages=HELLO)
    asked, calls = requests_to("openai"), ModelCall.objects.count()
    assert asked == 3

    status, code, wait_s = refusal(client)
    assert (status, code) == (503, "model_unavailable")
    assert 1 <= wait_s <= settings.BREAKER_COOL_DOWN_S
    answer = post(visitor, "/messages", text="Hello", model="chat-model")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1

    assert (requests_to("openai"), requests_to("gemini")) == (asked, 0)
    assert (ModelCall.objects.count(), Message.objects.count()) == (calls, 0)


def test_a_probe_that_has_begun_to_answer_lets_the_others_in(client, later):
    share(0)
    misbehave("openai", error_rate=1.0)
    for _ in range(2):
        with pytest.raises(openai.APIStatusError):
            complete(client)
    misbehave("openai", error_rate=0.0, tokens_per_s=8, min_words=40, max_words=40)
    later(settings.BREAKER_COOL_DOWN_S)

    with client.chat.completions.create(model="chat-model", messages=HELLO, stream=True) as probe:
        next(iter(probe))
        misbehave("openai", tokens_per_s=500)
        told: list[int] = []
        while (code := status(client)) != 200 and len(told) < 60:
            told.append(code)
            time.sleep(0.05)

        assert code == 200
        assert ModelCall.objects.filter(outcome="running").exists()


def status(client: openai.OpenAI) -> int:
    try:
        return client.chat.completions.with_raw_response.create(model="chat-model", messages=HELLO).status_code
    except openai.APIStatusError as refused:
        return refused.status_code


# --- no place left ---


def test_a_candidate_that_hangs_takes_its_own_places_and_none_of_the_baselines(client, settings):
    settings.UPSTREAM_PLACES, settings.UPSTREAM_QUEUE = 1, 0
    share(100)
    with hanging(client, "gemini"):
        assert complete(client)["reason"] == "breaker_open"
        assert complete(client)["model"] == "chat-model"
        assert requests_to("gemini") == 1

    assert complete(client)["model"] == "gemini-flash-lite"


@pytest.mark.parametrize("queue", [0, 2])
def test_that_we_have_no_place_is_no_failure_of_the_model(client, settings, queue):
    settings.UPSTREAM_PLACES, settings.UPSTREAM_QUEUE = 2, queue
    share(100)
    misbehave("gemini", ttft_ms=1500)

    with ThreadPoolExecutor(12) as crowd:
        list(crowd.map(lambda _n: status(client), range(12)))

    now = timezone.now()
    roll_up(now=now)
    found = health(rollout="gemini-flash-lite", since=now - timedelta(hours=1), until=now)
    assert found.candidate.outcomes == {"ok": found.candidate.requests}
    assert found.candidate.requests > 0
    # Whatever they were turned away by: before their call or at its end.
    assert set(ModelCall.objects.exclude(outcome="ok").values_list("reason", flat=True)) <= {"breaker_open"}
    assert found.other["breaker_open"] > 0


def test_where_the_baseline_has_no_place_left_it_is_said_at_once(client, settings):
    settings.UPSTREAM_PLACES, settings.UPSTREAM_QUEUE = 1, 0
    share(0)
    with hanging(client, "openai"):
        assert refusal(client) == (503, "model_unavailable", 1)


def test_above_the_limit_of_answers_new_ones_are_turned_away(client, visitor, settings):  # noqa: F811
    settings.MAX_RUNNING_ANSWERS = 1
    share(0)
    with hanging(client, "openai"):
        assert refusal(client) == (503, "overloaded", 1)
        answer = post(visitor, "/messages", text="Hello", model="chat-model")
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert answer.json()["error"].startswith("Too many people")
        assert answer.headers["retry-after"] == "1"
        assert not Message.objects.exists()

    assert complete(client)["model"] == "chat-model"
