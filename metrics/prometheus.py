"""The roll-ups' totals as Prometheus reads them.

Counters come from the database, not from this process: they are the same from every process, survive restarts and agree
with every other figure. Names follow OpenTelemetry's GenAI conventions where those have one, with the model as it was
asked for (``gen_ai_request_model``) and as it served (``gen_ai_response_model``). A label that does not apply is empty,
which to Prometheus is the same as absent. Knows no HTTP and no clock.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from metrics import gen_ai
from metrics.partitions import days_ahead, is_partitioned
from metrics.reading import call_totals, rolled_at
from metrics.totals import Histogram, Total, TotalKey, to_usd

_CALL_LABELS = ("rollout", "arm", "reason", "model", "outcome")
_GEN_AI_LABELS = (
    "gen_ai_operation_name",
    "gen_ai_provider_name",
    "gen_ai_request_model",
    "gen_ai_response_model",
    "error_type",
    "rollout",
    "arm",
    "outcome",
)

Merged = Mapping[tuple[str, ...], Total]


def families(*, now: datetime) -> Iterator[Metric]:
    """All totals, and how old they are: nothing before the first roll-up. And how far ahead partitions are made."""
    totals = list(call_totals())
    yield from _counters(_merge(totals, _call_labels))
    yield from _histograms(_merge(totals, _gen_ai_labels))
    age = GaugeMetricFamily("sluice_rollup_age_seconds", "How old these figures are")
    if (as_of := rolled_at()) is not None:
        age.add_metric([], (now - as_of).total_seconds())
    yield age
    if is_partitioned():
        ahead = GaugeMetricFamily("sluice_partition_days_ahead", "Coming UTC days whose calls have a partition")
        ahead.add_metric([], days_ahead(now=now))
        yield ahead


def _counters(merged: Merged) -> Iterator[Metric]:
    for name, told, value in (
        ("sluice_calls", "Calls that have ended, each attempt", lambda total: total.calls),
        ("sluice_requests", "Requests that have ended: first attempts", lambda total: total.requests),
        ("sluice_fallbacks", "Calls that another model served than the assigned one", lambda total: total.fallbacks),
        ("sluice_cost_unknown", "Calls that a model answered at an unknown cost", lambda total: total.cost_unknown),
        ("sluice_cost_usd", "What calls of known cost have cost", lambda total: _usd(total.cost_pico)),
        (
            "sluice_compared_cost_usd",
            "What calls have cost whose cost at the baseline's price is known too",
            lambda total: _usd(total.priced_cost_pico),
        ),
        (
            "sluice_baseline_cost_usd",
            "What those calls would have cost at the baseline's price",
            lambda total: _usd(total.baseline_cost_pico),
        ),
    ):
        family = CounterMetricFamily(name, told, labels=_CALL_LABELS)
        for labels, total in merged.items():
            family.add_metric(labels, value(total))
        yield family


def _histograms(merged: Merged) -> Iterator[Metric]:
    for name, told, of in (
        ("gen_ai_client_operation_duration_seconds", "Time to the last token", "latency_ms"),
        ("gen_ai_client_operation_time_to_first_chunk_seconds", "Time to the first visible token", "ttft_ms"),
    ):
        family = HistogramMetricFamily(name, told, labels=_GEN_AI_LABELS)
        for labels, total in merged.items():
            _add(family, labels, getattr(total, of), scale=1000)
        yield family
    labels_of_tokens = (*_GEN_AI_LABELS, "gen_ai_token_type")
    tokens = HistogramMetricFamily("gen_ai_client_token_usage", "Tokens of a call", labels=labels_of_tokens)
    for labels, total in merged.items():
        _add(tokens, (*labels, "input"), total.input_tokens)
        _add(tokens, (*labels, "output"), total.output_tokens)
    yield tokens


def _add(family: HistogramMetricFamily, labels: tuple[str, ...], counted: Histogram, scale: int = 1) -> None:
    """Prometheus counts the values up to each bound, those below the one before included."""
    if not counted.count:
        return
    below, buckets = 0, []
    for bound, count in zip(counted.bounds, counted.counts, strict=False):
        below += count
        buckets.append((str(bound / scale), below))
    family.add_metric(labels, [*buckets, ("+Inf", counted.count)], counted.sum / scale)


def _merge(totals: Iterable[tuple[TotalKey, Total]], labels_of: Callable[[TotalKey], tuple[str, ...]]) -> Merged:
    merged: dict[tuple[str, ...], Total] = {}
    for key, total in totals:
        merged.setdefault(labels_of(key), Total()).merge(total)
    return merged


def _call_labels(key: TotalKey) -> tuple[str, ...]:
    return key.rollout, key.arm, key.reason, key.served_model, key.outcome


def _gen_ai_labels(key: TotalKey) -> tuple[str, ...]:
    return (
        gen_ai.OPERATION,
        gen_ai.provider_name(key.provider),
        key.requested_model,
        key.served_model,
        gen_ai.error_type(outcome=key.outcome, error_class=key.error_class),
        key.rollout,
        key.arm,
        key.outcome,
    )


def _usd(pico: int) -> float:
    return float(to_usd(pico))
