"""Server-sent events as vendors send them: the data of each line. Knows no vendor and no SDK.

Source: the HTML standard, "Server-sent events". Vendors send each event's data in one line, so that lines are enough.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from chat.providers.base import ProviderUnavailable

# One event of a stream is a few hundred bytes; a line longer than this is no event.
MAX_LINE_BYTES = 1 << 20
# For the rest of a stream that has said all.
SILENCE_S = 1.0


class Reads:
    """A body as it comes. Once ``is_whole`` says that nothing is missing, a silence raises TimeoutError; before that,
    whoever reads has deadlines, and none is set here for each read.
    """

    def __init__(self, chunks: AsyncIterator[bytes], is_whole: Callable[[], bool]) -> None:
        self._chunks = chunks
        self._is_whole = is_whole

    def __aiter__(self) -> "Reads":
        return self

    def __anext__(self) -> Awaitable[bytes]:
        return self._soon() if self._is_whole() else anext(self._chunks)

    async def _soon(self) -> bytes:
        async with asyncio.timeout(SILENCE_S):
            return await anext(self._chunks)


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
