"""Both adapters, ready to be asked over real HTTP, for the tests of what every adapter promises."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import pytest

from chat.providers.base import (
    ChatMessage,
    ChatRequest,
    Finished,
    Options,
    ProviderError,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from chat.providers.gemini import GeminiProvider
from chat.providers.openai import OpenAIProvider

KEY = "sk-a-key-that-must-stay-secret"
# For what ought to happen at once, however busy the machine is.
PATIENCE_S = 20


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """An adapter to test."""

    name: str

    @asynccontextmanager
    async def adapter(self, url: str, *, key: str = KEY) -> "AsyncIterator[OpenAIProvider | GeminiProvider]":
        provider = (
            OpenAIProvider(api_key=key, base_url=f"{url}/v1")
            if self.name == "openai"
            else GeminiProvider(api_key=key, base_url=url, api_version="v1beta")
        )
        try:
            yield provider
        finally:
            await provider.aclose()


for_each_vendor = pytest.mark.parametrize(
    "vendor", [Vendor(name="openai"), Vendor(name="gemini")], ids=lambda v: v.name
)


def ask(model: str, text: str = "How do I water tomatoes?", *, connect_timeout_s: float = PATIENCE_S) -> ChatRequest:
    messages = [
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="user", content="Hello"),
        ChatMessage(role="assistant", content="Hello!"),
        ChatMessage(role="user", content=text),
    ]
    return ChatRequest(upstream_model=model, messages=messages, connect_timeout_s=connect_timeout_s)


def request(model: str, *messages: ChatMessage, options: Options | None = None) -> ChatRequest:
    """These turns and no others."""
    return ChatRequest(
        upstream_model=model, messages=messages, connect_timeout_s=PATIENCE_S, options=options or Options()
    )


def answer(
    vendor: Vendor, url: str, request: ChatRequest, *, key: str = KEY
) -> tuple[list[StreamEvent], Exception | None]:
    """Everything that came, and what ended it where that was an exception."""

    async def collect() -> tuple[list[StreamEvent], Exception | None]:
        events: list[StreamEvent] = []
        async with vendor.adapter(url, key=key) as provider:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    async for event in provider.stream(request):
                        events.append(event)
            except ProviderError as error:
                return events, error
        return events, None

    return asyncio.run(collect())


def text_of(events: list[StreamEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def calls_of(events: list[StreamEvent]) -> list[ToolCall]:
    """The tool calls, put together from their pieces as OpenAI's SDKs do it."""
    calls: dict[int, ToolCall] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            begun = calls.get(event.index, ToolCall(id="", name="", arguments=""))
            calls[event.index] = ToolCall(
                id=begun.id + event.id, name=begun.name + event.name, arguments=begun.arguments + event.arguments
            )
    return [calls[index] for index in sorted(calls)]


def finished(events: list[StreamEvent]) -> Finished:
    """The one ``Finished``, which comes last."""
    assert [event for event in events if isinstance(event, Finished)] == events[-1:]
    return cast("Finished", events[-1])
