"""Pictures, JSON and options through every provider adapter (chat/providers/base.py), over real HTTP."""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from chat.providers import gemini_request
from chat.providers.base import ChatMessage, ChatRequest, Image, Options, Tool, ToolCall, Unsupported
from chat.providers.gemini import GeminiProvider
from chat.providers.openai import OpenAIProvider, to_document
from simulator.behaviour import Behaviour, Behaviours
from simulator.upstream import Upstream
from tests.chat.vendors import KEY, Vendor, answer, finished, for_each_vendor, request, text_of
from tests.services import live
from tests.services.faulty_upstream import FaultyUpstream

PIXELS = base64.b64encode(b"\x89PNG not really").decode()
DATA_URL = f"data:image/png;base64,{PIXELS}"
HTTPS_URL = "https://example.com/photos/cat.jpeg?size=1"
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "sizes": {"type": "array", "items": {"$ref": "#/$defs/size"}, "minItems": 2},
        "kind": {"enum": ["cat", "dog"]},
        "last_seen": {"type": "null", "default": None},
    },
    "$defs": {"size": {"type": "integer"}},
}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "pet", "strict": True, "schema": SCHEMA}}
TOOL = Tool(name="weather", description="What the sky does", parameters=SCHEMA)
GEMINI = Vendor(name="gemini")
OPENAI = Vendor(name="openai")


@pytest.fixture(scope="module")
def simulator_url() -> Iterator[str]:
    quick = Behaviour(ttft_ms=1, tokens_per_s=10_000, jitter=0, min_words=40, max_words=60)
    with live.serving(Upstream(Behaviours(openai=quick, gemini=quick), seed=1), live.reserve_port()) as url:
        yield url


def user(text: str = "Hello", *images: Image) -> ChatMessage:
    return ChatMessage(role="user", content=(*filter(None, [text]), *images) if images else text)


def with_options(model: str = "ok", **options: Any) -> ChatRequest:
    return request(model, user(), options=Options(**options))


def sent(vendor: Vendor, faulty: FaultyUpstream, asked: ChatRequest) -> Mapping[str, Any]:
    """What reached the upstream."""
    _, error = answer(vendor, faulty.url, asked)
    assert error is None
    body: Mapping[str, Any] = faulty.requests[-1].body
    return body


@for_each_vendor
def test_pictures_of_both_kinds_reach_the_model(vendor: Vendor, simulator_url: str) -> None:
    question = user("How many images do you see?", Image(url=DATA_URL), Image(url=HTTPS_URL))

    events, error = answer(vendor, simulator_url, request("gemini-3", question))

    assert error is None
    assert text_of(events) == "I see 2 images."


@for_each_vendor
def test_an_answer_in_json_fits_its_schema(vendor: Vendor, simulator_url: str) -> None:
    events, error = answer(vendor, simulator_url, with_options("gemini-3", response_format=JSON_SCHEMA))

    assert error is None
    assert json.loads(text_of(events)) == {"name": "some text", "sizes": [1, 1], "kind": "cat", "last_seen": None}


@for_each_vendor
def test_any_json_is_an_object(vendor: Vendor, simulator_url: str) -> None:
    events, error = answer(vendor, simulator_url, with_options("gemini-3", response_format={"type": "json_object"}))

    assert error is None
    assert json.loads(text_of(events)) == {}


@for_each_vendor
def test_a_limit_of_tokens_ends_the_answer_and_says_so(vendor: Vendor, simulator_url: str) -> None:
    events, error = answer(vendor, simulator_url, with_options("gemini-3", max_tokens=5))

    assert error is None
    assert len(text_of(events)) == 20
    assert finished(events).finish_reason == "length"
    assert finished(events).usage.output_tokens == 5


@for_each_vendor
def test_a_stop_word_ends_the_answer_before_it(vendor: Vendor, simulator_url: str) -> None:
    events, error = answer(vendor, simulator_url, with_options("gemini-3", stop=("never there", ".")))

    assert error is None
    assert text_of(events)
    assert "." not in text_of(events)
    assert finished(events).finish_reason == "stop"


@for_each_vendor
def test_what_nobody_asked_for_is_not_sent(vendor: Vendor, faulty: FaultyUpstream) -> None:
    body = sent(vendor, faulty, with_options())

    plain = {"model", "messages", "stream", "stream_options"} if vendor.name == "openai" else {"contents"}
    assert {name for name, value in body.items() if value} == plain


