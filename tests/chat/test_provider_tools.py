"""Tools through every provider adapter (chat/providers/base.py): calls, results and what can break, over real HTTP."""

import asyncio
import json
import time
from collections.abc import Iterator

import pytest

from chat.attempt import Attempt, Deadlines
from chat.providers.base import ChatMessage, Options, ProviderUnavailable, Tool, ToolCall, ToolCallDelta
from chat.providers.gemini_request import join_call_id, split_call_id
from metrics.pricing import Usage
from simulator.behaviour import Behaviour, Behaviours
from simulator.upstream import Upstream
from tests.chat.vendors import PATIENCE_S, Vendor, answer, ask, calls_of, finished, for_each_vendor, request, text_of
from tests.services import live
from tests.services.faults import ARGUMENTS, FAULTS, INPUT_TOKENS, OUTPUT_TOKENS, Ask, Reply
from tests.services.faulty_upstream import FaultyUpstream

MODEL = "gemini-3.1-flash-lite"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool(name="weather", description="What the sky does", parameters=CITY)
CLOCK = Tool(name="clock")


@pytest.fixture(scope="module")
def simulator_url() -> Iterator[str]:
    quick = Behaviour(ttft_ms=1, tokens_per_s=10_000, jitter=0, min_words=40, max_words=60)
    with live.serving(Upstream(Behaviours(openai=quick, gemini=quick), seed=1), live.reserve_port()) as url:
        yield url


def user(text: str) -> ChatMessage:
    return ChatMessage(role="user", content=text)


@for_each_vendor
def test_a_call_its_result_and_the_answer_make_a_round_trip(vendor: Vendor, simulator_url: str) -> None:
    options = Options(tools=(WEATHER, CLOCK))
    question = user('Please call weather with {"city": "Zürich 🌍"}.')

    events, error = answer(vendor, simulator_url, request(MODEL, question, options=options))

    assert error is None
    (call,) = calls_of(events)
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Zürich 🌍"})
    assert call.id.startswith("call_")
    assert text_of(events) == ""
    assert finished(events).finish_reason == "tool_calls"
    assert finished(events).usage.output_tokens

    asked = ChatMessage(role="assistant", tool_calls=(call,))
    result = ChatMessage(role="tool", tool_call_id=call.id, content="sunny")
    events, error = answer(vendor, simulator_url, request(MODEL, question, asked, result, options=options))

    assert error is None
    assert text_of(events) == "The tools said: sunny"
    assert finished(events).finish_reason == "stop"


def test_gemini_gives_one_call_at_a_time_where_that_is_wanted(simulator_url: str) -> None:
    options = Options(tools=(WEATHER, CLOCK), parallel_tool_calls=False)
    question = user('call weather with {"city": "Bern"}, call clock with {"zone": 1}')

    events, error = answer(Vendor(name="gemini"), simulator_url, request(MODEL, question, options=options))

    assert error is None
    assert [call.name for call in calls_of(events)] == ["weather"]
    assert finished(events).finish_reason == "tool_calls"


@for_each_vendor
def test_calls_that_are_made_together_have_their_results_together(vendor: Vendor, simulator_url: str) -> None:
    options = Options(tools=(WEATHER, CLOCK))
    question = user(
        'call weather with {"city": "Bern"}, call clock with {"zone": 1}, call weather with {"city": "Ulm"}'
    )

    events, error = answer(vendor, simulator_url, request(MODEL, question, options=options))

    assert error is None
    calls = calls_of(events)
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("weather", {"city": "Bern"}),
        ("clock", {"zone": 1}),
        ("weather", {"city": "Ulm"}),
    ]
    assert len({call.id for call in calls}) == 3

    asked = ChatMessage(role="assistant", tool_calls=tuple(calls))
    results = [
        ChatMessage(role="tool", tool_call_id=call.id, content=text)
        for call, text in zip(calls, ("rain", "noon", "snow"), strict=True)
    ]
    events, error = answer(vendor, simulator_url, request(MODEL, question, asked, *results, options=options))

    assert error is None
    assert text_of(events) == "The tools said: rain and noon and snow"


