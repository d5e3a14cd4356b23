"""What a scrape reads, against the calls that were made."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from metrics.models import ModelCall
from metrics.rollup import roll_up
from metrics.services import rate
from tests.metrics.factories import NOW, ModelCallFactory

pytestmark = pytest.mark.django_db

NAME = "gemini-flash-lite"
DURATION = "gen_ai_client_operation_duration_seconds"
FIRST_CHUNK = "gen_ai_client_operation_time_to_first_chunk_seconds"
TOKENS = "gen_ai_client_token_usage"


class Scrape:
    """One answer of /metrics, read by Prometheus' own parser."""

    def __init__(self) -> None:
        answer = Client().get("/metrics")
        assert answer.status_code == 200
        assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        self.text = answer.content.decode()
        self.families = {family.name: family for family in text_string_to_metric_families(self.text)}

    def value(self, sample: str, **labels: str) -> float:
        """The sum of all samples of that name which have these labels."""
        return float(sum(found.value for found in self.samples(sample, **labels)))

    def samples(self, sample: str, **labels: str) -> list[Any]:
        return [
            found
            for family in self.families.values()
            for found in family.samples
            if found.name == sample and labels.items() <= found.labels.items()
        ]


def scrape() -> Scrape:
    roll_up(now=NOW)
    return Scrape()


def some_calls() -> list[ModelCall]:
    """Both arms, good, bad and left; one fallback; one of unknown cost; one outside any rollout."""
    failed = ModelCallFactory(candidate=True, failed=True)
    return [
        *ModelCallFactory.create_batch(3),
        *ModelCallFactory.create_batch(2, candidate=True),
        failed,
        ModelCallFactory(
            answer_id=failed.answer_id,
            attempt=2,
            arm="candidate",
            assigned_model="gemini-flash-lite",
            served_model="chat-model",
        ),
        ModelCallFactory(outcome="cancelled", cost_usd=None, baseline_cost_usd=None),
        ModelCallFactory(rollout="", arm="", reason="not_in_rollout", provider="gemini", ttft_ms=90_000),
    ]


def total(calls: Iterable[ModelCall], column: str) -> Decimal:
    return sum((getattr(call, column) or Decimal(0) for call in calls), Decimal(0))


def test_counters_are_the_calls_that_have_ended():
    calls = some_calls()
    ModelCallFactory(running=True)

    seen = scrape()

    assert seen.value("sluice_calls_total") == len(calls) == 9
    assert seen.value("sluice_requests_total") == 8
    assert seen.value("sluice_fallbacks_total") == 1
    assert seen.value("sluice_cost_unknown_total") == 1
    assert seen.value("sluice_cost_usd_total") == pytest.approx(float(total(calls, "cost_usd")), abs=1e-12)
    assert seen.value("sluice_baseline_cost_usd_total") - seen.value("sluice_compared_cost_usd_total") == pytest.approx(
        float(total(calls, "baseline_cost_usd") - total(calls, "cost_usd")), abs=1e-12
    )


def test_calls_are_told_apart_by_rollout_arm_reason_model_and_outcome():
    some_calls()

    seen = scrape()

    of_candidate = {"rollout": NAME, "arm": "candidate", "reason": "percentage"}
    calls = "sluice_calls_total"
    assert seen.value(calls, **of_candidate, model="gemini-flash-lite", outcome="ok") == 2
    assert seen.value(calls, **of_candidate, model="gemini-flash-lite", outcome="error") == 1
    assert seen.value(calls, **of_candidate, model="chat-model", outcome="ok") == 1
    assert seen.value(calls, rollout=NAME, arm="baseline", outcome="cancelled") == 1
    assert seen.value(calls, rollout="", reason="not_in_rollout") == 1


@pytest.mark.parametrize(("name", "column"), [(DURATION, "latency_ms"), (FIRST_CHUNK, "ttft_ms")])
def test_histograms_of_time_are_in_seconds_and_cumulative(name, column):
    some_calls()
    times = [value / 1000 for value in ModelCall.objects.values_list(column, flat=True) if value is not None]

    seen = scrape()

    assert seen.value(f"{name}_count") == len(times)
    assert seen.value(f"{name}_sum") == pytest.approx(sum(times))
    for bound in ("0.01", "0.32", "0.64", "2.56", "81.92", "+Inf"):
        assert seen.value(f"{name}_bucket", le=bound) == len([time for time in times if time <= float(bound)])


def test_histograms_of_tokens_count_input_and_output_apart():
    some_calls()

    seen = scrape()

    assert seen.value(f"{TOKENS}_sum", gen_ai_token_type="input") == 8 * 300
    assert seen.value(f"{TOKENS}_sum", gen_ai_token_type="output") == 8 * 200
    assert seen.value(f"{TOKENS}_bucket", gen_ai_token_type="input", le="256.0") == 0
    assert seen.value(f"{TOKENS}_bucket", gen_ai_token_type="output", le="256.0") == 8


def test_buckets_of_each_series_never_fall_and_end_with_the_count():
    some_calls()

    seen = scrape()

    for name in (DURATION, FIRST_CHUNK, TOKENS):
        counts = {frozenset(one.labels.items()): one.value for one in seen.samples(f"{name}_count")}
        assert counts
        for labels, count in counts.items():
            buckets = [one.value for one in seen.samples(f"{name}_bucket", **dict(labels))]
            assert len(buckets) == 15
            assert buckets == sorted(buckets)
            assert buckets[-1] == count


def test_gen_ai_labels_are_as_the_conventions_have_them():
    some_calls()
    ModelCallFactory(outcome="empty", output_tokens=None)

    seen = scrape()

    (failed,) = seen.samples(f"{DURATION}_count", error_type="unavailable")
    assert failed.labels == {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "openai",
        "gen_ai_request_model": "chat-model",
        "gen_ai_response_model": "gemini-flash-lite",
        "error_type": "unavailable",
        "rollout": NAME,
        "arm": "candidate",
        "outcome": "error",
    }
    assert seen.value(f"{DURATION}_count", outcome="empty", error_type="empty") == 1
    assert seen.value(f"{DURATION}_count", outcome="cancelled", error_type="") == 1
    assert seen.value(f"{DURATION}_count", gen_ai_provider_name="gcp.gemini") == 1


def test_a_counter_stays_when_its_calls_are_seen_again():
    call = ModelCallFactory()
    before = scrape().value("sluice_calls_total")

    rate(call.answer_id, 5)

    assert scrape().value("sluice_calls_total") == before == 1


def test_no_person_is_named():
    some_calls()

    text = scrape().text

    assert not [unit for unit in ModelCall.objects.values_list("unit", flat=True) if unit in text]


def test_it_says_how_old_the_figures_are():
    assert Scrape().families["sluice_rollup_age_seconds"].samples == []

    roll_up(now=NOW)
    older = Scrape().value("sluice_rollup_age_seconds")
    roll_up(now=NOW + timedelta(hours=1))

    assert 3500 < older - Scrape().value("sluice_rollup_age_seconds") <= 3600
