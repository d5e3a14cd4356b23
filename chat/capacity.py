"""How much one process does at once: attempts at one upstream, and answers in all.

An upstream that hangs fills its own places and no others, so that the baseline's are free. Above the limit of answers
new ones are turned away before anything is kept for them. Counts only; knows no upstream, no row and no HTTP.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from weakref import WeakKeyDictionary

from django.conf import settings

from chat.providers.base import NotAsked

# Who waits for a place at an upstream that is full gives up after this, and tries elsewhere.
QUEUE_WAIT_S = 1.0
RETRY_AFTER_S = 1.0


class Overloaded(Exception):
    """There are as many answers as one process may have."""


class Bulkhead:
    """One upstream's places, and a short queue for them. Belongs to one event loop."""

    def __init__(self, *, places: int, queue: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._queue = queue
        self._waiting = 0

    @property
    def is_full(self) -> bool:
        """Whether there is neither a place nor room in the queue."""
        return self._places.locked() and self._waiting >= self._queue

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place. Raises NotAsked where there is none."""
        await self._enter()
        try:
            yield
        finally:
            self._places.release()

    async def _enter(self) -> None:
        if self.is_full:
            raise _full()
        if not self._places.locked():
            await self._places.acquire()
            return
        self._waiting += 1
        try:
            async with asyncio.timeout(QUEUE_WAIT_S):
                await self._places.acquire()
        except TimeoutError:
            raise _full() from None
        finally:
            self._waiting -= 1


_bulkheads: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Bulkhead]] = WeakKeyDictionary()


def bulkhead(key: str) -> Bulkhead:
    """The running event loop's, for the upstream of that model key."""
    of_loop = _bulkheads.setdefault(asyncio.get_running_loop(), {})
    if key not in of_loop:
        of_loop[key] = Bulkhead(places=settings.UPSTREAM_PLACES, queue=settings.UPSTREAM_QUEUE)
    return of_loop[key]


def is_full(key: str) -> bool:
    """Whether the upstream has no place left in this process; from any thread."""
    return any(of_loop[key].is_full for of_loop in list(_bulkheads.values()) if key in of_loop)


class Answers:
    """The answers that this process has taken on. All of them in one event loop's thread."""

    def __init__(self) -> None:
        self.running = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Take one on. Raises Overloaded."""
        if self.running >= settings.MAX_RUNNING_ANSWERS:
            raise Overloaded
        self.add(1)
        try:
            yield
        finally:
            self.add(-1)

    def add(self, count: int) -> None:
        """Count answers that go on by themselves."""
        self.running += count


answers = Answers()


def _full() -> NotAsked:
    return NotAsked("All places at this model are taken.", error_class="bulkhead_full", retry_after_s=RETRY_AFTER_S)