@for_each_vendor
def test_a_conversation_that_another_vendor_began_goes_on(vendor: Vendor, simulator_url: str) -> None:
    (other,) = [Vendor(name=name) for name in ("openai", "gemini") if name != vendor.name]
    options = Options(tools=(WEATHER,))
    question = user('call weather with {"city": "Ulm"}')
    events, _ = answer(other, simulator_url, request(MODEL, question, options=options))
    (call,) = calls_of(events)

    asked = ChatMessage(role="assistant", content="One moment.", tool_calls=(call,))
    result = ChatMessage(role="tool", tool_call_id=call.id, content='{"sky": "blue"}')
    events, error = answer(vendor, simulator_url, request(MODEL, question, asked, result, options=options))

    assert error is None
    assert "blue" in text_of(events)


@for_each_vendor
@pytest.mark.parametrize(
    ("choice", "called"),
    [
        (None, []),
        ("auto", []),
        ("none", []),
        ("required", ["weather"]),
        ({"type": "function", "function": {"name": "clock"}}, ["clock"]),
    ],
)
def test_the_choice_of_a_tool_is_kept_to(
    vendor: Vendor, simulator_url: str, choice: str | dict[str, object] | None, called: list[str]
) -> None:
    options = Options(tools=(WEATHER, CLOCK), tool_choice=choice)

    events, error = answer(vendor, simulator_url, request(MODEL, user("Hello"), options=options))

    assert error is None
    assert [call.name for call in calls_of(events)] == called
    assert (finished(events).finish_reason == "tool_calls") is bool(called)


@for_each_vendor
def test_calls_in_pieces_are_whole_in_the_end_with_their_usage(vendor: Vendor, faulty: FaultyUpstream) -> None:
    events, error = answer(vendor, faulty.url, ask("p33-calls"))

    assert error is None
    assert [(call.id, call.name, json.loads(call.arguments)) for call in calls_of(events)] == [
        ("call_0", "weather", json.loads(ARGUMENTS)),
        ("call_1", "weather", json.loads(ARGUMENTS)),
    ]
    assert finished(events).finish_reason == "tool_calls"
    assert finished(events).usage == Usage(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS)


@for_each_vendor
def test_broken_arguments_are_handed_on_as_the_model_wrote_them_or_are_a_fault(
    vendor: Vendor, faulty: FaultyUpstream
) -> None:
    events, error = answer(vendor, faulty.url, ask("p33-broken-arguments"))

    if vendor.name == "openai":
        assert error is None
        assert [call.arguments for call in calls_of(events)] == ['{"city": "Zür']
    else:
        # On Gemini's wire arguments are an object.
        assert isinstance(error, ProviderUnavailable)
        assert error.error_class == "bad_chunk"


@for_each_vendor
def test_a_stream_that_breaks_in_the_middle_of_a_call_fails_as_one_that_has_shown_something(
    vendor: Vendor, faulty: FaultyUpstream
) -> None:
    attempt = Attempt(
        deadlines=Deadlines(first_token_s=PATIENCE_S, idle_s=PATIENCE_S, total_s=PATIENCE_S, max_chars=1000),
        clock=time.monotonic,
    )
    seen: list[ToolCallDelta] = []
    text: list[str] = []

    async def main() -> None:
        async with vendor.adapter(faulty.url) as provider:
            await attempt.run(
                provider, ask("p33-cut-call"), on_text=text.append, on_reasoning=text.append, on_tool_call=seen.append
            )

    asyncio.run(main())

    assert text == []
    assert seen[0].name == "weather"
    assert attempt.outcome == "error"
    # What keeps the baseline, or another try, from answering over it.
    assert attempt.chars > 0
    assert attempt.ttft_ms is not None


def piece(arguments: str, name: str = "", **parts: str) -> dict[str, object]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **parts}


