"""What a running answer has said, in a Redis stream: one writer appends, any number of readers tail.

Entry ids are ``0-1``, ``0-2``, … so that readers see at once whether something is missing. The log is
a copy for speed: the database holds the text too, and the answer goes on without Redis.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal, cast
from uuid import UUID
from weakref import WeakKeyDictionary

from django.conf import settings
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

Kind = Literal["text", "reasoning", "done"]

WRITE_TIMEOUT_S = 2.0
READ_BLOCK_S = 5.0
# A model says some 100 pieces a second; nobody sees whether they come one by one.
BATCH_S = 0.05
# While a model is silent, a request to stop is looked for this often.
STOP_POLL_S = 0.25

# Connections belong to the event loop that opened them.
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[float, Redis]] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the log. ``seq`` counts from 1."""

    seq: int
    kind: Kind
    text: str


class EventLog:
    """The log of one answer."""

    def __init__(self, answer_id: UUID) -> None:
        self._key = f"sluice:answer:{answer_id}"
        self._stop_key = f"sluice:stop:{answer_id}"
        self._seq = 0
        self._lost = False
        self._unwritten: list[tuple[Kind, str]] = []
        self._fresh = asyncio.Event()
        self.stop_requested = asyncio.Event()

    def say(self, kind: Kind, text: str = "") -> None:
        """Hand an entry to ``keep``, which writes it in a moment."""
        self._unwritten.append((kind, text))
        self._fresh.set()

    async def keep(self) -> None:
        """The writer's side: write what is said, and notice a request to stop, until "done" is said.

        The first entry goes at once, those after it together, every ``BATCH_S``. Once Redis has failed,
        nothing more is written: readers turn to the database.
        """
        done = False
        while not done:
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_POLL_S):
                    await self._fresh.wait()
            self._fresh.clear()
            batch, self._unwritten = self._unwritten, []
            done = any(kind == "done" for kind, _ in batch)
            try:
                await self._write([] if self._lost else batch)
            except (RedisError, OSError) as error:
                self._lost = True
                logger.warning("Event log lost", extra={"key": self._key, "error": type(error).__name__})
            if batch:
                await asyncio.sleep(BATCH_S)

    async def _write(self, batch: Sequence[tuple[Kind, str]]) -> None:
        async with _client(WRITE_TIMEOUT_S).pipeline(transaction=False) as pipe:
            pipe.exists(self._stop_key)
            for kind, pieces in groupby(batch, key=itemgetter(0)):
                self._seq += 1
                entry = {"kind": kind, "text": "".join(text for _, text in pieces)}
                pipe.xadd(self._key, cast("Any", entry), id=f"0-{self._seq}")
            if batch:
                pipe.expire(self._key, settings.EVENT_LOG_TTL_S)
            stop, *_ = await pipe.execute()
        if stop:
            self.stop_requested.set()

    async def read(self, *, after: int) -> Sequence[Entry]:
        """The entries after ``after``; waits up to ``READ_BLOCK_S`` for one. Raises RedisError, OSError."""
        reply: Any = await _client(2 * READ_BLOCK_S).xread({self._key: f"0-{after}"}, block=round(1000 * READ_BLOCK_S))
        return [
            Entry(seq=int(entry_id.split("-")[1]), kind=fields["kind"], text=fields["text"])
            for _key, entries in reply or ()
            for entry_id, fields in entries
        ]

    async def request_stop(self) -> None:
        """Ask the writer, in whichever process it runs, to stop. Raises RedisError, OSError."""
        await _client(WRITE_TIMEOUT_S).set(self._stop_key, "1", ex=settings.EVENT_LOG_TTL_S)


async def close_clients() -> None:
    """Close the running event loop's connections; the next call opens new ones."""
    for client in _clients.pop(asyncio.get_running_loop(), {}).values():
        await client.aclose()


def _client(timeout_s: float) -> Redis:
    of_loop = _clients.setdefault(asyncio.get_running_loop(), {})
    if timeout_s not in of_loop:
        of_loop[timeout_s] = Redis.from_url(
            settings.REDIS_URL,
            decode_responses=True,
            socket_timeout=timeout_s,
            socket_connect_timeout=WRITE_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
    return of_loop[timeout_s]
