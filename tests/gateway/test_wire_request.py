"""Requests' bodies as they are read: what is understood, and what is refused by name."""

import json
from typing import Any

import pytest

from chat.providers.base import Image
from gateway.errors import ApiError
from gateway.fields import MAX_DEPTH
from gateway.wire_request import Completion, parse_completion

PNG = "data:image/png;base64,iVBORyBub3QgcmVhbGx5"
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f"}}


CALL: dict[str, Any] = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def read(**changes: Any) -> Completion:
    body = {"model": "chat-model", "messages": [{"role": "user", "content": "Hello"}], **changes}
    return parse_completion(json.dumps(body).encode())


def refusal(**changes: Any) -> tuple[str | None, str]:
    with pytest.raises(ApiError) as raised:
        read(**changes)
    assert raised.value.status == 400
    return raised.value.param, raised.value.code


def turn(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", **fields}]}


def part(**fields: Any) -> dict[str, Any]:
    return turn(content=[fields])


def tool(**function: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", **function}}]}


def answered(**call: Any) -> dict[str, Any]:
    return {"messages": [{"role": "assistant", "content": None, "tool_calls": [{**CALL, **call}]}]}


def schema(**changes: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, **changes}}}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        (part(type="text", text="x", cache_control={"type": "ephemeral"}), "messages[0].content[0].cache_control"),
        (part(type="image_url", image_url={"url": PNG, "size": 3}), "messages[0].content[0].image_url.size"),
        (part(type="image_url", image_url={"url": PNG}, alt="x"), "messages[0].content[0].alt"),
        (turn(content="x", extra="y"), "messages[0].extra"),
        ({"tools": [{**TOOL, "cache": 1}]}, "tools[0].cache"),
        (tool(examples=[1]), "tools[0].function.examples"),
        (answered(extra_content={"x": 1}), "messages[0].tool_calls[0].extra_content"),
        (answered(function={"name": "f", "arguments": "{}", "x": 1}), "messages[0].tool_calls[0].function.x"),
        ({"tools": [TOOL], "tool_choice": {**TOOL, "x": 1}}, "tool_choice.x"),
        ({"tools": [TOOL], "tool_choice": {"type": "custom", "function": {"name": "f"}}}, "tool_choice.type"),
        ({"response_format": {"type": "json_object", "x": 1}}, "response_format.x"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "x": 1}}},
            "response_format.json_schema.x",
        ),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"tools": [{**TOOL, "cache": False}]}, "tools[0].cache"),
        (tool(timeout=0), "tools[0].function.timeout"),
        (answered(type="custom"), "messages[0].tool_calls[0].type"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f", "x": 1}}},
            "tool_choice.function.x",
        ),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"store": True}, "store"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"logit_bias": {"50256": -100}}, "logit_bias"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"audio": {"voice": "ash", "format": "mp3"}}, "audio"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
    ],
)
def test_what_is_not_served_is_refused_by_its_path_however_deep(changes, param):
    assert refusal(**changes) == (param, "unsupported_parameter")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_tokens": 5, "max_completion_tokens": 7}, ("max_tokens", "invalid_value")),
        ({"tool_choice": "required"}, ("tool_choice", "invalid_value")),
        ({"tool_choice": TOOL}, ("tool_choice", "invalid_value")),
        (turn(content=None), ("messages[0].content", "missing_required_parameter")),
        (turn(), ("messages[0].content", "missing_required_parameter")),
        (turn(content=[]), ("messages[0].content", "invalid_value")),
        ({"user": "a\u0000b"}, ("user", "invalid_value")),
        ({"safety_identifier": "a\nb"}, ("safety_identifier", "invalid_value")),
        ({"user": "\ud800"}, ("user", "invalid_value")),
        ({"seed": 1 << 63}, ("seed", "invalid_value")),
        ({"parallel_tool_calls": "no"}, ("parallel_tool_calls", "invalid_type")),
        (schema(name=7), ("response_format.json_schema.name", "invalid_type")),
        (schema(name=None), ("response_format.json_schema.name", "invalid_type")),
        (schema(description=7), ("response_format.json_schema.description", "invalid_type")),
        (schema(strict="yes"), ("response_format.json_schema.strict", "invalid_type")),
        (schema(schema=[]), ("response_format.json_schema.schema", "invalid_type")),
        ({"metadata": "a"}, ("metadata", "invalid_type")),
        ({"user": "a\u0085b"}, ("user", "invalid_value")),
        ({"safety_identifier": "x" * 201}, ("safety_identifier", "invalid_value")),
        ({"safety_identifier": 7}, ("safety_identifier", "invalid_type")),
        ({"prompt_cache_key": 7}, ("prompt_cache_key", "invalid_type")),
        (answered(index="first"), ("messages[0].tool_calls[0].index", "invalid_type")),
        (
            {"stream": True, "stream_options": {"include_obfuscation": "no"}},
            ("stream_options.include_obfuscation", "invalid_type"),
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(changes, told):
    assert refusal(**changes) == told


@pytest.mark.parametrize(
    "changes",
    [
        {"service_tier": "auto"},
        {"service_tier": "default"},
        {"modalities": ["text"]},
        {"logit_bias": {}},
        {"metadata": {"a": "b"}},
        {"prompt_cache_retention": "24h"},
        schema(schema=None),
        {"top_logprobs": 0},
        {"functions": None},
        {"function_call": None},
        {"audio": None},
        {"prompt_cache_key": "shop"},
        {"max_tokens": 7, "max_completion_tokens": 7},
        tool(examples=[], notes=None),
        turn(content="x", refusal=None, annotations=[]),
        {"stream": True, "stream_options": {"include_obfuscation": False}},
        {"stream": True, "stream_options": {"include_usage": None}},
        answered(index=0),
        answered(index=1),
        answered(function={"name": "f", "arguments": '{"a": 1}', "parsed_arguments": {"a": 1}}),
        turn(role="assistant", content='{"a": 1}', parsed={"a": 1}, provider_specific_fields={"refusal": None}),
        turn(role="assistant", content=[], tool_calls=[CALL]),
    ],
)
def test_what_changes_nothing_is_taken(changes):
    assert read(**changes).model == "chat-model"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_tokens": 1 << 31}, "max_tokens: It is too large: 2147483647 is the most."),
        ({"max_completion_tokens": 0}, "max_completion_tokens: It must be at least 1."),
        (turn(content=None), "messages[0].content: It is required."),
        (turn(), "messages[0].content: It is required."),
        (turn(content=[]), "messages[0].content: It must not be empty."),
    ],
)
def test_refusals_say_what_is_wrong(changes, told):
    with pytest.raises(ApiError) as raised:
        read(**changes)

    assert raised.value.message == told


