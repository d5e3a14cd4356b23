"""How often requests were turned away before anything was kept of them, by surface and code; for ``/metrics``.

One count of all processes, in Redis. Turning away must stay cheap, under overload above all: a process gathers for a
second what it tells Redis, and keeps it where that is away. One that is killed loses its last second.
"""

import asyncio
from collections import Counter
from typing import Any

from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError

from chat.breakers import connect
from chat.threads import in_db

GATHER_S = 1.0
_NAME = "sluice:refused"


class Refusals:
    """One process's part of the count. ``note`` and ``flush`` belong into an event loop, ``counted`` into a thread."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._gathered: Counter[str] = Counter()
        self._telling: asyncio.Task[None] | None = None

    def note(self, surface: str, code: str) -> None:
        """One more."""
        self._gathered[f"{surface}:{code}"] += 1
        loop = asyncio.get_running_loop()
        if self._telling is None or self._telling.done() or self._telling.get_loop() is not loop:
            self._telling = loop.create_task(self._tell_soon())

    async def flush(self) -> None:
        """Tell Redis what was gathered; the process ends."""
        if self._telling is not None and self._telling.get_loop() is asyncio.get_running_loop():
            self._telling.cancel()
        await self._tell()

    def counted(self) -> dict[tuple[str, str], int]:
        """All there were, by surface and code; nothing without Redis."""
        try:
            stored: Any = self._redis.hgetall(_NAME)
        except (RedisError, OSError):
            return {}
        counts: dict[tuple[str, str], int] = {}
        for name, count in stored.items():
            surface, _colon, code = name.decode().partition(":")
            counts[surface, code] = int(count)
        return counts

    async def _tell_soon(self) -> None:
        await asyncio.sleep(GATHER_S)
        await self._tell()

    async def _tell(self) -> None:
        gathered, self._gathered = self._gathered, Counter()
        if not await in_db(self._add, gathered):
            # With the next one. There are no more names than codes.
            self._gathered.update(gathered)

    def _add(self, gathered: Counter[str]) -> bool:
        try:
            with self._redis.pipeline() as pipe:
                for name, count in gathered.items():
                    pipe.hincrby(_NAME, name, count)
                pipe.execute()
        except (RedisError, OSError):
            return False
        return True


refusals = Refusals(connect(settings.REDIS_URL))
