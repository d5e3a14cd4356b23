"""Running answers: real rows, a real Redis, the real SDKs, and the simulated vendors over HTTP."""

import asyncio
import dataclasses
import uuid
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from django.conf import settings
from django.utils import timezone
from redis import Redis

from chat import generation, services
from chat.attempt import Attempt, Deadlines
from chat.eventlog import EventLog
from chat.generation import Next, ending, next_step
from chat.models import Message
from chat.providers.base import (
    AuthenticationFailed,
    InvalidRequest,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    Refused,
)
from chat.services import Job
from chat.tail import Progress, follow
from chat.threads import in_db
from metrics.models import ModelCall
from rollout.changes import Actor, change_rollout
from rollout.services import Route
from simulator.upstream import Upstream
from tests.chat.factories import UserFactory

ROUTE = Route(
    requested_model="chat-model",
    assigned_model="gemini-flash-lite",
    baseline_model="chat-model",
    rollout="gemini-flash-lite",
    arm="candidate",
    reason="percentage",
    percent=Decimal(5),
)
T = TypeVar("T")
STAFF = Actor(name="test", source="cli")


def job(served: str = "gemini-flash-lite", attempt: int = 1) -> Job:
    return Job(
        reply_id=uuid.uuid4(),
        call_id=uuid.uuid4(),
        attempt=attempt,
        unit="u",
        route=ROUTE,
        served_model=served,
        messages=[],
        is_demo=False,
    )


def ended(outcome: Any, error: ProviderError | None = None, chars: int = 0) -> Attempt:
    deadlines = Deadlines(first_token_s=1, idle_s=1, total_s=1, max_chars=1)
    return Attempt(deadlines=deadlines, clock=lambda: 0.0, outcome=outcome, error=error, chars=chars)


# --- What follows an attempt: pure ----------------------------------------------------------


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
    assert next_step(job(), attempt) == Next("chat-model", 0.0)


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
    assert next_step(job(), attempt) is None


def test_a_failed_baseline_is_tried_again_once_and_never_moved_to_the_candidate():
    broken = ended("error", ProviderUnavailable("x"))

    assert next_step(job("chat-model"), broken) == Next("chat-model", generation.RETRY_PAUSE_S)
    assert next_step(job("chat-model", attempt=2), broken) is None


def test_a_baseline_whose_failure_would_repeat_is_not_tried_again():
    for error in (AuthenticationFailed("x"), InvalidRequest("x"), RateLimited("x"), RateLimited("x", retry_after_s=60)):
        assert next_step(job("chat-model"), ended("error", error)) is None


def test_a_short_retry_after_is_waited_for():
    assert next_step(job("chat-model"), ended("error", RateLimited("x", retry_after_s=1))) == Next("chat-model", 1)


def test_each_ending_has_a_state_and_a_code():
    assert ending(ended("ok")) == ("complete", "")
    assert ending(ended("cancelled")) == ("stopped", "")
    assert ending(ended("refused")) == ("failed", "refused")
    assert ending(ended("timeout", ProviderTimeout("x"))) == ("failed", "timeout")
    assert ending(ended("error", AuthenticationFailed("x"))) == ("failed", "authentication")
    assert ending(ended("error", ProviderUnavailable("x"), chars=4)) == ("failed", "broken")
    too_long = ProviderUnavailable("x", error_class="too_long")
    assert ending(ended("error", too_long, chars=4)) == ("failed", "too_long")


# --- Whole answers --------------------------------------------------------------------------


def send(text: str = "Tell me something", model: str = "chat-model") -> tuple[Message, Job]:
    reply, started = services.send(
        user=UserFactory(),
        text=text,
        model=model,
        conversation_id=None,
        client_id=None,
        language="",
        now=timezone.now(),
    )
    assert started is not None
    return reply, started


