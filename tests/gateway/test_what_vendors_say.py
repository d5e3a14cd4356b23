"""What a vendor says, good or bad, as a program gets it and as it is charged: a scripted vendor behind the real app."""

import json
import socket
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx2
import openai
import pydantic
import pytest
from django.db import OperationalError

from chat import capacity
from chat.admission import breakers
from gateway import asgi, limits
from gateway.keys import create_key
from gateway.models import Spending
from metrics import services
from metrics.models import ModelCall
from rollout.changes import Actor, change_rollout
from tests.chat.factories import UserFactory
from tests.services import live

HELLO: Any = [{"role": "user", "content": "Hello"}]
PNG = "data:image/png;base64,iVBORyBub3QgcmVhbGx5"
JPEG = "data:image/jpeg;base64,/9j/IG5vdCByZWFsbHk="


class Vendor:
    """Speaks as it is told, on either wire: a status, and a document or events; ``None`` among them hangs."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.status = 200
        self.says: dict[str, Any] | list[dict[str, Any] | None] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.asked.append(json.loads(body))
        kind = b"application/json" if isinstance(self.says, dict) else b"text/event-stream"
        await send({"type": "http.response.start", "status": self.status, "headers": [(b"content-type", kind)]})
        for event in self.says if isinstance(self.says, list) else ():
            if event is None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                return
            line = b"data: " + json.dumps(event).encode() + b"\n\n"
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": json.dumps(self.says).encode() if self.status > 200 else b""})


@pytest.fixture
def vendor(live_app: str, _upstream_server: live.Changeable) -> Vendor:
    _upstream_server.app = vendor = Vendor()
    # Nobody is moved to the other vendor by chance.
    share(0)
    return vendor


def client_of(live_app: str, **fields: Any) -> openai.OpenAI:
    _key, text = create_key(name="shop", owner=UserFactory(), **fields)
    return openai.OpenAI(base_url=f"{live_app}/v1", api_key=text, max_retries=0)


@pytest.fixture
def client(live_app: str) -> Iterator[openai.OpenAI]:
    with client_of(live_app) as sdk:
        yield sdk


def share(percent: int) -> None:
    change_rollout("gemini-flash-lite", {"percent": percent}, actor=Actor(name="test", source="cli"))


def ended(count: int = 1) -> list[ModelCall]:
    deadline = time.monotonic() + 10
    while True:
        rows = list(ModelCall.objects.exclude(outcome="running").order_by("started_at"))
        if len(rows) >= count or time.monotonic() > deadline:
            return rows
        time.sleep(0.02)


def openai_says(*deltas: dict[str, Any], finish: str | None = "stop", usage: dict[str, int] | None = None) -> Any:
    events: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    if finish is not None:
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    return [*events, *([{"choices": [], "usage": usage}] if usage else [])]


def gemini_says(text: str, tokens: int) -> dict[str, Any]:
    usage = {"promptTokenCount": 9, "candidatesTokenCount": tokens}
    return {"candidates": [{"content": {"parts": [{"text": text}]}}], "usageMetadata": usage, "modelVersion": "g"}


# --- what a model says when it declines ---

SORRY = [{"role": "assistant", "refusal": "I'm sorry, "}, {"refusal": "I can't."}]


class Reply(pydantic.BaseModel):
    answer: str


def test_a_model_that_declines_is_heard(client, vendor):
    vendor.says = openai_says(*SORRY, usage={"prompt_tokens": 9, "completion_tokens": 7})

    parsed = client.chat.completions.parse(model="chat-model", messages=HELLO, response_format=Reply)
    (choice,) = parsed.choices

    assert (choice.message.refusal, choice.message.content, choice.message.parsed) == (
        "I'm sorry, I can't.",
        None,
        None,
    )
    assert (choice.finish_reason, parsed.usage and parsed.usage.completion_tokens) == ("stop", 7)
    (row,) = ended()
    assert (row.outcome, row.output_tokens) == ("refused", 7)


def test_a_model_that_declines_is_heard_as_it_speaks(client, vendor):
    vendor.says = openai_says(*SORRY)

    with client.chat.completions.stream(model="chat-model", messages=HELLO) as stream:
        said = [event.delta for event in stream if event.type == "refusal.delta"]
        (choice,) = stream.get_final_completion().choices

    assert "".join(said) == choice.message.refusal == "I'm sorry, I can't."
    assert choice.finish_reason == "stop"


def test_a_filter_without_a_word_is_told_as_one(client, vendor):
    vendor.says = openai_says(finish="content_filter")

    (choice,) = client.chat.completions.create(model="chat-model", messages=HELLO).choices

    assert (choice.finish_reason, choice.message.refusal, choice.message.content) == ("content_filter", None, "")


@pytest.mark.parametrize("content", [None, "", [{"type": "refusal", "refusal": "I can't."}]])
def test_what_a_model_declined_goes_back_to_it_as_its_words(client, vendor, content):
    vendor.says = openai_says({"content": "Well."})
    declined: Any = {"role": "assistant", "content": content, "refusal": None if content else "I can't."}

    client.chat.completions.create(model="chat-model", messages=[*HELLO, declined, *HELLO])

    assert vendor.asked[0]["messages"][1] == {"role": "assistant", "content": "I can't."}


def test_what_a_model_said_before_it_declined_goes_back_too(client, vendor):
    vendor.says = openai_says({"content": "Well, "}, *SORRY)
    message = client.chat.completions.create(model="chat-model", messages=HELLO).choices[0].message
    assert (message.content, message.refusal) == ("Well, ", "I'm sorry, I can't.")

    client.chat.completions.create(model="chat-model", messages=[*HELLO, message.to_dict(), *HELLO])

    parts = vendor.asked[1]["messages"][1]["content"]
    assert [part["text"] for part in parts] == ["Well, ", "I'm sorry, I can't."]


# --- what was used ---


@pytest.mark.parametrize("stream", [True, False])
def test_who_hangs_up_leaves_what_the_vendor_says_was_used_so_far(client, live_app, vendor, stream):
    share(100)
    vendor.says = [gemini_says("one ", 1), gemini_says("two ", 2), None]
    body = {"model": "chat-model", "messages": HELLO, "stream": stream}
    headers = {"Authorization": f"Bearer {client.api_key}"}
    with (
        httpx2.Client(base_url=live_app, headers=headers, timeout=httpx2.Timeout(30, read=0.7)) as impatient,
        pytest.raises(httpx2.ReadTimeout),
    ):
        impatient.post("/v1/chat/completions", json=body)

    (row,) = ended()

    assert (row.outcome, row.input_tokens, row.output_tokens) == ("cancelled", 9, 2)
    assert row.cost_usd is not None


def test_what_was_refused_costs_a_key_nothing(live_app, vendor):
    client = client_of(live_app, dollars_per_day=Decimal("0.20"), tokens_per_minute=12_000)
    vendor.status, vendor.says = 400, {"error": {"message": "no", "type": "invalid_request_error"}}

    for _ in range(4):
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="chat-model", messages=HELLO)

    spending = Spending.objects.get()
    assert (spending.spent, spending.reserved) == (0, 0)


def test_a_key_pays_for_all_attempts(live_app, vendor):
    share(100)
    client = client_of(live_app, dollars_per_day=Decimal("1"))
    thought = {"promptTokenCount": 9, "thoughtsTokenCount": 500}
    vendor.says = [{"candidates": [{"finishReason": "STOP"}], "usageMetadata": thought}]

    # What speaks OpenAI's wire can make nothing of that: the baseline fails.
    with pytest.raises(openai.APIStatusError):
        client.chat.completions.create(model="chat-model", messages=HELLO)

    first, *_others = ended(2)
    assert (first.outcome, first.output_tokens) == ("empty", 500)
    assert first.cost_usd is not None
    assert Spending.objects.get().spent >= first.cost_usd * 10**12 > 0


def test_a_key_with_dollars_gets_no_longer_answer_than_is_reserved_for_it(live_app, vendor):
    vendor.says = openai_says({"content": "Hi"})
    client_of(live_app, dollars_per_day=Decimal("1")).chat.completions.create(model="chat-model", messages=HELLO)
    client_of(live_app).chat.completions.create(model="chat-model", messages=HELLO)

    assert [each.get("max_completion_tokens") for each in vendor.asked] == [limits.LONGEST_TOKENS, None]


# --- what a vendor refuses ---


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"param": "temperature", "code": "unsupported_value"}, ("temperature", "unsupported_value")),
        ({"param": "messages", "code": "context_length_exceeded"}, ("messages", "context_length_exceeded")),
        (
            {"param": "tools[0].function.parameters", "code": "invalid_function_parameters"},
            ("tools[0].function.parameters", "invalid_function_parameters"),
        ),
        ({"param": "sk-secret", "code": "sk-secret"}, (None, "upstream_invalid_request")),
        ({"param": "temperature", "code": None}, ("temperature", "upstream_invalid_request")),
    ],
)
def test_what_a_vendor_refuses_is_named_in_known_words(client, vendor, said, told):
    vendor.status, vendor.says = 400, {"error": {"message": "sk-secret", "type": "invalid_request_error", **said}}

    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model="chat-model", messages=HELLO)

    assert (raised.value.param, raised.value.code) == told
    assert "sk-secret" not in str(raised.value)
    assert raised.value.request_id == raised.value.response.headers["x-sluice-call"]


@pytest.mark.parametrize("finish", ["length", "stop"])
@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_without_a_word_is_an_answer(client, vendor, finish, stream):
    usage = {"prompt_tokens": 9, "completion_tokens": 16}
    vendor.says = openai_says({"role": "assistant"}, finish=finish, usage=usage)

    found = client.chat.completions.create(model="chat-model", messages=HELLO, max_tokens=16, stream=stream)

    choices = [chunk.choices[0] for chunk in found if chunk.choices] if stream else [found.choices[0]]
    assert choices[-1].finish_reason == finish
    assert [row.outcome for row in ended()] == ["empty"]


# --- what goes to it ---


@pytest.mark.parametrize("percent", [0, 100])
def test_texts_and_pictures_keep_their_order(client, vendor, percent):
    share(percent)
    vendor.says = [gemini_says("Hi", 1)] if percent else openai_says({"content": "Hi"})
    content: Any = [
        {"type": "text", "text": "First:"},
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "text", "text": "Second:"},
        {"type": "image_url", "image_url": {"url": JPEG}},
    ]

    try:
        client.chat.completions.create(model="chat-model", messages=[{"role": "user", "content": content}])
    except openai.APIStatusError:
        assert percent, "Gemini's answer has no end here"

    parts = vendor.asked[0]["contents"][0]["parts"] if percent else vendor.asked[0]["messages"][0]["content"]
    kinds = [
        part.get("text") or part.get("inlineData", {}).get("mimeType") or part["image_url"]["url"] for part in parts
    ]
    assert kinds == (["First:", "image/png", "Second:", "image/jpeg"] if percent else ["First:", PNG, "Second:", JPEG])


def test_what_nests_too_deeply_is_no_fault_of_the_vendor(client, vendor):
    vendor.says = openai_says({"content": "Hi"})
    schema: dict[str, Any] = {}
    for _ in range(500):
        schema = {"properties": schema}
    tools: Any = [{"type": "function", "function": {"name": "f", "parameters": schema}}]

    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="chat-model", messages=HELLO, tools=tools)

    assert vendor.asked == []
    assert breakers.standing(["chat-model"])["chat-model"].failures == 0


def test_a_models_name_that_no_store_can_hold_is_made_one_that_can(client, vendor):
    vendor.says = [{"model": "a\u0000b\ud800", **event} for event in openai_says({"content": "Hi"})]

    client.chat.completions.create(model="chat-model", messages=HELLO)

    assert [(row.outcome, row.upstream_model) for row in ended()] == [("ok", "a�b�")]


def test_a_database_that_is_away_for_a_moment_costs_no_answer_its_end(client, vendor, monkeypatch):
    vendor.says = openai_says({"content": "Hi"})
    monkeypatch.setattr("chat.threads.END_RETRIES_S", (0.01, 0.01))
    close, tries = services.close_calls, iter(["away", "away"])

    def close_or_fail(rows: Any) -> int:
        if next(tries, None) is not None:
            raise OperationalError("the database is away")
        return close(rows)

    monkeypatch.setattr(services, "close_calls", close_or_fail)
    client.chat.completions.create(model="chat-model", messages=HELLO)

    assert [row.outcome for row in ended()] == ["ok"]


# --- who asks ---


def half_a_request(live_app: str, key: str) -> socket.socket:
    url = httpx2.URL(live_app)
    line = socket.create_connection((url.host, url.port or 80))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
    line.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
    return line


def test_who_sends_half_a_body_takes_nobodys_place_and_does_not_wait_for_ever(
    client, live_app, vendor, settings, monkeypatch
):
    settings.MAX_RUNNING_ANSWERS = 1
    vendor.says = openai_says({"content": "Hi"})
    monkeypatch.setattr(asgi, "BODY_TIMEOUT_S", 0.5)
    with half_a_request(live_app, "sk-sluice-nobody") as line:
        client.chat.completions.create(model="chat-model", messages=HELLO)

        line.settimeout(10)
        assert line.recv(100).startswith(b"HTTP/1.1 408 ")


def test_who_does_not_read_an_answer_keeps_no_place(client, live_app, vendor, settings, monkeypatch):
    settings.MAX_OUTPUT_CHARS = 100_000_000
    monkeypatch.setattr(asgi, "READ_TIMEOUT_S", 0.3)
    vendor.says = openai_says(*({"content": "x" * 1000} for _ in range(8000)))
    url = httpx2.URL(live_app)
    body = json.dumps({"model": "chat-model", "messages": HELLO, "stream": True})
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect((url.host, url.port or 80))
        line.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {client.api_key}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        assert [row.outcome for row in ended()] == ["ok"]

        deadline = time.monotonic() + 10
        while capacity.answers.running and time.monotonic() < deadline:
            time.sleep(0.02)
        assert capacity.answers.running == 0


def test_who_has_no_key_is_told_nothing_of_the_body(live_app, vendor):
    for content in (b"{", b'{"a": [' + b"{}," * 40_000 + b"{}]}"):
        for key in ("sk-sluice-wrong", "wrong"):
            headers = {"Authorization": f"Bearer {key}"}
            answer = httpx2.post(f"{live_app}/v1/chat/completions", content=content, headers=headers, trust_env=False)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


def test_one_model_is_found_by_its_key(client):
    assert client.models.retrieve("chat-model").id == "chat-model"
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("nope")
    assert raised.value.code == "model_not_found"


def test_half_a_character_is_refused_in_a_comment(client, live_app, vendor):
    vendor.says = openai_says({"content": "Hi"})
    call = client.chat.completions.with_raw_response.create(model="chat-model", messages=HELLO).headers["x-sluice-call"]

    answer = httpx2.post(
        f"{live_app}/v1/calls/{call}/feedback",
        content=b'{"rating": 1, "comment": "a\\ud800b"}',
        headers={"Authorization": f"Bearer {client.api_key}"},
        trust_env=False,
    )

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "comment")
