"""One answer for a program: routed, recorded and attempted as a person's is.

What touches rows is in ``begin``, ``next_call`` and ``end``, which run in a database thread, the first and the last for
all answers together that begin or end at that moment; what is awaited besides is the model. Knows no HTTP: a ``Writer``
takes what comes.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial
from typing import Protocol, TypeVar
from uuid import UUID, uuid4

from django.conf import settings
from django.db import OperationalError, transaction
from django.utils import timezone

from chat.admission import Unavailable, admit
from chat.attempt import Attempt
from chat.attempts import new_attempt, next_step, run_attempt
from chat.calls import call_end, call_start, route_after
from chat.cancelling import outlive, to_its_end
from chat.providers.base import ProviderUnavailable, ToolCallDelta
from chat.providers.registry import find_model
from chat.threads import Together, in_db, until_written
from gateway import limits
from gateway.callers import Caller, application, callers, unit_of
from gateway.errors import ApiError, unavailable
from gateway.limits import Reservation, Used
from gateway.models import ApiKey
from gateway.wire_request import Completion
from metrics import services as metrics_services
from metrics.pricing import Usage
from metrics.services import CallEnd, CallStart
from rollout import services as rollout_services
from rollout.services import Question, Route

logger = logging.getLogger(__name__)

SURFACE = "v1"
# Errors of vendors that had not begun to work, other than by the outcome ``error``.
UNUSED = ("timeout_connect", "http_408")
# Of answers that begin or end together; with more the first would wait for the last, and none be any cheaper.
MOST_TOGETHER = 64

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is being answered, by the attempt that runs: its call has been opened. ``used`` is of those before it."""

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
    used: tuple[Used, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request: ``named_unit`` is what its header names, "" where it names nobody."""

    authorization: str
    named_unit: str
    completion: Completion
    now: datetime


@dataclass(frozen=True, kw_only=True)
class Ended:
    """An answer whose last attempt is over."""

    job: Job
    attempt: Attempt
    now: datetime


class Writer(Protocol):
    """Takes an answer as it comes. Whatever comes means that nothing else will answer any more."""

    def text(self, job: Job, text: str) -> None:
        """A piece of text, never empty."""

    def tool_call(self, job: Job, piece: ToolCallDelta) -> None:
        """A piece of a tool call."""

    def refusal(self, job: Job, text: str) -> None:
        """A piece of what the model says instead of an answer, never empty."""


class Answer:
    """The life of one answer, from its opened call to its last row."""

    def __init__(self, job: Job, writer: Writer) -> None:
        self.job = job
        self._writer = writer
        self._deadline = time.monotonic() + settings.TOTAL_TIMEOUT_S
        self._is_abandoned = False
        self.attempt = self._new_attempt()

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
                if not await self._move_on(following.model):
                    return
        except asyncio.CancelledError:
            if self._is_abandoned and self.attempt.outcome == "cancelled":
                self.attempt.outcome = "abandoned"
            raise
        except Exception:
            logger.exception("An answer failed unexpectedly")
            self.attempt.fail(ProviderUnavailable("The answer failed inside Sluice.", error_class="internal"))
        finally:
            last = Ended(job=self.job, attempt=self.attempt, now=timezone.now())
            await outlive(until_written(lambda: ends.put(last)))

    async def _move_on(self, model: str) -> bool:
        """To the next attempt. Who hangs up meanwhile leaves the call that was opened, and it is the one to end."""
        before = self.job
        await to_its_end(in_db(next_call, before, model, self.attempt, timezone.now()), self._take)
        return self.job is not before

    def _take(self, following: Job | None) -> None:
        if following is not None:
            self.job, self.attempt = following, self._new_attempt()

    def _new_attempt(self) -> Attempt:
        effort = self.job.completion.options.reasoning_effort
        return new_attempt(self.job.served_model, self._deadline, effort=effort)

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
            on_refusal=lambda text: writer.refusal(job, text),
        )


def begin(asked: Sequence[Asked]) -> list[Job | ApiError]:
    """Find out who asks and what for, reserve what it may cost, and open the first calls: for all of them together.

    However many there are, it takes a statement for each different key, its owner and what is asked for by it, one for
    all units that are named, and one for the calls; what keys with limits reserve is counted for each.
    """
    refused: dict[int, ApiError] = {}
    find = cache(partial(application, now=max(ask.now for ask in asked)))
    named = dict(_each(lambda ask: _key_and_unit(ask, find), enumerate(asked), refused))
    who = dict(zip(named, callers(list(named.values())), strict=True))
    routes = dict(zip(who, rollout_services.routes([_question(asked[n], who[n]) for n in who]), strict=True))
    jobs: dict[int, Job] = {}
    try:
        # One by one: what was reserved for some is given back where a later one breaks all.
        jobs.update(_each(lambda n: _admitted(asked[n], who[n], routes[n]), ((n, n) for n in routes), refused))
        if jobs:
            metrics_services.open_calls([_start_of(job) for job in jobs.values()])
    except BaseException:
        limits.give_back(job.reservation for job in jobs.values())
        raise
    return [refused[n] if n in refused else jobs[n] for n in range(len(asked))]


def _each(
    step: Callable[[A], B], items: Iterable[tuple[int, A]], refused: dict[int, ApiError]
) -> Iterator[tuple[int, B]]:
    """One step for each, by number; who is refused in it takes no further ones."""
    for number, item in items:
        try:
            yield number, step(item)
        except ApiError as error:
            refused[number] = error


def _key_and_unit(ask: Asked, find: Callable[[str], ApiKey]) -> tuple[ApiKey, str]:
    completion = ask.completion
    key = find(ask.authorization)
    if find_model(completion.model) is None or (key.models_allowed and completion.model not in key.models_allowed):
        told = f"The model {completion.model!r} does not exist, or this key may not use it."
        raise ApiError(404, told, code="model_not_found", param="model")
    return key, unit_of(key, named=ask.named_unit, in_body=completion.unit)


def _question(ask: Asked, who: Caller) -> Question:
    return Question(requested_model=ask.completion.model, unit=who.unit, user=who.user)


def _admitted(ask: Asked, who: Caller, route: Route) -> Job:
    """Its call is not opened yet."""
    completion = limits.bounded(who.key, ask.completion)
    # Before it is let through: who may not ask must not be the one request that tries a failing upstream out.
    reservation = limits.reserve(who.key, completion, (route.assigned_model, route.baseline_model), now=ask.now)
    try:
        admission = admit(route)
    except BaseException as error:
        limits.give_back([reservation])
        if isinstance(error, Unavailable):
            raise unavailable(error.retry_after_s) from None
        raise
    return Job(
        answer_id=uuid4(),
        call_id=uuid4(),
        opened_at=ask.now,
        attempt=1,
        caller=who,
        route=admission.route,
        served_model=admission.served_model,
        completion=completion,
        reservation=reservation,
        probe=admission.probe,
    )


def next_call(job: Job, served_model: str, attempt: Attempt, now: datetime) -> Job | None:
    """Close a failed attempt's call and open the next one's, by ``served_model``: one transaction.

    ``None``, and nothing is done, where the key has no dollars for another one.
    """
    ended = _end_of(job, attempt, now)
    used = _used(attempt, ended)
    following = replace(
        job,
        call_id=uuid4(),
        opened_at=now,
        attempt=job.attempt + 1,
        route=route_after(job.route, attempt),
        served_model=served_model,
        probe=None,
        used=(*job.used, used),
    )
    with transaction.atomic():
        reservation = limits.put_more_aside(job.caller.key, job.reservation, used)
        if reservation is None:
            return None
        following = replace(following, reservation=reservation)
        metrics_services.close_call(job.call_id, ended, started_at=job.opened_at)
        metrics_services.open_call(_start_of(following))
    return following


def end(ended: Sequence[Ended]) -> list[Exception | None]:
    """Close the last calls of answers and settle what was reserved. What one of them breaks is broken for it alone."""
    try:
        _end(ended)
    except OperationalError:
        raise
    except Exception as error:  # noqa: BLE001
        return [error] if len(ended) == 1 else [_end_alone(one) for one in ended]
    return [None] * len(ended)


def _end_alone(one: Ended) -> Exception | None:
    """A connection that goes in between is the fault of those after it: who has ended must not be tried again."""
    try:
        return end([one])[0]
    except OperationalError as error:
        return error


def _end(ended: Sequence[Ended]) -> None:
    written = [_end_of(each.job, each.attempt, each.now) for each in ended]
    both = list(zip(ended, written, strict=True))
    settled = [(each.job.reservation, (*each.job.used, _used(each.attempt, row))) for each, row in both]
    # Without any dollars two more trips would keep nothing.
    has_dollars = any(each.job.reservation.amount for each in ended)
    with transaction.atomic() if has_dollars else nullcontext():
        closed = metrics_services.close_calls([(each.job.call_id, each.job.opened_at, row) for each, row in both])
        if has_dollars and 1 < len(ended) != closed:
            raise _SomeHadEnded
        # Who had ended before was settled then, by a try whose commit nobody has heard of.
        limits.settle_dollars(settled if closed else ())
    limits.settle_tokens(settled)


class _SomeHadEnded(Exception):
    """Of several answers: which, is found out one by one."""


def _used(attempt: Attempt, ended: CallEnd) -> Used:
    """Where nothing came, an error, a refusal and a vendor that was not reached used nothing."""
    is_free = attempt.outcome == "error" or ended.error_class in UNUSED
    is_free |= attempt.outcome == "refused" and ended.usage == Usage()
    return (None, None) if is_free and not attempt.was_answered else (ended.usage, ended.cost_usd)


def _start_of(job: Job) -> CallStart:
    return call_start(
        job.answer_id,
        job.route,
        call_id=job.call_id,
        unit=job.caller.recorded_unit,
        attempt=job.attempt,
        served_model=job.served_model,
        is_demo=False,
        now=job.opened_at,
        surface=SURFACE,
        application=job.caller.key.prefix,
    )


def _end_of(job: Job, attempt: Attempt, now: datetime) -> CallEnd:
    return call_end(attempt, served_model=job.served_model, baseline_model=job.route.baseline_model, now=now)


beginnings: Together[Asked, Job] = Together(begin, most=MOST_TOGETHER)
ends: Together[Ended, None] = Together(end, most=MOST_TOGETHER)
