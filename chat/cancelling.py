"""Ending asyncio tasks for good, and what must be done to its end all the same. Knows nothing of what they do."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
AGAIN_S = 0.5
# The loop keeps weak references to tasks only.
_outliving: "set[asyncio.Task[Any]]" = set()


async def end_tasks(tasks: "Iterable[asyncio.Future[Any]]") -> None:
    """Cancel tasks and wait for their ends. Again and again: on Python 3.11, ``asyncio.wait_for`` can swallow one."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _ended, pending = await asyncio.wait(pending, timeout=AGAIN_S)


async def running_after(tasks: "Iterable[asyncio.Task[Any]]", grace_s: float) -> "set[asyncio.Task[Any]]":
    """Wait for tasks, ``grace_s`` seconds at most; those that are not done then."""
    running = set(tasks)
    return (await asyncio.wait(running, timeout=grace_s))[1] if running else running


async def to_its_end(work: Coroutine[Any, Any, T], keep: Callable[[T], None]) -> None:
    """Do it and keep what comes of it, however often one is cancelled meanwhile; then be cancelled."""
    task = asyncio.ensure_future(work)
    is_cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            is_cancelled = True
    keep(task.result())
    if is_cancelled:
        raise asyncio.CancelledError


async def outlive(work: Coroutine[Any, Any, Any]) -> None:
    """Do it. Who is cancelled meanwhile goes, and it is done nevertheless: ``outlived`` waits for that."""
    task = asyncio.ensure_future(work)
    _outliving.add(task)
    task.add_done_callback(_outliving.discard)
    await asyncio.shield(task)


async def outlived(within_s: float) -> None:
    """Before the event loop ends: wait for what is still to be done in it, so many seconds at most."""
    loop = asyncio.get_running_loop()
    await running_after([task for task in _outliving if task.get_loop() is loop], within_s)
