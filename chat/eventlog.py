"""What a running answer has said, in a Redis stream: one writer appends, any number of readers tail.

Entry ids are ``0-1``, ``0-2``, … so that readers see at once whether something is missing. The log is
a copy for speed: the database holds the text too, and the answer goes on without Redis.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
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
STOP_POLL_S = 0.2
# After an error: soon again, for somebody may be waiting for the stop.
STOP_RETRY_S = 0.5

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

    async def append(self, kind: Kind, text: str = "") -> None:
        """Add an entry. Once Redis has failed, nothing more is written: readers turn to the database."""
        if self._lost:
            return
        self._seq += 1
        try:
            async with _client(WRITE_TIMEOUT_S).pipeline(transaction=False) as pipe:
                pipe.xadd(self._key, {"kind": kind, "text": text}, id=f"0-{self._seq}")
                pipe.expire(self._key, settings.EVENT_LOG_TTL_S)
                await pipe.execute()
        except (RedisError, OSError) as error:
            self._lost = True
            logger.warning("Event log lost", extra={"key": self._key, "error": type(error).__name__})

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

    async def wait_for_stop(self) -> None:
        """Return when somebody has asked to stop."""
        while True:
            await asyncio.sleep(STOP_POLL_S)
            try:
                if await _client(WRITE_TIMEOUT_S).exists(self._stop_key):
                    return
            except (RedisError, OSError):
                await asyncio.sleep(STOP_RETRY_S)


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
