"""Tools, pictures and JSON through the door, by either vendor."""

import json
from typing import Any

import openai
import pytest

from gateway.keys import create_key
from rollout.changes import Actor, change_rollout
from tests.chat.factories import UserFactory

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a town",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    },
}
# One pixel.
DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAA"
    "DUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(params=[0, 100], ids=["openai", "gemini"])
def client(live_app: str, request: pytest.FixtureRequest) -> openai.OpenAI:
    change_rollout("gemini-flash-lite", {"percent": request.param}, actor=Actor(name="test", source="cli"))
    _key, text = create_key(name="shop", owner=UserFactory())
    return openai.OpenAI(base_url=f"{live_app}/v1", api_key=text, max_retries=0)


def ask(client: openai.OpenAI, messages: list[Any], **options: Any) -> Any:
    return client.chat.completions.create(model="chat-model", messages=messages, **options)


def test_a_tool_is_called_and_its_result_answered_about(client):
    question: Any = {"role": "user", "content": 'call weather with {"town": "Bern"}'}

    first = ask(client, [question], tools=[WEATHER])

    assert first.choices[0].finish_reason == "tool_calls"
    message = first.choices[0].message
    assert [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls] == [
        ("weather", {"town": "Bern"})
    ]
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": '{"sky": "clear"}'}
    second = ask(client, [question, message.model_dump(exclude_none=True), result], tools=[WEATHER])
    assert second.choices[0].finish_reason == "stop"
    assert second.choices[0].message.content


def test_a_tool_call_comes_in_pieces_that_the_sdk_puts_together(client):
    question: Any = {"role": "user", "content": 'call weather with {"town": "Bern"}'}
    with client.chat.completions.stream(model="chat-model", messages=[question], tools=[WEATHER]) as stream:
        final = stream.get_final_completion()

    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("weather", {"town": "Bern"})
    ]


def test_pictures_arrive(client):
    content: Any = [
        {"type": "text", "text": "How many images do you see?"},
        {"type": "image_url", "image_url": {"url": DOT}},
        {"type": "image_url", "image_url": {"url": DOT}},
    ]
    answer = ask(client, [{"role": "user", "content": content}])

    assert "2" in answer.choices[0].message.content


def test_an_answer_in_json(client):
    schema = {
        "type": "object",
        "properties": {"town": {"type": "string"}},
        "required": ["town"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema, "strict": True}}

    answer = ask(client, [{"role": "user", "content": "A town"}], response_format=wanted)

    assert set(json.loads(answer.choices[0].message.content)) == {"town"}


def test_an_answer_that_is_cut_says_so(client):
    assert ask(client, [{"role": "user", "content": "Hello"}], max_tokens=3).choices[0].finish_reason == "length"