# What each vendor must receive for an option of ours, by its name on the wire. google-genai leaves
# some names below the top as they are in Python; protobuf's JSON takes both spellings.
SENT: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"temperature": 0.0}, {"temperature": 0.0}, {"temperature": 0.0}),
    ({"top_p": 0.5}, {"top_p": 0.5}, {"topP": 0.5}),
    ({"max_tokens": 7}, {"max_completion_tokens": 7}, {"maxOutputTokens": 7}),
    ({"seed": 0}, {"seed": 0}, {"seed": 0}),
    ({"presence_penalty": 0.25}, {"presence_penalty": 0.25}, {"presencePenalty": 0.25}),
    ({"frequency_penalty": -1.0}, {"frequency_penalty": -1.0}, {"frequencyPenalty": -1.0}),
    ({"stop": ("a", "b")}, {"stop": ["a", "b"]}, {"stopSequences": ["a", "b"]}),
    ({"reasoning_effort": "low"}, {"reasoning_effort": "low"}, {"thinkingConfig": {"thinkingLevel": "LOW"}}),
    (
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_object"}},
        {"responseMimeType": "application/json"},
    ),
    (
        {"response_format": JSON_SCHEMA},
        {"response_format": JSON_SCHEMA},
        {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
    ),
    ({"response_format": {"type": "text"}}, {"response_format": {"type": "text"}}, {}),
]


@pytest.mark.parametrize(("options", "openai", "gemini"), SENT, ids=lambda value: next(iter(value), "nothing"))
@for_each_vendor
def test_each_option_arrives_under_the_vendors_name(
    vendor: Vendor, faulty: FaultyUpstream, options: dict[str, Any], openai: dict[str, Any], gemini: dict[str, Any]
) -> None:
    body = sent(vendor, faulty, with_options(**options))

    if vendor.name == "openai":
        assert {name: value for name, value in body.items() if name in openai} == openai
    else:
        assert body.get("generationConfig", {}) == gemini


TOOLS_SENT: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({}, {}, {"mode": "AUTO"}),
    ({"tool_choice": "none"}, {"tool_choice": "none"}, {"mode": "NONE"}),
    ({"tool_choice": "required"}, {"tool_choice": "required"}, {"mode": "ANY"}),
    (
        {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {"mode": "ANY", "allowedFunctionNames": ["weather"]},
    ),
    ({"parallel_tool_calls": True}, {"parallel_tool_calls": True}, {"mode": "AUTO"}),
    ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}, {"mode": "AUTO"}),
]


@pytest.mark.parametrize(("options", "openai", "gemini"), TOOLS_SENT, ids=str)
@for_each_vendor
def test_tools_and_their_choice_arrive_in_the_vendors_words(
    vendor: Vendor, faulty: FaultyUpstream, options: dict[str, Any], openai: dict[str, Any], gemini: dict[str, Any]
) -> None:
    body = sent(vendor, faulty, with_options(tools=(TOOL, Tool(name="clock")), **options))

    described = {"name": "weather", "description": "What the sky does"}
    if vendor.name == "openai":
        functions = [{**described, "parameters": SCHEMA}, {"name": "clock"}]
        assert body["tools"] == [{"type": "function", "function": function} for function in functions]
        assert {name: body[name] for name in ("tool_choice", "parallel_tool_calls") if name in body} == openai
    else:
        (declared,) = body["tools"]
        assert declared == {"functionDeclarations": [{**described, "parametersJsonSchema": SCHEMA}, {"name": "clock"}]}
        assert body["toolConfig"] == {"functionCallingConfig": gemini}