def run(answer: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run``, with the process's orderly end after it."""

    async def and_shut_down() -> T:
        try:
            return await answer
        finally:
            await generation.shut_down(grace_s=0)

    return asyncio.run(and_shut_down())


async def generate(started: Job, while_running: Callable[[Progress], Any] | None = None) -> Progress:
    """Run an answer to its end, calling ``while_running`` with each step of its progress."""
    generation.start(started)
    last = Progress()
    async for progress in follow(started.reply_id):
        last = progress
        if while_running is not None:
            await while_running(progress)
    return last


def force_candidate() -> None:
    change_rollout("gemini-flash-lite", {"forced": True}, actor=STAFF)


def set_error_rate(upstream: Upstream, **rates: float) -> None:
    for provider, rate in rates.items():
        behaviours = upstream._behaviours
        upstream._behaviours = dataclasses.replace(
            behaviours, **{provider: dataclasses.replace(getattr(behaviours, provider), error_rate=rate)}
        )


@pytest.mark.django_db(transaction=True)
def test_an_answer_is_streamed_stored_measured_and_priced(upstream: Upstream):
    reply, started = send()

    progress = run(generate(started))

    reply.refresh_from_db()
    call = ModelCall.objects.get(answer_id=reply.id)
    assert (reply.state, reply.error) == ("complete", "")
    assert progress.text == reply.text != ""
    assert (call.outcome, call.finish_reason, call.upstream_model) == ("ok", "stop", "gpt-5.4")
    assert (call.arm, call.reason, call.percent) == ("baseline", "percentage", Decimal(5))
    assert call.input_tokens
    assert call.output_tokens
    assert call.cost_usd == call.baseline_cost_usd
    assert call.cost_usd
    assert call.cost_usd > 0
    assert call.ttft_ms is not None
    assert call.latency_ms is not None
    assert 0 < call.ttft_ms <= call.latency_ms


@pytest.mark.django_db(transaction=True)
def test_the_candidate_costs_less_than_the_same_tokens_at_the_baselines_price(upstream: Upstream):
    force_candidate()
    reply, started = send()

    run(generate(started))

    call = ModelCall.objects.get(answer_id=reply.id)
    assert (call.served_model, call.upstream_model) == ("gemini-flash-lite", "gemini-3.1-flash-lite")
    assert call.cost_usd is not None
    assert call.baseline_cost_usd is not None
    assert call.cost_usd < call.baseline_cost_usd / 4


@pytest.mark.django_db(transaction=True)
def test_a_candidate_that_fails_is_answered_by_the_baseline_and_counted_against_the_candidate(upstream: Upstream):
    force_candidate()
    set_error_rate(upstream, gemini=1.0)
    reply, started = send()

    run(generate(started))

    reply.refresh_from_db()
    first, second = ModelCall.objects.filter(answer_id=reply.id).order_by("attempt")
    assert (reply.state, reply.served_model) == ("complete", "chat-model")
    assert (first.served_model, first.outcome, first.error_class) == ("gemini-flash-lite", "error", "http_503")
    assert (second.served_model, second.outcome, second.arm) == ("chat-model", "ok", "candidate")
    assert {first.assigned_model, second.assigned_model} == {"gemini-flash-lite"}
    assert (first.cost_usd, first.http_status) == (None, 503)


@pytest.mark.django_db(transaction=True)
def test_when_both_models_fail_there_is_one_error_and_a_row_for_each_attempt(upstream: Upstream):
    force_candidate()
    set_error_rate(upstream, gemini=1.0, openai=1.0)
    reply, started = send()

    progress = run(generate(started))

    reply.refresh_from_db()
    assert progress.done
    assert (reply.state, reply.error, reply.text) == ("failed", "unavailable", "")
    assert list(ModelCall.objects.values_list("outcome", flat=True)) == ["error", "error"]


@pytest.mark.django_db(transaction=True)
def test_an_unknown_candidate_in_the_catalogue_falls_back_too(upstream: Upstream, settings: Any):
    force_candidate()
    reply, started = send()
    settings.CHAT_MODELS = {key: entry for key, entry in settings.CHAT_MODELS.items() if key != "gemini-flash-lite"}

    run(generate(started))

    reply.refresh_from_db()
    assert (reply.state, reply.served_model) == ("complete", "chat-model")


@pytest.mark.django_db(transaction=True)
def test_stop_keeps_the_text_and_counts_as_cancelled(upstream: Upstream):
    reply, started = send("Say it slowly")

    async def stop_after_some_text(progress: Progress) -> None:
        if progress.text:
            await EventLog(reply.id).request_stop()

    progress = run(generate(started, stop_after_some_text))

    reply.refresh_from_db()
    call = ModelCall.objects.get(answer_id=reply.id)
    assert reply.state == "stopped"
    assert reply.text == progress.text != ""
    assert (call.outcome, call.cost_usd) == ("cancelled", None)


@pytest.mark.django_db(transaction=True)
def test_a_second_reader_sees_the_same_text(upstream: Upstream):
    _, started = send()

    async def two_readers() -> tuple[str, str]:
        first = asyncio.create_task(generate(started))
        await asyncio.sleep(0.01)
        late = Progress()
        async for progress in follow(started.reply_id):
            late = progress
        return (await first).text, late.text

    first, late = run(two_readers())

    assert first == late != ""


@pytest.mark.django_db(transaction=True)
def test_a_reader_who_comes_back_is_led_past_exactly_what_it_has_seen(upstream: Upstream):
    _, started = send()

    async def read_twice() -> tuple[list[Progress], list[Progress]]:
        generation.start(started)
        whole = [progress async for progress in follow(started.reply_id)]
        seen = whole[-1].seq // 2
        return whole, [progress async for progress in follow(started.reply_id, replay_to=seen)]

    whole, again = run(read_twice())

    assert again[0].seq == whole[-1].seq // 2
    assert again[-1] == whole[-1]


@pytest.mark.django_db(transaction=True)
def test_an_answer_goes_on_without_redis_and_its_reader_finds_it_in_the_database(
    upstream: Upstream, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    settings.REDIS_URL = "unix:///nonexistent/redis.sock"
    reply, started = send()

    progress = run(generate(started))

    reply.refresh_from_db()
    assert reply.state == "complete"
    assert progress.text == reply.text != ""
    assert progress.seq == 0


@pytest.mark.django_db(transaction=True)
def test_a_process_that_ends_in_mid_answer_leaves_an_ended_reply_with_its_text(upstream: Upstream):
    reply, started = send("Say it slowly")

    async def shut_down() -> None:
        generation.start(started)
        async for progress in follow(reply.id):
            if progress.text:
                break
        await generation.shut_down(grace_s=0)

    asyncio.run(shut_down())

    reply.refresh_from_db()
    assert (reply.state, reply.error) == ("failed", "abandoned")
    assert reply.text != ""
    assert ModelCall.objects.get(answer_id=reply.id).outcome == "abandoned"


@pytest.mark.django_db(transaction=True)
def test_partial_text_is_saved_while_the_answer_grows(upstream: Upstream):
    reply, started = send("Say it slowly")
    saved = []

    async def look(progress: Progress) -> None:
        row = await in_db(Message.objects.get, id=reply.id)
        if row.text and row.state == "running":
            saved.append(row.text)
            await EventLog(reply.id).request_stop()

    progress = run(generate(started, look))

    assert saved
    assert progress.text.startswith(saved[0])


@pytest.mark.django_db(transaction=True)
def test_the_log_in_redis_expires_by_itself(upstream: Upstream):
    reply, started = send()

    run(generate(started))

    with Redis.from_url(settings.REDIS_URL) as redis:
        assert 0 < redis.ttl(f"sluice:answer:{reply.id}") <= 3600
