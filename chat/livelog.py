"""What the running answers of this process say: readers here read it from memory, all others from Redis.

Pieces are put together into numbered entries, ten a second at most; both kinds of readers see the same entries, so
that a page may go on in another process where it stopped in this one. One task an event loop writes the entries of
all answers to Redis, in one round trip, and looks for requests to stop. Knows no HTTP and no rows.
"""

import asyncio
import logging
from array import array
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from uuid import UUID
from weakref import WeakKeyDictionary

from redis.exceptions import RedisError

from chat import eventlog
from chat.cancelling import end_tasks, running_after
from chat.eventlog import WRITE_TIMEOUT_S, Entry, Kind

logger = logging.getLogger(__name__)

# Nobody sees whether pieces come one by one.
ENTRY_EVERY_S = 0.1
# An entry takes a tenth of a millisecond to be rendered and sent; so many answers that all of them together would take
# more than a tenth of the time get theirs more rarely, or whoever asks next waits behind all who read.
ENTRY_EVERY_S_FOR_EACH = 0.001
# Where the event loop is later than this all the same, they come more rarely still, down to the slowest pace.
LATE_S = 0.03
SLOWEST_S = 1.0
# Where entries come as rarely as that, what answers say is read as rarely: more often, nobody would see it.
REST_S = 0.25
# Readers in other processes see what is new this often.
WRITE_EVERY_S = 0.25
# A request to stop that another process took is found this soon.
STOP_POLL_S = 0.25


class LiveLog:
    """One running answer's, from its beginning to ``close``. Belongs to the running event loop."""

    def __init__(self, answer_id: UUID) -> None:
        self.answer_id = answer_id
        self.stop_requested = asyncio.Event()
        self.seq = 0
        self.done = False
        self._said: dict[Kind, str] = {"text": "", "reasoning": ""}
        # How long both were after each entry.
        self._text_ends, self._reasoning_ends = array("L", [0]), array("L", [0])
        self._pieces: list[tuple[Kind, str]] = []
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._news = asyncio.Event()
        self._kept = asyncio.Event()
        self._writer = _writer()
        self._writer.add(self)

    @property
    def text(self) -> str:
        """All of the visible text, to the last piece."""
        return self._said["text"] + "".join(piece for kind, piece in self._pieces if kind == "text")

    def rest_s(self) -> float:
        """For how long the model may be left alone between two reads, as of now."""
        return REST_S if self._writer.pace_s >= REST_S else 0.0

    def say(self, kind: Kind, text: str = "") -> None:
        """Add a piece. "done" is the last one."""
        self._pieces.append((kind, text))
        if kind == "done":
            self._enter()
        elif self._timer is None:
            self._due = max(self._due, self._loop.time())
            self._timer = self._loop.call_at(self._due, self._enter)

    def _enter(self) -> None:
        """Make entries of what was said since the last ones."""
        now = self._loop.time()
        if self._timer is not None:
            self._writer.adapt(now - self._due)
            self._timer.cancel()
            self._timer = None
        self._due = now + self._writer.pace_s
        entries = []
        for kind, pieces in groupby(self._pieces, key=itemgetter(0)):
            self.seq += 1
            entries.append(Entry(seq=self.seq, kind=kind, text="".join(text for _kind, text in pieces)))
            self._said[kind] = self._said.get(kind, "") + entries[-1].text
            self._text_ends.append(len(self._said["text"]))
            self._reasoning_ends.append(len(self._said["reasoning"]))
            self.done = self.done or kind == "done"
        self._pieces.clear()
        self._writer.write(self, entries)
        # Wakes those who wait now.
        self._news.set()
        self._news.clear()

    def at(self, seq: int) -> tuple[str, str]:
        """Text and reasoning as of that entry."""
        return self._said["text"][: self._text_ends[seq]], self._said["reasoning"][: self._reasoning_ends[seq]]

    async def wait_after(self, seq: int, timeout_s: float) -> None:
        """Until there is an entry after that one, or the time is over."""
        if self.seq > seq:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()

    def keep(self) -> None:
        """The last entry is written, or will never be."""
        self._kept.set()

    async def close(self) -> None:
        """Say "done", and wait until readers in other processes can see it."""
        self.say("done")
        await self._kept.wait()


def find(answer_id: UUID) -> LiveLog | None:
    """The log of an answer that is running in this event loop."""
    return _writer().logs.get(answer_id)


async def request_stop(answer_id: UUID) -> None:
    """Ask whoever writes the answer, in whichever process, to stop. Raises RedisError, OSError if that is another."""
    log = find(answer_id)
    if log is not None:
        log.stop_requested.set()
    else:
        await eventlog.request_stop(answer_id)


async def close_writer() -> None:
    """End the running event loop's writer, after what answers that have ended still had to say."""
    writer = _writers.pop(asyncio.get_running_loop(), None)
    if writer is not None and writer.task is not None:
        await end_tasks(await running_after((writer.task,), WRITE_TIMEOUT_S))


class _Writer:
    """Writes the logs of one event loop's answers to Redis, while there are any."""

    def __init__(self) -> None:
        self.logs: dict[UUID, LiveLog] = {}
        self.task: asyncio.Task[None] | None = None
        self.pace_s = ENTRY_EVERY_S
        self._unwritten: dict[UUID, list[Entry]] = {}
        # Once an entry has failed, none may follow it: readers turn to the database.
        self._lost: set[UUID] = set()
        self._fresh = asyncio.Event()
        self._polled_at = 0.0

    def add(self, log: LiveLog) -> None:
        self.logs[log.answer_id] = log
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._run(), name="event logs")

    def write(self, log: LiveLog, entries: list[Entry]) -> None:
        self._unwritten.setdefault(log.answer_id, []).extend(entries)
        self._fresh.set()

    def adapt(self, late_s: float) -> None:
        """An entry was so late: a step towards a slower pace, or back."""
        quickest = max(ENTRY_EVERY_S, ENTRY_EVERY_S_FOR_EACH * len(self.logs))
        wanted = 1.02 * self.pace_s if late_s > LATE_S else 0.99 * self.pace_s
        self.pace_s = min(SLOWEST_S, max(quickest, wanted))

    async def _run(self) -> None:
        while self.logs:
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_POLL_S):
                    await self._fresh.wait()
            self._fresh.clear()
            batch, self._unwritten = self._unwritten, {}
            await self._write({answer: entries for answer, entries in batch.items() if answer not in self._lost})
            for answer in batch:
                if self.logs[answer].done and answer not in self._unwritten:
                    self._lost.discard(answer)
                    self.logs.pop(answer).keep()
            if batch and self.logs:
                await asyncio.sleep(WRITE_EVERY_S)

    async def _write(self, batch: dict[UUID, list[Entry]]) -> None:
        now = asyncio.get_running_loop().time()
        stoppable: list[UUID] = []
        if now - self._polled_at >= STOP_POLL_S:
            self._polled_at, stoppable = now, list(self.logs)
        if not (batch or stoppable):
            return
        try:
            for answer in await eventlog.write(batch, stoppable=stoppable):
                self.logs[answer].stop_requested.set()
        except (RedisError, OSError) as error:
            self._lost.update(batch)
            logger.warning("Event logs lost", extra={"answers": len(batch), "error": type(error).__name__})
        except Exception:
            self._lost.update(batch)
            logger.exception("Event logs lost")


# Tasks and connections belong to one event loop.
_writers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Writer] = WeakKeyDictionary()


def _writer() -> _Writer:
    loop = asyncio.get_running_loop()
    if loop not in _writers:
        _writers[loop] = _Writer()
    return _writers[loop]
