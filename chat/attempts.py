"""What an attempt is run with, and what follows it: the same for people's pages and for programs.

Knows the catalogue, the settings' deadlines and attempts; stores nothing.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from django.conf import settings

from chat.admission import breakers
from chat.attempt import Attempt, Deadlines
from chat.breaker import verdict_of
from chat.capacity import bulkhead
from chat.providers.base import (
    ChatMessage,
    ChatRequest,
    InvalidRequest,
    NotAsked,
    Options,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    ToolCallDelta,
)
from chat.providers.registry import find_model, get_provider

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 2
RETRY_PAUSE_S = 0.2
# A longer wait than this is not worth a person's time: the error is shown at once.
LONGEST_RETRY_AFTER_S = 2.0
# Efforts of reasoning that let nobody wait.
NO_THOUGHT = (None, "none", "minimal")


class Next(NamedTuple):
    """The next attempt: by which model, after how long a pause."""

    model: str
    pause_s: float


def new_attempt(model_key: str, deadline: float, *, effort: str | None = None) -> Attempt:
    """An attempt by that model, not yet run; ``deadline`` is the answer's, on the monotonic clock.

    A model that is told to think, with that ``effort``, may do so for as long as a whole answer may take: it shows
    nothing of it before the first word.
    """
    model = find_model(model_key)
    own_s = model.first_token_timeout_s if model is not None else None
    left_s = max(0.0, deadline - time.monotonic())
    total_s = model.total_timeout_s if model is not None else None
    total_s = left_s if total_s is None else min(total_s, left_s)
    first_s = own_s or settings.FIRST_TOKEN_TIMEOUT_S
    return Attempt(
        clock=time.monotonic,
        deadlines=Deadlines(
            first_token_s=first_s if effort in NO_THOUGHT else max(first_s, total_s),
            idle_s=settings.IDLE_TIMEOUT_S,
            total_s=total_s,
            max_chars=settings.MAX_OUTPUT_CHARS,
        ),
    )


async def run_attempt(
    attempt: Attempt,
    model_key: str,
    messages: Sequence[ChatMessage],
    *,
    options: Options = Options(),  # noqa: B008  (it is frozen)
    probe: str | None = None,
    on_text: Callable[[str], None],
    on_reasoning: Callable[[str], None],
    on_tool_call: Callable[[ToolCallDelta], None] | None = None,
    on_refusal: Callable[[str], None] | None = None,
    rest_s: Callable[[], float] = lambda: 0.0,
) -> None:
    """Run it to its outcome, at a place of its upstream's, and tell the breaker. Raises nothing but cancellation.

    ``probe`` is what ``admit`` said; ``None`` asks the breaker now. ``rest_s`` is as in ``ChatRequest``.
    """
    model = find_model(model_key)
    if model is None:
        return attempt.fail(InvalidRequest("The catalogue has no such model.", error_class="unknown_model"))
    if probe is None and (probe := breakers.admit(model_key)) is None:
        return attempt.fail(_not_asked(model_key))

    request = ChatRequest(
        upstream_model=model.upstream,
        messages=messages,
        connect_timeout_s=settings.CONNECT_TIMEOUT_S,
        options=options,
        rest_s=rest_s,
    )
    turn = _Turn(model_key, probe)
    try:
        if probe:
            await breakers.begin_probe(model_key, probe, first_word_s=attempt.deadlines.first_token_s)
        async with bulkhead(model_key).place():
            provider = get_provider(model.provider)
            await attempt.run(
                provider,
                request,
                on_text=on_text,
                on_reasoning=on_reasoning,
                on_tool_call=on_tool_call,
                on_refusal=on_refusal,
                on_answered=turn.answered if probe else None,
            )
    except NotAsked as error:
        attempt.fail(error)
    except Exception:
        # A fault of our own in one adapter must not keep the other from answering.
        logger.exception("An attempt failed unexpectedly")
        attempt.fail(ProviderUnavailable("The attempt failed inside Sluice.", error_class="internal"))
    finally:
        await turn.end(attempt)


class _Turn:
    """What the breaker hears of one attempt. A probe has shown what it is for with the first of anything: to wait for
    its last word would keep everybody out for as long as an answer takes.
    """

    def __init__(self, model_key: str, probe: str) -> None:
        self._key = model_key
        self._probe = probe
        self._told: asyncio.Task[None] | None = None

    def answered(self) -> None:
        """The first of it came."""
        self._told = asyncio.ensure_future(breakers.hear_probe(self._key, self._probe))

    async def end(self, attempt: Attempt) -> None:
        """It is over."""
        if self._told is not None:
            await self._told
        await breakers.note(self._key, verdict_of(attempt), self._probe, took_s=(attempt.latency_ms or 0) / 1000)


def next_step(
    attempt: Attempt,
    *,
    served: str,
    baseline: str,
    number: int,
    dice: Callable[[], float] = random.random,
) -> Next | None:
    """What follows an attempt, the ``number``th, by the model key ``served``: the baseline, once, or the same model
    again, or nothing.

    Only before visible text, and never after a refusal or a stop. A failed candidate falls back at
    once; a failed baseline is tried again where that may help, and never moved to the candidate. ``dice`` (0 to 1)
    spread the pause, so that those who failed together don't come back together.
    """
    if attempt.outcome not in ("error", "timeout", "empty") or attempt.chars or number >= MAX_ATTEMPTS:
        return None
    if served != baseline:
        return Next(baseline, 0.0)
    pause = _retry_pause(attempt.error)
    return None if pause is None else Next(served, pause + RETRY_PAUSE_S * dice())


def _retry_pause(error: ProviderError | None) -> float | None:
    if isinstance(error, RateLimited):
        wait = error.retry_after_s
        return wait if wait is not None and wait <= LONGEST_RETRY_AFTER_S else None
    return RETRY_PAUSE_S if error is not None and error.retryable else None


def _not_asked(key: str) -> NotAsked:
    told = "This model has failed too often, and is left alone for a moment."
    return NotAsked(told, error_class="breaker_open", retry_after_s=breakers.wait_s(key))
