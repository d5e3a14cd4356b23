"""Whoever leaves a provider adapter's stream hangs up on the vendor, whichever way they leave."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import cast

import pytest

from chat.providers.base import ProviderUnavailable, StreamEvent
from tests.chat.vendors import Vendor, ask, for_each_vendor
from tests.services.faulty_upstream import FaultyUpstream

# An adapter must have closed its connection by then (rows C01 and P24).
HANG_UP_S = 1.0

pytestmark = for_each_vendor


Leaving = Callable[[AsyncGenerator[StreamEvent, None]], Awaitable[None]]


async def close_with_a_chunk_in_hand(stream: AsyncGenerator[StreamEvent, None]) -> None:
    await anext(stream)
    await stream.aclose()


async def cancel_while_waiting_for_the_next_chunk(stream: AsyncGenerator[StreamEvent, None]) -> None:
    async def read() -> None:
        async for _ in stream:
            waiting.set()

    waiting = asyncio.Event()
    task = asyncio.create_task(read())
    await waiting.wait()
    await asyncio.sleep(0.05)
    await _cancelled(task)


async def cancel_with_a_chunk_in_hand(stream: AsyncGenerator[StreamEvent, None]) -> None:
    async def read() -> None:
        async with aclosing(stream):
            async for _ in stream:
                holding.set()
                await asyncio.Event().wait()

    holding = asyncio.Event()
    task = asyncio.create_task(read())
    await holding.wait()
    await _cancelled(task)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("leave", "model"),
    [
        (close_with_a_chunk_in_hand, "p21-stall-2"),
        (close_with_a_chunk_in_hand, "p22-drip"),
        (close_with_a_chunk_in_hand, "p24-endless"),
        (cancel_while_waiting_for_the_next_chunk, "p21-stall-1"),
        (cancel_with_a_chunk_in_hand, "p21-stall-2"),
        (cancel_with_a_chunk_in_hand, "p22-drip"),
        (cancel_with_a_chunk_in_hand, "p24-endless"),
    ],
)
def test_leaving_a_stream_closes_the_connection_upstream(
    vendor: Vendor, faulty: FaultyUpstream, leave: Leaving, model: str
) -> None:
    async def scenario() -> bool:
        async with vendor.adapter(faulty.url) as provider:
            stream = cast("AsyncGenerator[StreamEvent, None]", provider.stream(ask(model)))
            await leave(stream)
            return await _saw_hang_up(faulty)

    assert asyncio.run(scenario())


@pytest.mark.parametrize("model", ["p20-hang", "p21-stall-0", "p23-comments"])
def test_leaving_before_the_first_token_closes_the_connection_upstream(
    vendor: Vendor, faulty: FaultyUpstream, model: str
) -> None:
    async def scenario() -> bool:
        async with vendor.adapter(faulty.url) as provider:
            stream = cast("AsyncGenerator[StreamEvent, None]", provider.stream(ask(model)))
            task = asyncio.ensure_future(anext(stream))
            await asyncio.to_thread(faulty.wait_for_request)
            await asyncio.sleep(0.1)
            task.cancel()
            # google-genai takes a comment for a broken answer, so that its stream may be over already.
            (end,) = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(end, asyncio.CancelledError | ProviderUnavailable)
            return await _saw_hang_up(faulty)

    assert asyncio.run(scenario())


async def _saw_hang_up(faulty: FaultyUpstream) -> bool:
    return await asyncio.to_thread(faulty.requests[-1].hung_up.wait, HANG_UP_S)
