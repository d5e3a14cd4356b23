"""What running answers have said, in Redis streams, one an answer: its process appends, readers in others tail.

An item holds the entries that were written together, by number and kind, and has the last one's number: ``0-1``,
``0-4``, … The log is a copy for speed: the database holds the text too, and the answer goes on without Redis.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID
from weakref import WeakKeyDictionary

from django.conf import settings
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

Kind = Literal["text", "reasoning", "done"]

WRITE_TIMEOUT_S = 2.0
READ_BLOCK_S = 5.0
# With ten entries a second at most, every few seconds.
_EXPIRE_EVERY = 50

# Connections belong to the event loop that opened them.
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[float, Redis]] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of a log. ``seq`` counts from 1."""

    seq: int
    kind: Kind
    text: str


async def write(batch: Mapping[UUID, Sequence[Entry]], *, stoppable: Sequence[UUID]) -> list[UUID]:
    """Append to the logs; those of ``stoppable`` that somebody asked to stop. Raises RedisError, OSError.

    One round trip. After an error, some of it may have been written.
    """
    async with _client(WRITE_TIMEOUT_S).pipeline(transaction=False) as pipe:
        if stoppable:
            pipe.mget([_stop_key(answer) for answer in stoppable])
        for answer, entries in batch.items():
            fields: dict[Any, Any] = {f"{entry.seq} {entry.kind}": entry.text for entry in entries}
            pipe.xadd(_key(answer), fields, id=f"0-{entries[-1].seq}")
            # A log lives on for as long after its last entry; in between, it is enough to say so now and then.
            if any(entry.seq % _EXPIRE_EVERY == 1 or entry.kind == "done" for entry in entries):
                pipe.expire(_key(answer), settings.EVENT_LOG_TTL_S)
        done = await pipe.execute()
    return [answer for answer, stop in zip(stoppable, done[0], strict=True) if stop] if stoppable else []


async def read(answer: UUID, *, after: int) -> Sequence[Entry]:
    """The entries after ``after``; waits up to ``READ_BLOCK_S`` for one. Raises RedisError, OSError."""
    key = _key(answer)
    reply: Any = await _client(2 * READ_BLOCK_S).xread({key: f"0-{after}"}, block=round(1000 * READ_BLOCK_S))
    found = [
        Entry(seq=int(seq), kind=kind, text=text)
        for _key, items in reply or ()
        for _item_id, fields in items
        for (seq, kind), text in ((name.split(" "), text) for name, text in fields.items())
    ]
    # Of the first item some may have been seen.
    return [entry for entry in found if entry.seq > after]


async def request_stop(answer: UUID) -> None:
    """Ask the writer, in whichever process it runs, to stop. Raises RedisError, OSError."""
    await _client(WRITE_TIMEOUT_S).set(_stop_key(answer), "1", ex=settings.EVENT_LOG_TTL_S)


def _key(answer: UUID) -> str:
    # The number changes with what is kept, so that old and new processes can run side by side.
    return f"sluice:answer:2:{answer}"


def _stop_key(answer: UUID) -> str:
    return f"sluice:stop:{answer}"


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
