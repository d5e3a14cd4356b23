"""One answer for a program: routed, recorded and attempted as a person's is.

What touches rows is in ``begin``, ``next_call`` and ``end``, which run in a database thread; what is awaited besides is
the model. Knows no HTTP: a ``Writer`` takes what comes.
"""

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from chat.admission import Unavailable, admit
from chat.attempt import Attempt
from chat.attempts import new_attempt, next_step, run_attempt
from chat.calls import call_end, call_start
from chat.providers.base import ProviderUnavailable, ToolCallDelta
from chat.providers.registry import find_model
from chat.threads import in_db
from gateway import limits
from gateway.callers import Caller, application, caller
from gateway.errors import ApiError, unavailable
from gateway.limits import Cost, Reservation
from gateway.wire import Completion
from metrics import services as metrics_services
from rollout import services as rollout_services
from rollout.services import Route

logger = logging.getLogger(__name__)

SURFACE = "v1"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is being answered, by the attempt that runs: its call has been opened."""

    answer_id: UUID
    call_id: UUID
    opened_at: datetime
    attempt: int
    caller: Caller
    route: Route
    served_model: str
    completion: Completion
    reservation: Reservation
    probe: str | None = None


class Writer(Protocol):
    """Takes an answer as it comes. ``text`` and ``tool_call`` mean that nothing else will answer any more."""

    def text(self, job: Job, text: str) -> None:
        """A piece of text, never empty."""

    def tool_call(self, job: Job, piece: ToolCallDelta) -> None:
        """A piece of a tool call."""


class Answer:
    """The life of one answer, from its opened call to its last row."""

    def __init__(self, job: Job, writer: Writer) -> None:
        self.job = job
        self._writer = writer
        self._deadline = time.monotonic() + settings.TOTAL_TIMEOUT_S
        self._is_abandoned = False
        self.attempt = new_attempt(job.served_model, self._deadline)

    def abandon(self) -> None:
        """The process ends: what is cancelled from now on is not the client's doing."""
        self._is_abandoned = True

    async def run(self) -> None:
        """Try until there is an answer or nothing left to try; its rows are written when this ends, however it does."""
        try:
            while True:
                await self._try(self.attempt)
                following = next_step(
                    self.attempt,
                    served=self.job.served_model,
                    baseline=self.job.route.baseline_model,
                    number=self.job.attempt,
                )
                if following is None:
                    return
                await asyncio.sleep(following.pause_s)
                self.job = await in_db(next_call, self.job, following.model, self.attempt, timezone.now())
                self.attempt = new_attempt(self.job.served_model, self._deadline)
        except asyncio.CancelledError:
            if self._is_abandoned and self.attempt.outcome == "cancelled":
                self.attempt.outcome = "abandoned"
            raise
        except Exception:
            logger.exception("An answer failed unexpectedly")
            self.attempt.fail(ProviderUnavailable("The answer failed inside Sluice.", error_class="internal"))
        finally:
            await asyncio.shield(asyncio.create_task(in_db(end, self.job, self.attempt, timezone.now())))

    async def _try(self, attempt: Attempt) -> None:
        job, writer = self.job, self._writer
        await run_attempt(
            attempt,
            job.served_model,
            job.completion.messages,
            options=job.completion.options,
            probe=job.probe,
            on_text=lambda text: writer.text(job, text),
            on_reasoning=lambda text: None,
            on_tool_call=lambda piece: writer.tool_call(job, piece),
        )


def begin(*, authorization: str, named_unit: str, completion: Completion, now: datetime) -> Job:
    """Find out who asks and what for, reserve what it may cost, and open its first call. Raises ApiError."""
    key = application(authorization, now=now)
    if find_model(completion.model) is None or (key.models_allowed and completion.model not in key.models_allowed):
        told = f"The model {completion.model!r} does not exist, or this key may not use it."
        raise ApiError(404, told, code="model_not_found", param="model")
    who = caller(key, named=named_unit, in_body=completion.unit)
    route = rollout_services.route(requested_model=completion.model, unit=who.unit, user=who.user)
    try:
        admission = admit(route)
    except Unavailable as refused:
        raise unavailable(refused.retry_after_s) from None
    route = admission.route
    reservation = limits.reserve(key, completion, (route.assigned_model, route.baseline_model), now=now)
    try:
        answer_id = uuid4()
        call_id = _open(answer_id, route, who, attempt=1, served_model=admission.served_model, now=now)
    except BaseException:
        limits.settle(reservation, usage=None, cost=None)
        raise
    rollout_services.log_route(route, served_model=admission.served_model, unit=who.recorded_unit, call_id=call_id)
    return Job(
        answer_id=answer_id,
        call_id=call_id,
        opened_at=now,
        attempt=1,
        caller=who,
        route=route,
        served_model=admission.served_model,
        completion=completion,
        reservation=reservation,
        probe=admission.probe,
    )


def next_call(job: Job, served_model: str, attempt: Attempt, now: datetime) -> Job:
    """Close a failed attempt's call and open the next one's, by ``served_model``: one transaction."""
    with transaction.atomic():
        _close(job, attempt, now)
        number = job.attempt + 1
        call_id = _open(job.answer_id, job.route, job.caller, attempt=number, served_model=served_model, now=now)
    return replace(job, call_id=call_id, opened_at=now, attempt=number, served_model=served_model, probe=None)


def end(job: Job, attempt: Attempt, now: datetime) -> None:
    """Close the last call and settle what was reserved."""
    cost = _close(job, attempt, now)
    limits.settle(job.reservation, usage=attempt.usage, cost=cost)


def _open(answer_id: UUID, route: Route, who: Caller, *, attempt: int, served_model: str, now: datetime) -> UUID:
    return metrics_services.open_call(
        call_start(
            answer_id,
            route,
            unit=who.recorded_unit,
            attempt=attempt,
            served_model=served_model,
            is_demo=False,
            now=now,
            surface=SURFACE,
            application=who.key.prefix,
        )
    )


def _close(job: Job, attempt: Attempt, now: datetime) -> Cost:
    ended = call_end(attempt, served_model=job.served_model, baseline_model=job.route.baseline_model, now=now)
    metrics_services.close_call(job.call_id, ended, started_at=job.opened_at)
    return ended.cost_usd