@pytest.mark.parametrize(
    "pieces",
    [
        [[piece("{}", "weather", id="a")], [piece("[]", "clock", id="b")]],
        [[piece("{}", "weather", id="a"), piece("[]", "clock", id="b")]],
        [
            [piece("", "weather", id="a")],
            [piece("{")],
            [piece("}", id="")],
            [piece("[", "clock", id="b")],
            [piece("]")],
        ],
        [[piece("{}", "weather", id=""), piece("[]", "clock", id="")]],
    ],
    ids=["one a chunk", "together", "in pieces", "without ids"],
)
def test_calls_that_are_not_numbered_are_told_apart(
    faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch, pieces: list[list[dict[str, object]]]
) -> None:
    async def unnumbered(reply: Reply, ask: Ask) -> None:
        await reply.start()
        for calls in pieces:
            chunk = {"choices": [{"index": 0, "delta": {"tool_calls": calls}}]}
            await reply.send(b"data: %s\n\n" % json.dumps(chunk).encode())
        await reply.send(*ask.ending("calls"))
        await reply.end()

    monkeypatch.setitem(FAULTS, "unnumbered", unnumbered)

    events, error = answer(Vendor(name="openai"), faulty.url, ask("unnumbered"))

    assert error is None
    assert [(call.name, call.arguments) for call in calls_of(events)] == [("weather", "{}"), ("clock", "[]")]


def test_a_signature_comes_back_from_a_calls_id_bit_by_bit() -> None:
    signature = bytes(range(256))

    call_id = join_call_id("abc", signature)

    assert split_call_id(call_id) == ("abc", signature)
    assert call_id.isascii()
    assert not set(call_id) & set("+/=%&?# ")


@pytest.mark.parametrize("foreign", ["call_abc", "call_a~b~!", "toolu_01~", "~"])
def test_an_id_of_another_models_call_holds_no_signature(foreign: str) -> None:
    assert split_call_id(foreign) == (foreign.removeprefix("call_"), None)


def test_gemini_gets_its_own_id_and_signature_back_and_results_as_objects(faulty: FaultyUpstream) -> None:
    signed = ToolCall(id=join_call_id("g1", b"sig"), name="weather", arguments='{"city_name": "Ulm", "day": null}')
    second = ToolCall(id=join_call_id("g2", None), name="clock", arguments="")
    turns = [
        user("Hello"),
        ChatMessage(role="assistant", content="Let me see.", tool_calls=(signed, second)),
        ChatMessage(role="tool", tool_call_id=signed.id, content='{"sky_now": null}'),
        ChatMessage(role="tool", tool_call_id=second.id, content="[1, 2]"),
    ]

    answer(Vendor(name="gemini"), faulty.url, request("ok", *turns))

    (received,) = faulty.requests
    assert received.body["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"text": "Let me see."},
                {
                    "functionCall": {"id": "g1", "name": "weather", "args": {"city_name": "Ulm", "day": None}},
                    "thoughtSignature": "c2ln",
                },
                {"functionCall": {"id": "g2", "name": "clock", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "g1", "name": "weather", "response": {"sky_now": None}}},
                {"functionResponse": {"id": "g2", "name": "clock", "response": {"output": "[1, 2]"}}},
            ],
        },
    ]


def test_results_have_their_own_functions_name_where_ids_begin_anew_in_each_turn(faulty: FaultyUpstream) -> None:
    turns = [user("Hello")]
    for name in ("weather", "clock"):
        turns.append(ChatMessage(role="assistant", tool_calls=(ToolCall(id="call_0", name=name, arguments="{}"),)))
        turns.append(ChatMessage(role="tool", tool_call_id="call_0", content="1"))

    answer(Vendor(name="gemini"), faulty.url, request("ok", *turns))

    parts = [turn["parts"][0] for turn in faulty.requests[-1].body["contents"][1:]]
    assert [next(iter(part.values()))["name"] for part in parts] == ["weather", "weather", "clock", "clock"]


def test_openai_gets_calls_and_results_in_its_words(faulty: FaultyUpstream) -> None:
    call = ToolCall(id="call_1", name="weather", arguments='{"city": "Ulm"}')
    turns = [
        ChatMessage(role="user", content="Hello", name="ada"),
        ChatMessage(role="assistant", tool_calls=(call,)),
        ChatMessage(role="tool", tool_call_id="call_1", content="sunny"),
    ]

    answer(Vendor(name="openai"), faulty.url, request("ok", *turns))

    (received,) = faulty.requests
    function = {"name": "weather", "arguments": '{"city": "Ulm"}'}
    assert received.body["messages"] == [
        {"role": "user", "content": "Hello", "name": "ada"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "sunny", "tool_call_id": "call_1"},
    ]
