"""Database work from the event loop: a bounded pool of threads that give their connection back.

Django's own ``sync_to_async`` would put the work of every running answer into one thread.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

P = ParamSpec("P")
R = TypeVar("R")

_pool = ThreadPoolExecutor(max_workers=settings.DATABASE_POOL_SIZE, thread_name_prefix="database")


async def in_db(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run ``function`` in a database thread and return, or raise, what it does."""
    context = copy_context()
    call = partial(context.run, _with_connection, partial(function, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(_pool, call)


def _with_connection(call: Callable[[], R]) -> R:
    try:
        return call()
    finally:
        for connection in connections.all(initialized_only=True):
            _give_back(connection)


def _give_back(connection: BaseDatabaseWrapper) -> None:
    """To the pool, or for good after an error. SQLite has no pool: opening its file costs more than a query."""
    if connection.vendor != "sqlite" or connection.errors_occurred:
        connection.close()
