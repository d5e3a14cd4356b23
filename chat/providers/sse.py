"""Server-sent events as vendors send them: the data of each line. Knows no vendor and no SDK.

Source: the HTML standard, "Server-sent events". Vendors send each event's data in one line, so that lines are enough.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from chat.providers.base import ProviderUnavailable

if TYPE_CHECKING:
    from aiohttp import ClientResponse

    from chat.providers.answer import Answer

# One event of a stream is a few hundred bytes; a line longer than this is no event.
MAX_LINE_BYTES = 1 << 20
# For the rest of a stream that has said all.
SILENCE_S = 1.0


class Reads:
    """A body as it comes. Once nothing of the ``answer`` is missing, a silence raises TimeoutError; before that, who
    reads has deadlines, and none is set here for each read.

    From its first visible text on, a body of which more comes within ``rest_s()`` seconds is left alone for so long
    before each read, and what comes meanwhile is received and read at once: the system holds it, as for a slow reader.
    """

    def __init__(self, response: "ClientResponse", answer: "Answer", rest_s: Callable[[], float]) -> None:
        self._response = response
        self._chunks = response.content.iter_any()
        self._answer = answer
        self._rest_s = rest_s
        self._is_quick = False

    def __aiter__(self) -> "Reads":
        return self

    def __anext__(self) -> Awaitable[bytes]:
        if self._answer.is_whole:
            return self._soon()
        if self._answer.has_text and (rest_s := self._rest_s()):
            return self._later(rest_s)
        return anext(self._chunks)

    async def _soon(self) -> bytes:
        async with asyncio.timeout(SILENCE_S):
            return await anext(self._chunks)

    async def _later(self, rest_s: float) -> bytes:
        if self._is_quick:
            await self._rest(rest_s)
        loop = asyncio.get_running_loop()
        began = loop.time()
        chunk = await anext(self._chunks)
        self._is_quick = loop.time() - began < rest_s
        return chunk

    async def _rest(self, rest_s: float) -> None:
        connection = self._response.connection
        transport = connection.transport if connection is not None else None
        # Its end may be here already, or more than aiohttp wants to hold.
        if transport is not None and transport.is_reading():
            transport.pause_reading()
            try:
                await asyncio.sleep(rest_s)
            finally:
                if not transport.is_closing():
                    transport.resume_reading()


async def data_lines(chunks: AsyncIterator[bytes], vendor: str) -> AsyncIterator[list[bytes]]:
    """The data of the lines that have it, all that one read of the network brought at a time, without blanks around.

    Splits at newlines only: text may hold U+2028, which ``str.splitlines`` would cut at. Raises ProviderUnavailable for
    a line without an end.
    """
    pending = b""
    async for chunk in chunks:
        *lines, pending = (pending + chunk).split(b"\n")
        if len(pending) > MAX_LINE_BYTES:
            raise ProviderUnavailable(f"{vendor} sent a line without an end.", error_class="too_long")
        if data := [line[5:].strip() for line in lines if line.startswith(b"data:")]:
            yield data
    if pending.startswith(b"data:"):
        yield [pending[5:].strip()]