def test_strict_tools_are_held_to_their_schemas(faulty: FaultyUpstream) -> None:
    asked = with_options(tools=(Tool(name="clock", parameters=SCHEMA, strict=True),))

    function = {"name": "clock", "parameters": SCHEMA, "strict": True}
    assert sent(OPENAI, faulty, asked)["tools"] == [{"type": "function", "function": function}]
    assert sent(GEMINI, faulty, asked)["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}


def test_a_server_that_knows_the_older_name_of_the_limit_gets_that() -> None:
    arguments = to_document(with_options(max_tokens=7), max_tokens_name="max_tokens")

    assert arguments["max_tokens"] == 7
    assert "max_completion_tokens" not in arguments


def test_pictures_are_sent_in_each_vendors_words(faulty: FaultyUpstream) -> None:
    images = (Image(url=DATA_URL, detail="low"), Image(url=HTTPS_URL, detail="low"))
    asked = request("ok", user("Look", *images), user("", Image(url=DATA_URL, detail="low")))

    openai = sent(OPENAI, faulty, asked)
    gemini = sent(GEMINI, faulty, asked)

    inline = {"type": "image_url", "image_url": {"url": DATA_URL, "detail": "low"}}
    linked = {"type": "image_url", "image_url": {"url": HTTPS_URL, "detail": "low"}}
    assert [turn["content"] for turn in openai["messages"]] == [
        [{"type": "text", "text": "Look"}, inline, linked],
        [inline],
    ]
    data = {"inlineData": {"data": PIXELS, "mimeType": "image/png"}}
    assert [turn["parts"] for turn in gemini["contents"]] == [
        [{"text": "Look"}, data, {"fileData": {"fileUri": HTTPS_URL, "mimeType": "image/jpeg"}}],
        [data],
    ]
    assert gemini["generationConfig"]["mediaResolution"] == "MEDIA_RESOLUTION_LOW"


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "minimal", {"thinkingBudget": 1024}),
        ("gemini-2.5-pro", "high", {"thinkingBudget": 24576}),
        ("gemini-3.1-flash-lite", "minimal", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3.1-pro", "minimal", {"thinkingLevel": "LOW"}),
        ("gemini-3.1-pro", "medium", {"thinkingLevel": "MEDIUM"}),
    ],
)
def test_effort_is_a_budget_or_a_level_by_the_models_generation(
    model: str, effort: str, thinking: dict[str, object]
) -> None:
    asked = gemini_request.to_document(with_options(model, reasoning_effort=effort))

    assert asked["generationConfig"] == {"thinkingConfig": thinking}


CALL = ToolCall(id="call_1", name="weather", arguments="{}")
BROKEN = ToolCall(id="call_1", name="weather", arguments='{"city": ')
UNSUPPORTED: list[tuple[ChatRequest, str]] = [
    (with_options(seed=2**31), "seed"),
    (with_options(verbosity="low"), "verbosity"),
    (with_options(tools=(TOOL,), tool_choice={"type": "custom", "custom": {"name": "x"}}), "tool_choice"),
    (with_options(tools=(TOOL,), tool_choice="sometimes"), "tool_choice"),
    (with_options(response_format={"type": "grammar"}), "response_format.type"),
    (with_options("gemini-2.5-flash", tools=(TOOL,), response_format=JSON_SCHEMA), "response_format"),
    (with_options(reasoning_effort="none"), "reasoning_effort"),
    (with_options("gemini-2.5-pro", reasoning_effort="none"), "reasoning_effort"),
    (with_options("gemini-2.5-flash", reasoning_effort="endless"), "reasoning_effort"),
    (request("ok", ChatMessage(role="system", content="Tell a joke.")), "messages"),
    (request("ok", ChatMessage(role="assistant", content=(Image(url=DATA_URL),))), "messages[0].content"),
    (request("ok", user(), user("", Image(url="http://example.com/a.png"))), "messages[1].content[0].image_url"),
    (request("ok", user("Hi", Image(url="https://example.com/photo"))), "messages[0].content[1].image_url"),
    (request("ok", user("Hi", Image(url="data:image/png;base64,*"))), "messages[0].content[1].image_url"),
    (
        request("ok", user("Hi", Image(url=DATA_URL, detail="high"), Image(url=DATA_URL))),
        "messages[0].content[2].image_url.detail",
    ),
    (
        request("ok", user(), ChatMessage(role="assistant", tool_calls=(CALL, BROKEN))),
        "messages[1].tool_calls[1].function.arguments",
    ),
    (request("ok", user(), ChatMessage(role="tool", tool_call_id="call_2", content="x")), "messages[1].tool_call_id"),
]


@pytest.mark.parametrize(("asked", "param"), UNSUPPORTED, ids=[param for _, param in UNSUPPORTED])
def test_what_gemini_cant_do_is_named_and_never_sent(faulty: FaultyUpstream, asked: ChatRequest, param: str) -> None:
    with pytest.raises(Unsupported) as refused:
        GeminiProvider(api_key=KEY, base_url=faulty.url, api_version="v1").check(asked)

    assert (refused.value.param, refused.value.code) == (param, "unsupported_parameter")
    assert not refused.value.retryable
    _, error = answer(GEMINI, faulty.url, asked)
    assert isinstance(error, Unsupported)
    assert faulty.requests == []


def test_openai_is_asked_in_its_own_words_and_can_do_all_of_it() -> None:
    for asked, _ in UNSUPPORTED:
        OpenAIProvider(api_key=KEY, base_url="http://127.0.0.1:1/v1").check(asked)
