"""OpenTelemetry spans: one for each answer, and below it one for each call. Off until ``turn_on``, and then free.

Names follow OpenTelemetry's GenAI conventions, as ``metrics.prometheus`` has them. Never carries what a person or a
model said, nor an error's message. Knows answers and attempts; the SDK is an extra, imported where it is turned on.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

from chat.attempt import Attempt
from chat.providers.base import ProviderError
from chat.providers.registry import find_model
from chat.services import Job
from metrics import gen_ai

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

# For the last spans to go out when the process ends.
FLUSH_S = 3.0

_provider: "TracerProvider | None" = None


def turn_on(exporter: "SpanExporter | None" = None) -> None:
    """Trace from now on, to ``exporter``; by default over OTLP/HTTP, as OpenTelemetry's own variables say."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    global _provider
    resource = Resource.create({"service.name": "sluice"}).merge(OTELResourceDetector().detect())
    _provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))


def turn_off() -> None:
    """Send what is left, for ``FLUSH_S`` seconds at most, and trace no more."""
    global _provider
    if _provider is not None:
        # It waits for a collector that is away longer than a process should take to end.
        flush = Thread(target=_provider.shutdown, daemon=True)
        flush.start()
        flush.join(FLUSH_S)
        _provider = None


@contextmanager
def answer_span(job: Job) -> Iterator[None]:
    """The whole answer. ``end_answer`` says how it ended."""
    if _provider is None:
        yield
        return
    with _span(_provider, "answer", _asked(job)):
        yield


def end_answer(attempt: Attempt) -> None:
    """How the answer ended whose span is the current one: as its last attempt did."""
    if _provider is not None:
        from opentelemetry.trace import get_current_span

        _say_end(get_current_span(), attempt.outcome, attempt.error)


@contextmanager
def call_span(job: Job, attempt: Attempt) -> Iterator[None]:
    """One call, as long as its attempt runs; the span ends with what came of it."""
    if _provider is None:
        yield
        return
    from opentelemetry.trace import SpanKind

    model = find_model(job.served_model)
    asked = {
        **_asked(job),
        "gen_ai.provider.name": gen_ai.provider_name(model.provider if model is not None else ""),
        "gen_ai.response.model": job.served_model,
        "sluice.call_id": str(job.call_id),
        "sluice.attempt": job.attempt,
    }
    with _span(_provider, f"{gen_ai.OPERATION} {job.served_model}", asked, kind=SpanKind.CLIENT) as span:
        try:
            yield
        except asyncio.CancelledError:
            # The process ends; ``generation`` says the same of the row.
            _say_end(span, "abandoned" if attempt.outcome == "cancelled" else attempt.outcome, attempt.error)
            raise
        _say_usage(span, attempt)
        _say_end(span, attempt.outcome, attempt.error)


def _asked(job: Job) -> dict[str, str | int]:
    route = job.route
    return {
        "gen_ai.operation.name": gen_ai.OPERATION,
        "gen_ai.request.model": route.requested_model,
        "sluice.answer_id": str(job.reply_id),
        "sluice.rollout": route.rollout,
        "sluice.arm": route.arm,
        "sluice.reason": route.reason,
    }


def _span(provider: "TracerProvider", name: str, attributes: Mapping[str, str | int], **more: Any) -> Any:
    known = {name: value for name, value in attributes.items() if value != ""}
    # An exception's text can hold what was said.
    return provider.get_tracer("sluice").start_as_current_span(
        name, attributes=known, record_exception=False, set_status_on_exception=False, **more
    )


def _say_usage(span: "Span", attempt: Attempt) -> None:
    known = {
        "gen_ai.usage.input_tokens": attempt.usage.input_tokens,
        "gen_ai.usage.output_tokens": attempt.usage.output_tokens,
        "gen_ai.response.time_to_first_chunk": None if attempt.ttft_ms is None else attempt.ttft_ms / 1000,
        "gen_ai.response.finish_reasons": [attempt.finish_reason] if attempt.finish_reason else None,
        "sluice.upstream_model": attempt.upstream_model or None,
    }
    span.set_attributes({name: value for name, value in known.items() if value is not None})


def _say_end(span: "Span", outcome: str, error: ProviderError | None) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("sluice.outcome", outcome)
    if failed := gen_ai.error_type(outcome=outcome, error_class=error.error_class if error is not None else ""):
        span.set_attribute("error.type", failed)
        span.set_status(StatusCode.ERROR)
