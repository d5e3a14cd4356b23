"""Follow a running answer: the event log while it speaks, the database when it doesn't.

Yields what has been said so far, so that every reader, however late or often, sees the same.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from uuid import UUID

from redis.exceptions import RedisError

from chat.eventlog import EventLog
from chat.models import Message
from chat.threads import in_db

# Without Redis the database is asked this often.
POLL_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Progress:
    """An answer as of one moment. ``seq`` is the log's last entry that went into it."""

    seq: int = 0
    text: str = ""
    reasoning: str = ""
    done: bool = False


async def follow(reply_id: UUID, *, replay_to: int = 0) -> AsyncIterator[Progress]:
    """Yield the progress so far, then each time there is more or a wait is over; the last one is ``done``.

    One step ends at entry ``replay_to`` exactly, if the log reaches that far: that is what a reader
    who comes back has seen.
    """
    log = EventLog(reply_id)
    progress = Progress()
    while True:
        more = await _read_log(log, progress, up_to=replay_to if progress.seq < replay_to else None)
        if more is None or more == progress:
            more = await in_db(_read_row, reply_id, more or progress)
        progress = more
        yield progress
        if progress.done:
            return


async def _read_log(log: EventLog, progress: Progress, *, up_to: int | None) -> Progress | None:
    """The log's progress, or ``None`` where Redis can't be asked."""
    try:
        entries = await log.read(after=progress.seq)
    except (RedisError, OSError):
        await asyncio.sleep(POLL_S)
        return None
    for entry in entries:
        if up_to is not None and entry.seq > up_to:
            break
        progress = replace(progress, seq=entry.seq)
        if entry.kind == "text":
            progress = replace(progress, text=progress.text + entry.text)
        elif entry.kind == "reasoning":
            progress = replace(progress, reasoning=progress.reasoning + entry.text)
        else:
            progress = replace(progress, done=True)
    return progress


def _read_row(reply_id: UUID, progress: Progress) -> Progress:
    """Where the log is silent, gone or incomplete, the row knows more; a deleted reply is done."""
    row = Message.objects.filter(id=reply_id).values_list("state", "text").first()
    if row is None:
        return replace(progress, done=True)
    state, text = row
    return replace(progress, text=max(progress.text, text, key=len), done=state != Message.State.RUNNING)
