"""A stream that is left alone between reads, as a page does it where very many answers are read at once."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import cast

import pytest

from chat.providers.base import ChatRequest, ProviderUnavailable, StreamEvent, TextDelta
from tests.chat.vendors import PATIENCE_S, Vendor, answer, ask, finished, for_each_vendor, text_of
from tests.services.faults import KEPT, OUTPUT_TOKENS, TOKENS
from tests.services.faulty_upstream import FaultyUpstream

pytestmark = for_each_vendor


def rarely(model: str, rest_s: float) -> ChatRequest:
    return replace(ask(model), rest_s=lambda: rest_s)


def test_what_comes_meanwhile_is_one_piece(vendor: Vendor, faulty: FaultyUpstream) -> None:
    events, error = answer(vendor, faulty.url, rarely(KEPT, 1.0))

    assert error is None
    assert text_of(events) == "".join(TOKENS)
    assert len([event for event in events if isinstance(event, TextDelta)]) < len(TOKENS)
    end = finished(events)
    assert (end.finish_reason, end.usage.output_tokens) == ("stop", OUTPUT_TOKENS)


def test_the_connection_is_used_again(vendor: Vendor, faulty: FaultyUpstream) -> None:
    async def ask_twice() -> list[str]:
        async with vendor.adapter(faulty.url) as provider:
            return [text_of([event async for event in provider.stream(rarely(KEPT, 0.3))]) for _ in range(2)]

    assert asyncio.run(ask_twice()) == ["".join(TOKENS)] * 2
    # Where it is, it is torn down, and the second comes once more on a new one.
    assert len(faulty.requests) == 3


@pytest.mark.parametrize("model", ["p16-cut-3", "p16-reset-3"])
def test_one_that_breaks_off_meanwhile_is_broken(vendor: Vendor, faulty: FaultyUpstream, model: str) -> None:
    events, error = answer(vendor, faulty.url, rarely(model, 0.5))

    assert text_of(events).startswith(TOKENS[0])
    assert isinstance(error, ProviderUnavailable)
    assert error.error_class == "broken_stream"


def test_whoever_leaves_meanwhile_hangs_up(vendor: Vendor, faulty: FaultyUpstream) -> None:
    async def scenario() -> bool:
        async with vendor.adapter(faulty.url) as provider:
            stream = cast("AsyncGenerator[StreamEvent, None]", provider.stream(rarely("p22-drip", PATIENCE_S)))
            # The second read says how quick it is.
            await anext(stream)
            await anext(stream)
            reading = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0.3)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            return await asyncio.to_thread(faulty.requests[-1].hung_up.wait, 1.0)

    assert asyncio.run(scenario())
