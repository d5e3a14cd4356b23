"""Many made-up people at once: who writes when, and over which connections.

Knows people and a pace. Knows no project code.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from types import TracebackType
from typing import Self

import httpx2

from simulator.people import Answer, Memory, Person

READ_S = 60.0
POLL_S = 0.5
# Below uvicorn's five seconds: a connection that the server is about to close is not worth keeping.
KEEPALIVE_S = 2.0


class NobodyAnswers(Exception):
    """The server can't be reached; the text says where."""


class Crowd:
    """``size`` people: those remembered first, then new ones. Use it with ``async with``."""

    def __init__(
        self,
        url: str,
        *,
        size: int,
        rng: random.Random,
        remembered: Sequence[Memory] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._url = url
        self._rng = rng
        # One pool for all, as if behind one router; cookies are each person's own.
        self._transport = httpx2.AsyncHTTPTransport(
            limits=httpx2.Limits(max_connections=None, keepalive_expiry=KEEPALIVE_S)
        )
        memories = [*remembered[:size], *repeat(None, max(0, size - len(remembered)))]
        self.people = [
            Person(number, self._client(), random.Random(rng.getrandbits(64)), clock, memory)
            for number, memory in enumerate(memories)
        ]

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    def _client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            base_url=self._url,
            transport=self._transport,
            trust_env=False,
            timeout=httpx2.Timeout(READ_S, connect=5.0),
            headers={"User-Agent": "simulated-person", "Accept-Language": "en"},
        )

    async def wait_for_server(self, patience_s: float) -> None:
        """Return once the server answers. NobodyAnswers after ``patience_s`` seconds."""
        deadline = time.monotonic() + patience_s
        client = self._client()
        while True:
            try:
                if (await client.get("/")).status_code < 500:
                    return
            except httpx2.TransportError:
                pass
            if time.monotonic() >= deadline:
                raise NobodyAnswers(f"Nothing answers at {self._url}.")
            await asyncio.sleep(POLL_S)

    async def chat(
        self,
        turns: Iterable[int],
        *,
        model: str,
        rate_share: float,
        concurrency: int,
        on_answer: Callable[[Answer], None],
        pause_s: tuple[float, float] = (0.0, 0.0),
        patience_s: float | None = None,
    ) -> None:
        """Have the people of these numbers write, in this order, up to ``concurrency`` at once.

        Between two turns lie ``pause_s`` seconds, from and to. With ``patience_s``, a message that was not
        taken makes its worker wait that long for the server to come back; NobodyAnswers if it does not.
        """
        feed = _Feed(turns, pause_s, self._rng)

        async def work() -> None:
            while (number := await feed.next()) is not None:
                answer = await self.people[number].say(model, rate_share=rate_share)
                on_answer(answer)
                if patience_s is not None and answer.state == "untaken":
                    await self.wait_for_server(patience_s)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(work())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None


class _Feed:
    """Turns, handed out one by one with a pause before each but the first."""

    def __init__(self, turns: Iterable[int], pause_s: tuple[float, float], rng: random.Random) -> None:
        self._turns = iter(turns)
        self._pause_s = pause_s
        self._rng = rng
        self._one = asyncio.Lock()
        self._begun = False

    async def next(self) -> int | None:
        async with self._one:
            if self._begun and self._pause_s[1]:
                await asyncio.sleep(self._rng.uniform(*self._pause_s))
            self._begun = True
            return next(self._turns, None)


def spread(messages: int, people: int, rng: random.Random) -> list[int]:
    """Whose turn it is, ``messages`` times: everybody once as far as it goes, the rest by chance, well shuffled."""
    numbers = list(range(people))
    turns = rng.sample(numbers, min(messages, people))
    turns += rng.choices(numbers, k=messages - len(turns))
    rng.shuffle(turns)
    return turns


def without_end(people: int, rng: random.Random) -> Iterator[int]:
    """Turns by chance, for ever."""
    while True:
        yield rng.randrange(people)
