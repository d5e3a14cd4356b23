"""Follow a running answer: from memory where it runs here, else the event log, and the database where that is silent.

Yields what has been said so far, so that every reader, however late or often, sees the same.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from uuid import UUID

from redis.exceptions import RedisError

from chat import eventlog, livelog
from chat.eventlog import READ_BLOCK_S
from chat.livelog import LiveLog
from chat.models import Message
from chat.threads import in_db

# Without Redis the database is asked this often.
POLL_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """An answer as of one moment. ``seq`` is the log's last entry that went into it."""

    seq: int = 0
    text: str = ""
    reasoning: str = ""
    done: bool = False


def follow(reply_id: UUID, *, replay_to: int = 0) -> AsyncIterator[Progress]:
    """Yield the progress so far, then each time there is more or a wait is over; the last one is ``done``.

    One step ends at entry ``replay_to`` exactly, if the log reaches that far: that is what a reader
    who comes back has seen.
    """
    log = livelog.find(reply_id)
    return _follow_elsewhere(reply_id, replay_to) if log is None else _follow_here(log, replay_to)


async def _follow_here(log: LiveLog, replay_to: int) -> AsyncIterator[Progress]:
    seq, last = 0, replay_to
    while True:
        await log.wait_after(seq, READ_BLOCK_S)
        seq = min(log.seq, last) if seq < last else log.seq
        text, reasoning = log.at(seq)
        progress = Progress(seq=seq, text=text, reasoning=reasoning, done=log.done and seq == log.seq)
        yield progress
        if progress.done:
            return


async def _follow_elsewhere(reply_id: UUID, replay_to: int) -> AsyncIterator[Progress]:
    progress = Progress()
    while True:
        more = await _read_log(reply_id, progress, up_to=replay_to if progress.seq < replay_to else None)
        if more is None or more == progress:
            more = await in_db(_read_row, reply_id, more or progress)
        progress = more
        yield progress
        if progress.done:
            return


async def _read_log(reply_id: UUID, progress: Progress, *, up_to: int | None) -> Progress | None:
    """The log's progress, or ``None`` where Redis can't be asked."""
    try:
        entries = await eventlog.read(reply_id, after=progress.seq)
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
