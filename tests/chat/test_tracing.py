"""Spans of real answers: the real path, OpenTelemetry's own SDK, and its exporter over HTTP."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from django.utils import timezone
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from chat import eventlog, generation, services, tracing
from chat.services import Job
from chat.tail import Progress, follow
from config import asgi
from metrics.models import ModelCall
from rollout.changes import Actor, change_rollout
from simulator.upstream import Upstream
from tests.chat.factories import UserFactory
from tests.chat.test_answers import ask, read_events
from tests.chat.test_generation import force_candidate, generate, run, send, set_error_rate
from tests.conftest import ENVIRONMENT, ROOT
from tests.services import live

pytestmark = pytest.mark.django_db(transaction=True)


class Spans:
    """What was traced."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    def all(self) -> list[ReadableSpan]:
        """All spans in the order of their beginnings; the last ones come with the end of tracing."""
        tracing.turn_off()
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)


@pytest.fixture
def spans() -> Iterator[Spans]:
    traced = Spans()
    tracing.turn_on(traced.exporter)
    yield traced
    tracing.turn_off()


def attributes(span: ReadableSpan, *names: str) -> list[Any]:
    assert span.attributes is not None
    return [span.attributes.get(name) for name in names]


def parent_id(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def test_an_answer_is_a_span_and_its_call_another_below_it(spans: Spans, upstream: Upstream):
    change_rollout("gemini-flash-lite", {"percent": 100}, actor=Actor(name="test", source="cli"))
    reply, started = send()

    run(generate(started))

    answer, call = spans.all()
    row = ModelCall.objects.get(answer_id=reply.id)
    assert (answer.name, answer.kind, answer.parent) == ("answer", SpanKind.INTERNAL, None)
    assert (call.name, call.kind) == ("chat gemini-flash-lite", SpanKind.CLIENT)
    assert parent_id(call) == answer.context.span_id
    shared = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "chat-model",
        "sluice.answer_id": str(reply.id),
        "sluice.rollout": "gemini-flash-lite",
        "sluice.arm": "candidate",
        "sluice.reason": "percentage",
        "sluice.outcome": "ok",
    }
    assert answer.attributes == shared
    assert row.ttft_ms is not None
    assert call.attributes == shared | {
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.response.model": "gemini-flash-lite",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": row.ttft_ms / 1000,
        "gen_ai.usage.input_tokens": row.input_tokens,
        "gen_ai.usage.output_tokens": row.output_tokens,
        "sluice.call_id": str(row.id),
        "sluice.attempt": 1,
        "sluice.upstream_model": "gemini-3.1-flash-lite",
    }
    assert {answer.status.status_code, call.status.status_code} == {StatusCode.UNSET}


def test_a_fallback_is_one_answer_with_two_calls(spans: Spans, upstream: Upstream):
    force_candidate()
    set_error_rate(upstream, gemini=1.0)
    reply, started = send()

    run(generate(started))

    answer, failed, fallback = spans.all()
    calls = {call.attempt: call for call in ModelCall.objects.filter(answer_id=reply.id)}
    assert [parent_id(failed), parent_id(fallback)] == [answer.context.span_id] * 2
    named = ("sluice.call_id", "gen_ai.response.model", "gen_ai.provider.name", "sluice.outcome", "error.type")
    assert attributes(failed, *named) == [
        str(calls[1].id),
        "gemini-flash-lite",
        "gcp.gemini",
        "error",
        "http_503",
    ]
    assert attributes(fallback, *named) == [str(calls[2].id), "chat-model", "openai", "ok", None]
    assert attributes(failed, "gen_ai.usage.input_tokens") == [None]
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, None)
    assert {answer.status.status_code, fallback.status.status_code} == {StatusCode.UNSET}
    assert (failed.end_time or 0) <= (fallback.start_time or 0)


def test_an_answer_that_fails_is_an_error(spans: Spans, upstream: Upstream):
    force_candidate()
    set_error_rate(upstream, gemini=1.0, openai=1.0)
    _, started = send()

    run(generate(started))

    assert [span.status.status_code for span in spans.all()] == [StatusCode.ERROR] * 3
    assert attributes(spans.all()[0], "sluice.outcome", "error.type") == ["error", "http_503"]


def test_a_stop_is_no_error(spans: Spans, upstream: Upstream):
    reply, started = send("Say it slowly")

    async def stop_after_some_text(progress: Progress) -> None:
        if progress.text:
            await eventlog.request_stop(reply.id)

    run(generate(started, stop_after_some_text))

    for span in spans.all():
        assert attributes(span, "sluice.outcome", "error.type") == ["cancelled", None]
        assert span.status.status_code == StatusCode.UNSET


