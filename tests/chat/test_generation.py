"""Running answers: real rows, a real Redis, the real SDKs, and the simulated vendors over HTTP."""

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from django.conf import settings
from django.utils import timezone
from redis import Redis

from chat import eventlog, generation, services
from chat.models import Message
from chat.services import Job
from chat.tail import Progress, follow
from chat.threads import in_db
from metrics.models import ModelCall
from rollout.changes import Actor, change_rollout
from simulator.upstream import Upstream
from tests.chat.factories import UserFactory

T = TypeVar("T")
STAFF = Actor(name="test", source="cli")


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
    change_rollout("gemini-flash-lite", {"percent": 0}, actor=STAFF)
    reply, started = send()

    progress = run(generate(started))

    reply.refresh_from_db()
    call = ModelCall.objects.get(answer_id=reply.id)
    assert (reply.state, reply.error) == ("complete", "")
    assert progress.text == reply.text != ""
    assert (call.outcome, call.finish_reason, call.upstream_model) == ("ok", "stop", "gpt-5.4")
    assert (call.arm, call.reason, call.percent) == ("baseline", "percentage", Decimal(0))
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
    # OpenAI says what was used at the end alone; who is in the candidate's five percent would be told it all along.
    change_rollout("gemini-flash-lite", {"percent": 0}, actor=STAFF)
    reply, started = send("Say it slowly")

    async def stop_after_some_text(progress: Progress) -> None:
        if progress.text:
            await eventlog.request_stop(reply.id)

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
            await eventlog.request_stop(reply.id)

    progress = run(generate(started, look))

    assert saved
    assert progress.text.startswith(saved[0])


@pytest.mark.django_db(transaction=True)
def test_the_log_in_redis_expires_by_itself(upstream: Upstream):
    reply, started = send()

    run(generate(started))

    with Redis.from_url(settings.REDIS_URL) as redis:
        assert 0 < redis.ttl(f"sluice:answer:2:{reply.id}") <= 3600


@pytest.mark.django_db(transaction=True)
def test_a_process_that_ends_between_two_attempts_leaves_no_call_running(upstream, monkeypatch):
    force_candidate()
    set_error_rate(upstream, gemini=1.0)
    reply, job = send()
    real, inside = services.next_attempt, threading.Event()

    def slow(*what: Any) -> Job:
        moved = real(*what)
        inside.set()
        time.sleep(0.3)
        return moved

    monkeypatch.setattr(services, "next_attempt", slow)

    async def end() -> None:
        generation.start(job)
        while not inside.is_set():
            await asyncio.sleep(0.01)
        await generation.drain(0)

    run(end())

    reply.refresh_from_db()
    assert (reply.state, reply.error) == ("failed", "abandoned")
    outcomes = ModelCall.objects.order_by("attempt").values_list("outcome", flat=True)
    assert list(outcomes) == ["error", "abandoned"]
