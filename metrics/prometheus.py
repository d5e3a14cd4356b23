"""The roll-ups' totals as Prometheus reads them.

Counters come from the database, not from this process: they are the same from every process, survive restarts and agree
with every other figure. Names follow OpenTelemetry's GenAI conventions where those have one. Knows no HTTP.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from metrics.reading import call_totals, rolled_at
from metrics.totals import Histogram, Total, TotalKey, to_usd

# As the conventions write the vendors' names.
_PROVIDERS = {"gemini": "gcp.gemini"}
_CALL_LABELS = ("sluice_rollout", "sluice_arm", "sluice_reason", "outcome", "model")
_GEN_AI_LABELS = (
    "gen_ai_operation_name",
    "gen_ai_provider_name",
    "gen_ai_request_model",
    "gen_ai_response_model",
    "error_type",
    "sluice_rollout",
    "sluice_arm",
)


def exposition(*, now: datetime) -> bytes:
    """All totals in Prometheus' text format, version 0.0.4."""
    registry = CollectorRegistry()
    registry.register(_Collector(now))
    return generate_latest(registry)


class _Collector:
    """What the registry asks."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        totals = list(call_totals())
        yield from _counters(totals)
        yield from _histograms(totals)
        age = GaugeMetricFamily("sluice_rollup_age_seconds", "How old these figures are")
        if (as_of := rolled_at()) is not None:
            age.add_metric([], (self._now - as_of).total_seconds())
        yield age


def _counters(totals: Iterable[tuple[TotalKey, Total]]) -> Iterator[Metric]:
    merged = _merge(totals, _call_labels)
    for name, told, value in (
        ("sluice_calls", "Calls that have ended, each attempt", lambda total: total.calls),
        ("sluice_requests", "Requests that have ended: first attempts", lambda total: total.requests),
        ("sluice_cost_usd", "What calls of known cost have cost", lambda total: float(to_usd(total.cost_pico))),
        (
            "sluice_baseline_cost_usd",
            "What calls of known cost would have cost at the baseline's price",
            lambda total: float(to_usd(total.baseline_cost_pico)),
        ),
        ("sluice_cost_unknown", "Calls that a model answered at an unknown cost", lambda total: total.cost_unknown),
    ):
        family = CounterMetricFamily(name, told, labels=_CALL_LABELS)
        for labels, total in merged.items():
            family.add_metric(labels, value(total))
        yield family


def _histograms(totals: Iterable[tuple[TotalKey, Total]]) -> Iterator[Metric]:
    merged = _merge(totals, _gen_ai_labels)
    for name, told, of in (
        ("gen_ai_client_operation_duration_seconds", "Time to the last token", "latency_ms"),
        ("gen_ai_client_operation_time_to_first_chunk_seconds", "Time to the first visible token", "ttft_ms"),
    ):
        family = HistogramMetricFamily(name, told, labels=_GEN_AI_LABELS)
        for labels, total in merged.items():
            _add(family, labels, getattr(total, of), scale=1000)
        yield family
    tokens = HistogramMetricFamily(
        "gen_ai_client_token_usage", "Tokens of a call", labels=(*_GEN_AI_LABELS, "gen_ai_token_type")
    )
    for labels, total in merged.items():
        _add(tokens, (*labels, "input"), total.input_tokens)
        _add(tokens, (*labels, "output"), total.output_tokens)
    yield tokens


def _add(family: HistogramMetricFamily, labels: tuple[str, ...], counted: Histogram, scale: int = 1) -> None:
    if not counted.count:
        return
    buckets, below = [], 0
    for bound, count in zip([*map(float, counted.bounds), float("inf")], counted.counts, strict=True):
        below += count
        buckets.append(("+Inf" if bound == float("inf") else str(bound / scale), below))
    family.add_metric(labels, buckets, counted.sum / scale)


def _merge(
    totals: Iterable[tuple[TotalKey, Total]], labels_of: Callable[[TotalKey], tuple[str, ...]]
) -> Mapping[tuple[str, ...], Total]:
    merged: dict[tuple[str, ...], Total] = {}
    for key, total in totals:
        merged.setdefault(labels_of(key), Total()).merge(total)
    return merged


def _call_labels(key: TotalKey) -> tuple[str, ...]:
    return key.rollout, key.arm, key.reason, key.outcome, key.served_model


def _gen_ai_labels(key: TotalKey) -> tuple[str, ...]:
    failed = key.error_class or ("" if key.outcome in ("ok", "cancelled") else key.outcome)
    provider = _PROVIDERS.get(key.provider, key.provider)
    return "chat", provider, key.requested_model, key.upstream_model, failed, key.rollout, key.arm