def test_an_answer_that_the_processs_end_cuts_off_is_abandoned(spans: Spans, upstream: Upstream):
    _, started = send("Say it slowly")

    async def shut_down() -> None:
        generation.start(started)
        async for progress in follow(started.reply_id):
            if progress.text:
                break
        await generation.shut_down(grace_s=0)

    asyncio.run(shut_down())

    answer, call = spans.all()
    for span in (answer, call):
        assert attributes(span, "sluice.outcome", "error.type") == ["abandoned", "abandoned"]
        assert span.status.status_code == StatusCode.ERROR


def test_answers_at_once_keep_their_calls_apart(spans: Spans, upstream: Upstream):
    jobs = [send(f"Question {number}")[1] for number in range(4)]

    async def all_at_once() -> None:
        await asyncio.gather(*(generate(job) for job in jobs))

    run(all_at_once())

    found = spans.all()
    answers = {span.context.span_id: span for span in found if span.parent is None}
    calls = [span for span in found if span.parent is not None]
    assert len(answers) == len(calls) == 4
    for call in calls:
        answer = answers.pop(parent_id(call) or 0)
        assert attributes(call, "sluice.answer_id") == attributes(answer, "sluice.answer_id")
        assert call.context.trace_id == answer.context.trace_id


def test_what_applies_to_no_rollout_has_no_rollout(spans: Spans, upstream: Upstream):
    _, started = send(model="chat-model-reasoning")

    run(generate(started))

    for span in spans.all():
        assert not {"sluice.rollout", "sluice.arm", "error.type"} & set(span.attributes or {})


def test_no_span_holds_what_was_said_or_who_said_it(spans: Spans, upstream: Upstream):
    person = UserFactory(username="a-telling-name")

    def ask_something(question: str) -> Job:
        _, started = services.send(
            user=person,
            text=question,
            model="chat-model",
            conversation_id=None,
            client_id=None,
            language="",
            now=timezone.now(),
        )
        assert started is not None
        return started

    answered = run(generate(ask_something("a secret question"))).text
    set_error_rate(upstream, gemini=1.0, openai=1.0)
    run(generate(ask_something("another secret question")))

    found = spans.all()
    told = "".join(span.to_json() for span in found)
    assert len(found) == 5
    assert not [text for text in ("secret", answered[:20], person.unit, person.username) if text in told]
    assert not [event for span in found for event in span.events]


def test_without_tracing_there_is_no_span(upstream: Upstream):
    traced = Spans()
    tracing.turn_on(traced.exporter)
    tracing.turn_off()
    _, started = send()

    run(generate(started))

    assert traced.all() == []


# --- from the setting to the collector ---


class Collector:
    """Takes what an exporter sends over OTLP/HTTP."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.received: list[ExportTraceServiceRequest] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.paths.append(scope["path"])
        self.received.append(ExportTraceServiceRequest.FromString(body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Collector]:
    """A collector that OpenTelemetry's own variables point at, with traces turned on."""
    app = Collector()
    with live.serving(app, live.reserve_port()) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        settings.OTEL_TRACES = True
        yield app


def test_the_app_sends_its_spans_over_otlp(collector: Collector, upstream: Upstream):
    with (
        live.serving(asgi.application, live.reserve_port()) as url,
        httpx2.Client(base_url=url, timeout=30) as client,
    ):
        client.get("/")
        read_events(client, ask(client)["reply"])

    assert set(collector.paths) == {"/v1/traces"}
    (batch,) = [batch for request in collector.received for batch in request.resource_spans]
    resource = {pair.key: pair.value.string_value for pair in batch.resource.attributes}
    assert resource["service.name"] == "sluice"
    names = [span.name for scope in batch.scope_spans for span in scope.spans]
    assert len(names) == 2
    assert "answer" in names


def test_the_service_is_named_by_opentelemetrys_own_variable(
    collector: Collector, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "sluice-staging")
    tracing.turn_on()
    run(generate(send()[1]))
    tracing.turn_off()

    (batch,) = collector.received[0].resource_spans
    assert "sluice-staging" in [pair.value.string_value for pair in batch.resource.attributes]


def settings_with(code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Read the settings in a process of their own, where no .env is near."""
    before = "from unittest import mock; from environs import Env; mock.patch.object(Env, 'read_env').start();"
    environment = {**ENVIRONMENT, "PATH": os.environ["PATH"], **environment}
    command = [sys.executable, "-c", f"{before}{code}; from config import settings"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_traces_without_their_packages_are_an_error_at_the_start():
    without = "import sys; sys.modules['opentelemetry'] = None"

    refused = settings_with(without, OTEL_TRACES="true", CONNECT_TIMEOUT_S="soon")

    assert refused.returncode != 0
    assert "pip install -r requirements-otel.txt" in refused.stderr
    assert "CONNECT_TIMEOUT_S" in refused.stderr
    assert settings_with(without).returncode == 0
    assert settings_with("pass", OTEL_TRACES="true").returncode == 0
