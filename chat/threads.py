"""Database work from the event loop: a bounded pool of threads that give their connection back.

Django's own ``sync_to_async`` would put the work of every running answer into one thread.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from functools import partial
from typing import Generic, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import DatabaseError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql import base as postgresql

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

logger = logging.getLogger(__name__)

# A database that is away for a moment must not cost an answer its end; after these, the sweeper ends it.
END_RETRIES_S = (0.5, 2.0, 5.0)
# So long a process that ends waits for its answers' last rows.
END_TIMEOUT_S = 10.0
_pool = ThreadPoolExecutor(max_workers=settings.DATABASE_POOL_SIZE, thread_name_prefix="database")


async def in_db(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run ``function`` in a database thread and return, or raise, what it does."""
    return await _in_pool(copy_context(), partial(function, *args, **kwargs))


def _in_pool(context: Context, call: Callable[[], R]) -> "asyncio.Future[R]":
    work = partial(context.run, _with_connection, call)
    return asyncio.get_running_loop().run_in_executor(_pool, work)


def _with_connection(call: Callable[[], R]) -> R:
    try:
        return call()
    except OperationalError:
        for connection in connections.all(initialized_only=True):
            connection.close()
            _look_at_others(connection)
        raise
    finally:
        for connection in connections.all(initialized_only=True):
            _give_back(connection)


def _give_back(connection: BaseDatabaseWrapper) -> None:
    """To the pool, or for good after an error. SQLite has no pool: opening its file costs more than a query."""
    if connection.vendor != "sqlite" or connection.errors_occurred:
        connection.close()


def _look_at_others(connection: BaseDatabaseWrapper) -> None:
    """In its pool: after a restart of PostgreSQL all are dead, and each would fail somebody's work to be found out."""
    if isinstance(connection, postgresql.DatabaseWrapper) and connection.pool is not None:
        connection.pool.check()


async def until_written(write: Callable[[], Awaitable[object]]) -> None:
    """Write an answer's end, again where the database fails, until ``END_RETRIES_S`` are over; the log says so."""
    for pause_s in (*END_RETRIES_S, None):
        try:
            await write()
            return
        except DatabaseError:
            logger.exception("An answer's end was not written")
            if pause_s is not None:
                await asyncio.sleep(pause_s)


class Together(Generic[T, R]):
    """Database work of one kind that is done for many at once: what comes while a batch is at work is the next batch.

    Nobody waits for others to come; under load a batch grows, and what each item costs shrinks. ``work`` gets items in
    the order in which they came, at most ``most``, and returns as many results in that order; one that is an exception
    is raised for its item alone, one that ``work`` raises for all of them.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R | Exception]], *, most: int) -> None:
        self._work = work
        self._most = most
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line[T, R]] = WeakKeyDictionary()

    def put(self, item: T) -> "asyncio.Future[R]":
        """Have it done. What is not wanted any more before its batch begins may be cancelled."""
        loop = asyncio.get_running_loop()
        line = self._lines.setdefault(loop, _Line())
        future: asyncio.Future[R] = loop.create_future()
        line.waiting.append((item, future))
        if not line.is_at_work:
            self._begin(line)
        return future

    def _begin(self, line: "_Line[T, R]") -> None:
        wanted = [(item, future) for item, future in line.waiting if not future.cancelled()]
        batch, line.waiting = wanted[: self._most], wanted[self._most :]
        line.is_at_work = bool(batch)
        if batch:
            # An empty context: a batch belongs to no request.
            done = _in_pool(Context(), partial(self._work, [item for item, _future in batch]))
            done.add_done_callback(lambda done: self._end(line, [future for _item, future in batch], done))

    def _end(
        self,
        line: "_Line[T, R]",
        futures: "list[asyncio.Future[R]]",
        done: "asyncio.Future[Sequence[R | Exception]]",
    ) -> None:
        self._begin(line)
        error = done.exception()
        results = [error] * len(futures) if error is not None else done.result()
        for future, result in zip(futures, results, strict=True):
            if future.cancelled():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)


class _Line(Generic[T, R]):
    """What waits in one event loop."""

    def __init__(self) -> None:
        self.waiting: list[tuple[T, asyncio.Future[R]]] = []
        self.is_at_work = False
