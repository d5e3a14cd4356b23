"""What is sent to Gemini, held against its own SDK."""

import asyncio
import re
from dataclasses import replace
from typing import Any

import httpx2
from google import genai
from google.genai import types

from chat.providers import gemini_request
from chat.providers.base import ChatMessage, Image, Options, Tool, ToolCall
from chat.providers.gemini_request import join_call_id
from tests.chat.test_provider_options import DATA_URL, HTTPS_URL, JSON_SCHEMA, TOOL, user
from tests.chat.vendors import KEY, request
from tests.services.faulty_upstream import FaultyUpstream

URL_SAFE = str.maketrans("-_", "+/")


def test_what_gemini_is_sent_is_what_its_sdk_would_send(faulty: FaultyUpstream) -> None:
    call = ToolCall(id=join_call_id("1", b"\xfb\xff signed"), name="weather", arguments='{"city_name": "Ulm"}')
    asked = request(
        "gemini-3.1-pro",
        ChatMessage(role="system", content="Be brief."),
        user("Look", Image(url=DATA_URL, detail="high"), Image(url=HTTPS_URL, detail="high")),
        ChatMessage(role="assistant", content="One moment.", tool_calls=(call, replace(call, id="call_2"))),
        ChatMessage(role="tool", tool_call_id=call.id, content='{"sky_now": "blue"}'),
        ChatMessage(role="tool", tool_call_id="call_2", content="rain"),
        options=Options(
            temperature=0.5,
            top_p=0.25,
            max_tokens=7,
            seed=5,
            presence_penalty=1,
            frequency_penalty=-1,
            stop=("END",),
            reasoning_effort="low",
            response_format=JSON_SCHEMA,
            tools=(TOOL, Tool(name="clock")),
            tool_choice={"type": "function", "function": {"name": "weather"}},
        ),
    )

    ours = gemini_request.to_document(asked)
    theirs = asyncio.run(by_the_sdk(faulty, ours))

    # The SDK mixes its own names with the documented ones; the vendor takes both.
    assert camel(ours) == ours
    assert camel(theirs) == camel(ours)


async def by_the_sdk(faulty: FaultyUpstream, document: dict[str, Any]) -> Any:
    """The body that the SDK sends where it is asked for the same by its own types."""
    config = types.GenerateContentConfig.model_validate(
        {
            **document["generationConfig"],
            **{name: document[name] for name in ("systemInstruction", "tools", "toolConfig")},
            "automaticFunctionCalling": {"disable": True},
        }
    )
    turns = [types.Content.model_validate(turn) for turn in document["contents"]]
    async with httpx2.AsyncClient() as http:
        options = types.HttpOptions(base_url=faulty.url, api_version="v1beta", httpx_async_client=http)
        models = genai.Client(api_key=KEY, vertexai=False, http_options=options).aio.models
        async for _chunk in await models.generate_content_stream(model="ok", contents=turns, config=config):
            pass
    return faulty.requests[-1].body


def camel(value: Any) -> Any:
    """With the documented names, but in what is the caller's own; base64 in its usual letters."""
    if isinstance(value, list):
        return [camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    own = ("args", "response", "parametersJsonSchema", "responseJsonSchema")
    named = {re.sub("_(.)", lambda found: found[1].upper(), name): each for name, each in value.items()}
    return {
        name: each if name in own else each.translate(URL_SAFE) if name == "thoughtSignature" else camel(each)
        for name, each in named.items()
    }


def said_by(*messages: ChatMessage) -> dict[str, Any]:
    return gemini_request.to_document(request("gemini-3.1-pro", *messages))


def test_names_that_tell_nobody_apart_are_left_out() -> None:
    asked = said_by(
        ChatMessage(role="system", content="Be brief.", name="Bob"),
        ChatMessage(role="user", content="Hello", name="user"),
        ChatMessage(role="assistant", content="Hi", name="Bob"),
        ChatMessage(role="user", content="Bye", name="user"),
    )

    assert asked["systemInstruction"]["parts"] == [{"text": "Be brief."}]
    assert [turn["parts"] for turn in asked["contents"]] == [[{"text": "Hello"}], [{"text": "Hi"}], [{"text": "Bye"}]]


def test_names_that_tell_people_apart_stand_before_what_they_say() -> None:
    asked = said_by(
        ChatMessage(role="system", content="Like this:"),
        ChatMessage(role="system", content="2 + 2?", name="example_user"),
        ChatMessage(role="user", content="Hello", name="Ada"),
        ChatMessage(role="user", content=("Look", Image(url=DATA_URL)), name="Bob"),
        ChatMessage(role="user", content="And I?"),
    )

    assert asked["systemInstruction"]["parts"] == [{"text": "Like this:\n\nexample_user: 2 + 2?"}]
    first, second, third = (turn["parts"] for turn in asked["contents"])
    assert first == [{"text": "Ada: "}, {"text": "Hello"}]
    assert second[:2] == [{"text": "Bob: "}, {"text": "Look"}]
    assert third == [{"text": "And I?"}]
