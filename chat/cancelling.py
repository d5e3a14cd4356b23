"""Ending asyncio tasks for good. Knows nothing of what they do."""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_S = 0.5


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
