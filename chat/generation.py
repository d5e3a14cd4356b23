"""One running answer, from its first attempt to its last row.

Runs in an asyncio task of its own, not in a response: a reload, a second tab or a closed one change
nothing. Knows attempts, fallback, the event log and when to stop; rows are written by ``services``.
"""

import asyncio
import logging
import time
from contextvars import Context
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from django.utils import timezone

from chat import capacity, livelog, services, tracing
from chat.attempt import Attempt
from chat.attempts import Next, new_attempt, next_step, run_attempt
from chat.cancelling import end_tasks, outlive, outlived, running_after, to_its_end
from chat.eventlog import close_clients
from chat.livelog import LiveLog
from chat.log_context import bind, open_log_context
from chat.models import Message
from chat.providers.base import ProviderUnavailable
from chat.providers.registry import close_providers
from chat.services import Job
from chat.threads import END_TIMEOUT_S, in_db, until_written

logger = logging.getLogger(__name__)

SAVE_EVERY_S = 1.0
ALIVE_EVERY_S = 10.0

# The loop keeps weak references to tasks only.
_running: "dict[asyncio.Task[None], Answer]" = {}
_savers: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()


def start(job: Job) -> None:
    """Begin to generate, in the background of the running event loop."""
    loop, answer = asyncio.get_running_loop(), Answer(job)
    # An empty context: the task outlives the request whose context it would carry on.
    task = loop.create_task(answer.run(), name=f"answer {job.reply_id}", context=Context())
    _running[task] = answer
    task.add_done_callback(_running.pop)
    if loop not in _savers or _savers[loop].done():
        _savers[loop] = loop.create_task(_keep_saving(), name="partial texts", context=Context())
    capacity.answers.add(1)
    task.add_done_callback(lambda _task: capacity.answers.add(-1))


async def drain(grace_s: float) -> None:
    """Give running answers ``grace_s`` seconds, then end them: each keeps its text and gets its last row and event."""
    await end_tasks(await running_after(_running, grace_s))
    await outlived(END_TIMEOUT_S)


async def shut_down(grace_s: float) -> None:
    """Before the process ends: ``drain``, then close all connections."""
    await drain(grace_s)
    saver = _savers.pop(asyncio.get_running_loop(), None)
    if saver is not None:
        await end_tasks((saver,))
    await livelog.close_writer()
    await close_providers()
    await close_clients()


async def _keep_saving() -> None:
    """Save the texts of all running answers as they grow, together, at most once a second; and their signs of life."""
    while _running:
        await asyncio.sleep(SAVE_EVERY_S)
        now = time.monotonic()
        grown = [(answer.reply_id, text) for answer in _running.values() if (text := answer.unsaved(now)) is not None]
        try:
            if grown:
                await in_db(services.save_partial, grown, timezone.now())
        except Exception:
            # What comes next is saved with all that was before it, and the end writes the whole text anyway.
            logger.exception("Partial texts were not saved")


class Answer:
    """The life of one answer."""

    def __init__(self, job: Job) -> None:
        self.reply_id = job.reply_id
        self._log = LiveLog(job.reply_id)
        self._saved, self._saved_at = 0, time.monotonic()
        self._deadline = time.monotonic() + settings.TOTAL_TIMEOUT_S
        self._take(job)

    async def run(self) -> None:
        """Generate until there is an answer or nothing left to try; always leaves an ended reply and calls."""
        route = self._job.route
        open_log_context()
        bind(answer_id=self._job.reply_id, call_id=self._job.call_id)
        bind(rollout=route.rollout, arm=route.arm, reason=route.reason)
        with tracing.answer_span(self._job):
            await self._generate()

    async def _generate(self) -> None:
        stop = asyncio.create_task(self._log.stop_requested.wait())
        try:
            while True:
                with tracing.call_span(self._job, self._attempt):
                    await self._try(self._attempt, stop)
                following = None if stop.done() else self._next_step(self._attempt)
                if following is None:
                    break
                await asyncio.sleep(following.pause_s)
                # The process may end meanwhile: the call that was opened is the one to end then.
                moving = in_db(services.next_attempt, self._job, following.model, self._attempt, timezone.now())
                await to_its_end(moving, self._take)
        except asyncio.CancelledError:
            # The process ends. An attempt that has its outcome already keeps it.
            if self._attempt.outcome == "cancelled":
                self._attempt.outcome = "abandoned"
            raise
        except Exception:
            # Whatever it was, the person must get a sentence and the call its row.
            logger.exception("An answer failed unexpectedly")
            self._attempt.fail(ProviderUnavailable("The answer failed inside Sluice.", error_class="internal"))
        finally:
            await end_tasks((stop,))
            tracing.end_answer(self._attempt)
            await outlive(self._end(self._attempt))

    def _take(self, job: Job) -> None:
        self._job, self._attempt = job, new_attempt(job.served_model, self._deadline)

    async def _try(self, attempt: Attempt, stop: asyncio.Task[Any]) -> None:
        running = run_attempt(
            attempt,
            self._job.served_model,
            self._job.messages,
            probe=self._job.probe,
            on_text=self._on_text,
            on_reasoning=self._on_reasoning,
            rest_s=self._log.rest_s,
        )
        task = asyncio.create_task(running)
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_tasks((task,))

    def _next_step(self, attempt: Attempt) -> Next | None:
        job = self._job
        return next_step(attempt, served=job.served_model, baseline=job.route.baseline_model, number=job.attempt)

    def _on_text(self, text: str) -> None:
        self._log.say("text", text)

    def _on_reasoning(self, text: str) -> None:
        self._log.say("reasoning", text)

    def unsaved(self, now: float) -> str | None:
        """The text that has grown since the last time, or hasn't for so long that a sign of life is due; else None."""
        text = self._log.text
        if len(text) == self._saved and now - self._saved_at < ALIVE_EVERY_S:
            return None
        self._saved, self._saved_at = len(text), now
        return text

    async def _end(self, attempt: Attempt) -> None:
        try:
            await until_written(lambda: in_db(self._write_end, attempt))
        finally:
            # Whatever happened: somebody follows it.
            await self._log.close()

    def _write_end(self, attempt: Attempt) -> None:
        state, error = ending(attempt)
        services.finish(self._job, attempt, text=self._log.text, state=state, error=error, now=timezone.now())


def ending(attempt: Attempt) -> tuple[str, str]:
    """The reply's state and error code after its last attempt."""
    if attempt.outcome == "ok":
        return Message.State.COMPLETE, ""
    if attempt.outcome == "cancelled":
        return Message.State.STOPPED, ""
    if attempt.outcome in ("refused", "empty", "abandoned", "timeout"):
        return Message.State.FAILED, attempt.outcome
    if attempt.error is not None and attempt.error.error_class == "too_long":
        return Message.State.FAILED, "too_long"
    if attempt.chars:
        return Message.State.FAILED, "broken"
    return Message.State.FAILED, attempt.error.code if attempt.error is not None else "unavailable"