@pytest.mark.parametrize("choice", ["none", "auto"])
def test_a_choice_among_no_tools_is_dropped(choice):
    assert read(tool_choice=choice).options.tool_choice is None
    assert read(tool_choice=choice, tools=[TOOL]).options.tool_choice == choice


def test_tools_together_say_nothing_without_tools():
    assert read(parallel_tool_calls=False).options.parallel_tool_calls is None
    assert read(parallel_tool_calls=False, tools=[TOOL]).options.parallel_tool_calls is False


def test_what_is_empty_is_not_handed_on():
    asked = schema(strict=None, x=None)
    asked["response_format"]["x"] = []

    options = read(tools=[TOOL], tool_choice={**TOOL, "custom": None}, **asked).options

    assert options.tool_choice == TOOL
    assert options.response_format == {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}


def test_a_unit_is_the_user_or_who_it_is_called_by_now():
    assert read(safety_identifier="b").unit == "b"
    assert read(user="a", safety_identifier="b").unit == "a"
    assert read(user="Zoë\u00a0👩\u200d🚀").unit == "Zoë\u00a0👩\u200d🚀"


def test_texts_and_pictures_stay_in_their_order():
    content = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": PNG}}]

    (message,) = read(**turn(content=[*content, content[0]])).messages

    assert message.content == ("a", Image(url=PNG), "a")


@pytest.mark.parametrize("kind", ["list", "object"])
def test_what_nests_too_deeply_is_refused(kind):
    def nested(levels: int) -> Any:
        value: Any = {} if kind == "object" else []
        for _ in range(levels - 1):
            value = {"properties": value} if kind == "object" else [value]
        return value

    # Five levels lie around it: the body, the list, the tool, its function and the schema.
    assert read(**tool(parameters={"enum": nested(MAX_DEPTH - 5)})).options.tools
    for levels in (MAX_DEPTH - 4, 900):
        with pytest.raises(ApiError, match="nested too deeply") as raised:
            read(**tool(parameters={"enum": nested(levels)}))
        assert (raised.value.status, raised.value.param, raised.value.code) == (400, "tools", "invalid_json")


def test_a_leaf_is_no_level():
    assert read(**tool(parameters={"enum": json.loads("[" * (MAX_DEPTH - 5) + "1" + "]" * (MAX_DEPTH - 5))}))


def test_what_is_too_deep_to_be_read_is_told_so_too():
    with pytest.raises(ApiError, match="nested too deeply") as raised:
        parse_completion(b'{"tools":' + b"[" * 100_000 + b"]" * 100_000 + b"}")

    assert (raised.value.status, raised.value.code) == (400, "invalid_json")


def test_many_small_things_are_not_deep():
    assert len(read(**turn(content=[{"type": "text", "text": "x"}] * 1000)).messages[0].parts) == 1000
