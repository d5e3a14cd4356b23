"""What an attempt is run with, what follows it, and how an answer ends."""

import time
from typing import Any

import pytest

from chat.attempt import Attempt, Deadlines
from chat.attempts import RETRY_PAUSE_S, Next, new_attempt, next_step
from chat.generation import ending
from chat.providers.base import (
    AuthenticationFailed,
    InvalidRequest,
    NotAsked,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    Refused,
)


def follows(attempt: Attempt, served: str = "gemini-flash-lite", number: int = 1, *, dice: float = 0.0) -> Next | None:
    return next_step(attempt, served=served, baseline="chat-model", number=number, dice=lambda: dice)


def ended(outcome: Any, error: ProviderError | None = None, chars: int = 0) -> Attempt:
    deadlines = Deadlines(first_token_s=1, idle_s=1, total_s=1, max_chars=1)
    return Attempt(deadlines=deadlines, clock=lambda: 0.0, outcome=outcome, error=error, chars=chars)


@pytest.mark.parametrize(
    "attempt",
    [
        ended("error", ProviderUnavailable("x")),
        ended("error", AuthenticationFailed("x")),
        ended("error", InvalidRequest("x")),
        ended("error", RateLimited("x", retry_after_s=86400)),
        ended("timeout", ProviderTimeout("x")),
        ended("empty"),
    ],
    ids=["5xx", "bad key", "unknown model", "rate limit", "timeout", "no text"],
)
def test_a_candidate_that_fails_before_text_falls_back_to_the_baseline_at_once(attempt: Attempt):
    assert follows(attempt) == Next("chat-model", 0.0)


@pytest.mark.parametrize(
    "attempt",
    [
        ended("ok", chars=3),
        ended("refused", Refused("x")),
        ended("cancelled"),
        ended("error", ProviderUnavailable("x"), chars=1),
        ended("timeout", ProviderTimeout("x"), chars=1),
    ],
    ids=["answered", "refused", "stopped", "broke off after text", "stalled after text"],
)
def test_nothing_follows_an_answer_a_refusal_a_stop_or_visible_text(attempt: Attempt):
    assert follows(attempt) is None


def test_a_failed_baseline_is_tried_again_once_and_never_moved_to_the_candidate():
    broken = ended("error", ProviderUnavailable("x"))

    assert follows(broken, "chat-model") == Next("chat-model", RETRY_PAUSE_S)
    assert follows(broken, "chat-model", 2) is None


def test_a_baseline_whose_failure_would_repeat_is_not_tried_again():
    for error in (AuthenticationFailed("x"), InvalidRequest("x"), RateLimited("x"), RateLimited("x", retry_after_s=60)):
        assert follows(ended("error", error), "chat-model") is None


def test_a_short_retry_after_is_waited_for():
    assert follows(ended("error", RateLimited("x", retry_after_s=1)), "chat-model") == Next("chat-model", 1)


def test_pauses_are_spread_and_never_shorter_than_asked_for():
    broken, limited = ended("error", ProviderUnavailable("x")), ended("error", RateLimited("x", retry_after_s=1))

    assert follows(broken, "chat-model", dice=0.5) == Next("chat-model", 1.5 * RETRY_PAUSE_S)
    assert follows(limited, "chat-model", dice=0.5) == Next("chat-model", 1 + 0.5 * RETRY_PAUSE_S)
    assert follows(broken, dice=0.5) == Next("chat-model", 0.0)


def test_who_was_not_asked_is_not_asked_again_and_a_candidate_is_answered_for():
    open_breaker = ended("error", NotAsked("x", error_class="breaker_open", retry_after_s=3))

    assert follows(open_breaker, "chat-model") is None
    assert follows(open_breaker) == Next("chat-model", 0.0)


def test_a_models_own_deadlines_hold_within_the_answers(settings):
    entry = settings.CHAT_MODELS["chat-model"]
    own = {**entry, "first_token_timeout_s": 7.0, "total_timeout_s": 9.0}
    settings.CHAT_MODELS = {**settings.CHAT_MODELS, "chat-model": own}

    def seconds(model: str, left_s: float) -> tuple[float, float]:
        deadlines = new_attempt(model, time.monotonic() + left_s).deadlines
        return deadlines.first_token_s, round(deadlines.total_s)

    assert seconds("chat-model", 100) == (7, 9)
    assert seconds("chat-model", 5) == (7, 5)
    assert seconds("gemini-flash-lite", 100) == (settings.FIRST_TOKEN_TIMEOUT_S, 100)


@pytest.mark.parametrize("effort", ["low", "high", "none", "minimal", None])
def test_a_model_that_is_told_to_think_may_do_so_for_as_long_as_an_answer_may_take(settings, effort):
    deadlines = new_attempt("chat-model", time.monotonic() + 100, effort=effort).deadlines

    expected = 100 if effort in ("low", "high") else settings.FIRST_TOKEN_TIMEOUT_S
    assert round(deadlines.first_token_s) == expected


def test_each_ending_has_a_state_and_a_code():
    assert ending(ended("ok")) == ("complete", "")
    assert ending(ended("cancelled")) == ("stopped", "")
    assert ending(ended("refused")) == ("failed", "refused")
    assert ending(ended("timeout", ProviderTimeout("x"))) == ("failed", "timeout")
    assert ending(ended("error", AuthenticationFailed("x"))) == ("failed", "authentication")
    assert ending(ended("error", ProviderUnavailable("x"), chars=4)) == ("failed", "broken")
    too_long = ProviderUnavailable("x", error_class="too_long")
    assert ending(ended("error", too_long, chars=4)) == ("failed", "too_long")
