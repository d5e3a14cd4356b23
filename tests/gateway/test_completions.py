"""The door, through the stock openai SDK and a real server."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from django.conf import settings

from gateway.callers import recorded
from gateway.keys import create_key
from metrics.models import ModelCall
from rollout.changes import Actor, change_rollout
from rollout.services import route
from tests.chat.factories import UserFactory

STAFF = Actor(name="test", source="cli")
HELLO: Any = [{"role": "user", "content": "Hello"}]


def share(percent: int) -> None:
    change_rollout("gemini-flash-lite", {"percent": percent}, actor=STAFF)


@pytest.fixture
def client(live_app: str) -> Iterator[openai.OpenAI]:
    _key, text = create_key(name="shop", owner=UserFactory(username="shop"))
    with openai.OpenAI(base_url=f"{live_app}/v1", api_key=text, max_retries=0) as sdk:
        yield sdk


def call() -> ModelCall:
    """The one that was made, once it has ended."""
    deadline = time.monotonic() + 10
    while ModelCall.objects.filter(outcome="running").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return ModelCall.objects.get(attempt=1)


@pytest.mark.parametrize(
    ("percent", "model", "provider"), [(0, "chat-model", "openai"), (100, "gemini-flash-lite", "gemini")]
)
def test_an_answer_whole(client, percent, model, provider):
    share(percent)

    raw = client.chat.completions.with_raw_response.create(model="chat-model", messages=HELLO, temperature=0.5)
    answer = raw.parse()

    row = call()
    assert (answer.object, answer.model, answer.choices[0].finish_reason) == ("chat.completion", model, "stop")
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert (row.served_model, row.provider, row.outcome, row.surface) == (model, provider, "ok", "v1")
    assert (row.input_tokens, row.output_tokens) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    assert row.cost_usd is not None
    assert {name: raw.headers[f"x-sluice-{name}"] for name in ("call", "arm", "reason", "model", "fallback")} == {
        "call": str(row.answer_id),
        "arm": "candidate" if percent else "baseline",
        "reason": "percentage",
        "model": model,
        "fallback": "false",
    }


@pytest.mark.parametrize("percent", [0, 100])
def test_an_answer_in_pieces(client, percent):
    share(percent)

    chunks = list(
        client.chat.completions.create(
            model="chat-model", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )

    row = call()
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert len(text.split()) >= 20
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert {chunk.id for chunk in chunks} == {f"chatcmpl-{row.answer_id.hex}"}
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (row.input_tokens, row.output_tokens)
    assert row.ttft_ms is not None


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_is_longer_than_we_take_is_cut_and_told_as_such(client, settings, stream):
    settings.MAX_OUTPUT_CHARS = 50

    answer: Any = client.chat.completions.create(model="chat-model", messages=HELLO, stream=stream)

    choices = [chunk.choices[0] for chunk in (answer if stream else [answer])]
    texts = [(choice.delta if stream else choice.message).content or "" for choice in choices]
    assert len("".join(texts)) == 50
    assert choices[-1].finish_reason == "length"
    assert call().error_class == "too_long"


def test_without_being_asked_for_there_is_no_usage_chunk(client):
    chunks = list(client.chat.completions.create(model="chat-model", messages=HELLO, stream=True))

    assert all(chunk.choices for chunk in chunks)


def test_a_unit_gets_the_arm_that_it_has_everywhere(client):
    share(50)
    arms = set()
    for number in range(12):
        unit = f"customer-{number}@example.com"
        header = client.chat.completions.with_raw_response.create(
            model="chat-model", messages=HELLO, extra_headers={"X-Sluice-Unit": unit}
        )
        in_body = client.chat.completions.with_raw_response.create(model="chat-model", messages=HELLO, user=unit)
        expected = route(requested_model="chat-model", unit=unit).arm
        assert header.headers["x-sluice-arm"] == in_body.headers["x-sluice-arm"] == expected
        arms.add(expected)

    assert arms == {"candidate", "baseline"}
    kept = set(ModelCall.objects.values_list("unit", flat=True))
    assert kept == {recorded(f"customer-{number}@example.com") for number in range(12)}
    assert not any("@" in unit for unit in kept)


@pytest.mark.parametrize("unit", ["josé@example.com", "à-la-carte"])
def test_a_name_is_the_same_in_the_header_and_in_the_body(client, live_app, unit):
    ask: Any = {"model": "chat-model", "messages": HELLO}
    headers: Any = {"Authorization": f"Bearer {client.api_key}", "X-Sluice-Unit": unit.encode()}

    httpx2.post(f"{live_app}/v1/chat/completions", json=ask, headers=headers).raise_for_status()
    client.chat.completions.create(**ask, user=unit)

    assert set(ModelCall.objects.values_list("unit", flat=True)) == {recorded(unit)}


def test_the_headers_unit_goes_before_the_bodys_and_the_owners_is_the_last(client):
    person = uuid.uuid4().hex
    client.chat.completions.create(
        model="chat-model", messages=HELLO, user="b", extra_headers={"X-Sluice-Unit": person}
    )
    client.chat.completions.create(model="chat-model", messages=HELLO)

    units = list(ModelCall.objects.order_by("started_at").values_list("unit", flat=True))
    assert units == [person, UserFactory._meta.model.objects.get(username="shop").unit]


# --- when the candidate fails ---


@pytest.mark.parametrize("stream", [False, True])
def test_a_candidate_that_fails_before_text_is_answered_for_by_the_baseline(client, stream):
    share(100)
    misbehave("gemini", error_rate=1.0)

    raw = client.chat.completions.with_raw_response.create(model="chat-model", messages=HELLO, stream=stream)
    answer = raw.parse()
    model = next(iter(answer)).model if stream else answer.model

    call()
    rows = list(ModelCall.objects.order_by("attempt").values_list("served_model", "outcome"))
    assert rows == [("gemini-flash-lite", "error"), ("chat-model", "ok")]
    assert model == "chat-model"
    assert (raw.headers["x-sluice-model"], raw.headers["x-sluice-fallback"]) == ("chat-model", "true")
    assert raw.headers["x-sluice-arm"] == "candidate"


@pytest.mark.parametrize("stream", [False, True])
def test_with_nothing_left_to_try_the_sdk_raises_and_nothing_of_the_vendor_leaks(client, stream):
    share(0)
    misbehave("openai", error_rate=1.0)

    with pytest.raises(openai.InternalServerError) as raised:
        client.chat.completions.create(model="chat-model", messages=HELLO, stream=stream)

    assert raised.value.status_code == 502
    assert raised.value.code == "upstream_unavailable"
    assert raised.value.response.headers["x-sluice-arm"] == "baseline"
    assert "overloaded" not in str(raised.value)


def misbehave(vendor: str, **changes: float) -> None:
    """Tell the simulated vendor, over HTTP, how to behave from the next request on."""
    url = f"{settings.GEMINI_BASE_URL}/_simulator/behaviour"
    httpx2.put(url, json={vendor: changes}, trust_env=False).raise_for_status()


# --- hanging up ---


@pytest.mark.parametrize("stream", [False, True])
def test_who_hangs_up_ends_the_call_upstream_within_a_second(client, live_app, stream):
    body = {"model": "chat-model", "messages": [{"role": "user", "content": "Say it slowly"}], "stream": stream}
    headers = {"Authorization": f"Bearer {client.api_key}"}
    with httpx2.Client(base_url=live_app, headers=headers, timeout=httpx2.Timeout(30, read=0.7)) as impatient:
        if stream:
            with impatient.stream("POST", "/v1/chat/completions", json=body) as response:
                next(response.iter_bytes())
        else:
            with pytest.raises(httpx2.ReadTimeout):
                impatient.post("/v1/chat/completions", json=body)
    gone = time.monotonic()

    row = call()

    assert row.outcome == "cancelled"
    assert time.monotonic() - gone < 5


# --- what is refused ---


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"model": "nope"}, "model", "model_not_found"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "invalid_value"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "messages[0].content[0].type",
            "unsupported_parameter",
        ),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"n": 2}, "n", "unsupported_parameter"),
        ({"logprobs": True}, "logprobs", "unsupported_parameter"),
        ({"logit_bias": {"1": 1}}, "logit_bias", "unsupported_parameter"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"stop": list("abcde")}, "stop", "invalid_value"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "unsupported_parameter"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"base_url": "https://evil.example"}, "base_url", "unsupported_parameter"),
    ],
)
def test_what_is_not_served_is_refused_by_name(client, changes, param, code):
    with pytest.raises(openai.APIStatusError) as raised:
        client.post("/chat/completions", body={"model": "chat-model", "messages": HELLO, **changes}, cast_to=object)

    assert raised.value.status_code == (404 if param == "model" else 400)
    assert (raised.value.param, raised.value.code) == (param, code)
    assert not ModelCall.objects.exists()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"model": NaN}'])
def test_a_body_that_is_no_request_is_refused(client, live_app, body):
    headers = {"Authorization": f"Bearer {client.api_key}"}
    answer = httpx2.post(f"{live_app}/v1/chat/completions", content=body, headers=headers, trust_env=False)

    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer sk-sluice-wrong", "Basic eDp5"])
def test_without_a_live_key_nobody_is_served(live_app, header):
    headers = {} if header is None else {"Authorization": header}
    for method, path in (("POST", "chat/completions"), ("GET", "models")):
        content = (
            b'{"model": "chat-model", "messages": [{"role": "user", "content": "x"}]}' if method == "POST" else b""
        )
        answer = httpx2.request(method, f"{live_app}/v1/{path}", headers=headers, content=content, trust_env=False)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_paths_and_methods_that_are_not_served(live_app):
    for method, path, status in (("GET", "chat/completions", 405), ("POST", "models", 405), ("GET", "files", 404)):
        answer = httpx2.request(method, f"{live_app}/v1/{path}", trust_env=False)
        assert answer.status_code == status
        assert answer.json()["error"]["message"]


def test_the_models_are_listed(client):
    assert [model.id for model in client.models.list()] == ["chat-model", "chat-model-reasoning", "gemini-flash-lite"]
