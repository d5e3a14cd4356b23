"""What every provider adapter promises (chat/providers/base.py), over real HTTP and through the real SDKs."""

from collections.abc import Iterator

import pytest

from chat.providers.base import ChatMessage, ChatRequest, Finished, FinishReason, ToolCall
from metrics.pricing import Usage
from simulator.behaviour import Behaviour, Behaviours
from simulator.upstream import Upstream
from tests.chat.vendors import KEY, PATIENCE_S, Vendor, answer, ask, finished, for_each_vendor, request, text_of
from tests.services import live
from tests.services.faults import INPUT_TOKENS, OUTPUT_TOKENS, TOKENS, UNICODE
from tests.services.faulty_upstream import FaultyUpstream

pytestmark = for_each_vendor


def test_a_good_stream_ends_with_exactly_one_finished_with_usage(vendor: Vendor, faulty: FaultyUpstream) -> None:
    events, error = answer(vendor, faulty.url, ask("ok"))

    assert error is None
    assert text_of(events) == "".join(TOKENS)
    assert finished(events) == Finished(
        finish_reason="stop",
        upstream_model="served-model",
        usage=Usage(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS),
    )


def test_every_turn_and_the_key_reach_the_upstream_once(vendor: Vendor, faulty: FaultyUpstream) -> None:
    answer(vendor, faulty.url, ask("ok", "Zürich 🌍?"))

    (received,) = faulty.requests
    if vendor.name == "openai":
        assert received.headers["authorization"] == f"Bearer {KEY}"
        assert [(turn["role"], turn["content"]) for turn in received.body["messages"]] == [
            ("system", "Be brief."),
            ("user", "Hello"),
            ("assistant", "Hello!"),
            ("user", "Zürich 🌍?"),
        ]
    else:
        assert received.headers["x-goog-api-key"] == KEY
        assert received.body["systemInstruction"]["parts"] == [{"text": "Be brief."}]
        assert [(turn["role"], turn["parts"]) for turn in received.body["contents"]] == [
            ("user", [{"text": "Hello"}]),
            ("model", [{"text": "Hello!"}]),
            ("user", [{"text": "Zürich 🌍?"}]),
        ]


def test_texts_of_one_turn_are_put_together_without_anything_of_ours(vendor: Vendor, faulty: FaultyUpstream) -> None:
    call = ToolCall(id="call_1", name="weather", arguments="{}")
    turns = [
        ChatMessage(role="system", content=("Be br", "ief.")),
        ChatMessage(role="user", content=("Is this one wo", "rd?")),
        ChatMessage(role="assistant", content=("Let me ", "see."), tool_calls=(call,)),
        ChatMessage(role="tool", tool_call_id="call_1", content=('{"sky": "bl', 'ue"}')),
        ChatMessage(role="user", content=("Thanks",)),
    ]

    answer(vendor, faulty.url, request("ok", *turns))

    body = faulty.requests[-1].body
    if vendor.name == "openai":
        contents = [turn["content"] for turn in body["messages"]]
        assert contents == [*([{"type": "text", "text": part} for part in turn.parts] for turn in turns[:-1]), "Thanks"]
    else:
        question, called, result, _ = [turn["parts"] for turn in body["contents"]]
        assert body["systemInstruction"]["parts"] == [{"text": "Be brief."}]
        assert question == [{"text": "Is this one wo"}, {"text": "rd?"}]
        assert called[:2] == [{"text": "Let me "}, {"text": "see."}]
        assert result[0]["functionResponse"]["response"] == {"sky": "blue"}


@pytest.fixture(scope="module")
def simulator_url() -> Iterator[str]:
    quick = Behaviour(ttft_ms=1, tokens_per_s=10_000, jitter=0, min_words=40, max_words=60)
    with live.serving(Upstream(Behaviours(openai=quick, gemini=quick), seed=1), live.reserve_port()) as url:
        yield url


def test_the_simulated_vendor_answers_whole_with_its_whole_usage(vendor: Vendor, simulator_url: str) -> None:
    long_history = "tell me more about tomatoes " * 200
    asked = ChatRequest(
        upstream_model="thinking-model",
        messages=[ChatMessage(role="user", content=long_history), ChatMessage(role="user", content="code please")],
        connect_timeout_s=PATIENCE_S,
    )

    events, error = answer(vendor, simulator_url, asked)

    assert error is None
    text = text_of(events)
    assert "```python" in text
    text_tokens = -(-len(text) // 4)
    assert finished(events) == Finished(
        finish_reason="stop",
        upstream_model="thinking-model",
        usage=Usage(
            input_tokens=len(long_history) // 4 + 3,
            output_tokens=text_tokens + text_tokens // 2,
            cached_tokens=1280,
            reasoning_tokens=text_tokens // 2,
        ),
    )


def test_text_is_what_was_on_the_wire(vendor: Vendor, faulty: FaultyUpstream) -> None:
    events, error = answer(vendor, faulty.url, ask("p31-unicode"))

    assert error is None
    assert text_of(events) == "".join(UNICODE)
    assert finished(events).finish_reason == "stop"


def test_text_after_the_finish_reason_counts_where_that_is_not_the_end(vendor: Vendor, faulty: FaultyUpstream) -> None:
    events, _ = answer(vendor, faulty.url, ask("p30-text-after-finish-3"))

    # Some of those who speak Gemini's protocol put a reason on each chunk.
    assert text_of(events) == "".join(TOKENS[:3] * (2 if vendor.name == "gemini" else 1))
    assert finished(events).usage == Usage(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS)


@pytest.mark.parametrize(
    ("model", "reason", "tokens"),
    [
        ("p15-empty-text", "stop", 0),
        ("p26-filter-2", "refused", 2),
        ("p28-unknown-finish", "other", 2),
        ("p28-length", "length", 0),
        ("p28-length-2", "length", 2),
    ],
)
def test_an_unusual_end_keeps_the_text_and_says_its_reason(
    vendor: Vendor, faulty: FaultyUpstream, model: str, reason: FinishReason, tokens: int
) -> None:
    events, error = answer(vendor, faulty.url, ask(model))

    assert error is None
    assert text_of(events) == "".join(TOKENS[:tokens])
    assert finished(events).finish_reason == reason
    assert finished(events).usage == Usage(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS)


@pytest.mark.parametrize("model", ["p29-no-usage", "p29-negative-usage", "p29-huge-usage"])
def test_usage_that_makes_no_sense_is_not_known(vendor: Vendor, faulty: FaultyUpstream, model: str) -> None:
    events, error = answer(vendor, faulty.url, ask(model))

    assert error is None
    assert text_of(events) == "".join(TOKENS[:2])
    assert finished(events).usage == Usage()


def test_usage_in_words_keeps_the_text_and_brings_no_numbers(vendor: Vendor, faulty: FaultyUpstream) -> None:
    events, error = answer(vendor, faulty.url, ask("p29-bad-usage"))

    assert text_of(events) == "".join(TOKENS[:2])
    assert error is None
    assert finished(events).usage == Usage()


def test_of_two_usages_the_last_one_counts(vendor: Vendor, faulty: FaultyUpstream) -> None:
    events, _ = answer(vendor, faulty.url, ask("p30-two-usages"))

    assert finished(events).usage == Usage(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS)
