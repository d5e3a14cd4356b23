import json
from dataclasses import dataclass, replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.totals import DURATION_BOUNDS_MS, TOKEN_BOUNDS, Histogram, Total, TotalKey, to_usd, total_key


@dataclass(frozen=True, kw_only=True)
class Call:
    rollout: str = "gemini-flash-lite"
    arm: str = "candidate"
    reason: str = "percentage"
    surface: str = "chat"
    provider: str = "gemini"
    requested_model: str = "chat-model"
    assigned_model: str = "gemini-flash-lite"
    served_model: str = "gemini-flash-lite"
    upstream_model: str = "gemini-3.1-flash-lite"
    outcome: str = "ok"
    error_class: str = ""
    attempt: int = 1
    ttft_ms: int | None = 120
    latency_ms: int | None = 1500
    input_tokens: int | None = 300
    output_tokens: int | None = 200
    cost_usd: Decimal | None = Decimal("0.0004")
    baseline_cost_usd: Decimal | None = Decimal("0.004")


def total_of(*calls: Call) -> Total:
    total = Total()
    for call in calls:
        total.add(call)
    return total


_unknown_or = st.none() | st.integers(0, 10**9)
_money = st.none() | st.decimals(0, 10, places=12, allow_nan=False)
_calls = st.builds(
    Call,
    attempt=st.integers(1, 2),
    served_model=st.sampled_from(["chat-model", "gemini-flash-lite"]),
    outcome=st.sampled_from(["ok", "error", "timeout", "refused", "empty", "cancelled", "abandoned"]),
    ttft_ms=_unknown_or,
    latency_ms=_unknown_or,
    input_tokens=_unknown_or,
    output_tokens=_unknown_or,
    cost_usd=_money,
    baseline_cost_usd=_money,
)


@given(st.lists(_calls, max_size=8), st.integers(0, 8))
def test_totals_of_parts_merge_to_the_total_of_all(calls: list[Call], cut: int):
    merged = total_of(*calls[:cut])
    merged.merge(total_of(*calls[cut:]))

    assert merged == total_of(*calls)


@given(st.lists(_calls, max_size=5))
def test_a_total_comes_back_from_json_as_it_was(calls: list[Call]):
    total = total_of(*calls)

    assert Total.from_json(json.loads(json.dumps(total.to_json()))) == total


def test_a_total_that_grows_on_leaves_its_json_as_it_was():
    total = total_of(Call())
    stored = total.to_json()
    again = Total.from_json(stored)

    total.add(Call())
    again.add(Call())

    assert stored == total_of(Call()).to_json()


def test_json_with_a_bucket_too_few_is_refused():
    stored = total_of(Call()).to_json()
    stored["ttft_ms"]["counts"].pop()

    with pytest.raises(ValueError):
        Total.from_json(stored)


def test_json_without_one_of_the_sums_is_refused():
    stored = total_of(Call()).to_json()
    del stored["cost_pico"]

    with pytest.raises(KeyError):
        Total.from_json(stored)


def test_the_bounds_are_those_that_opentelemetry_advises():
    seconds = [bound / 1000 for bound in DURATION_BOUNDS_MS]

    assert seconds == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
    assert TOKEN_BOUNDS[:4] == (1, 4, 16, 64)
    assert TOKEN_BOUNDS[-1] == 67_108_864


@pytest.mark.parametrize(("value", "bucket"), [(0, 0), (10, 0), (11, 1), (20, 1), (21, 2), (10**6, 2)])
def test_a_value_on_a_bound_counts_below_it(value: int, bucket: int):
    histogram = Histogram(bounds=(10, 20))

    histogram.add(value)

    assert histogram.counts.index(1) == bucket


def test_what_is_not_known_is_not_counted_as_zero():
    total = total_of(Call(ttft_ms=None, latency_ms=None, input_tokens=None, output_tokens=None))

    assert [total.ttft_ms.count, total.latency_ms.count, total.input_tokens.count, total.output_tokens.count] == [0] * 4
    assert total.calls == 1


def test_requests_are_first_attempts_and_fallbacks_calls_by_another_model():
    fallback = Call(attempt=2, served_model="chat-model")

    total = total_of(Call(), fallback)

    assert (total.calls, total.requests, total.fallbacks) == (2, 1, 1)


def test_the_saving_takes_calls_whose_both_prices_are_known():
    total = total_of(Call(), Call(baseline_cost_usd=None), Call(cost_usd=None))

    assert to_usd(total.cost_pico) == Decimal("0.0008")
    assert to_usd(total.baseline_cost_pico - total.priced_cost_pico) == Decimal("0.0036")


@pytest.mark.parametrize(
    ("call", "unknown"),
    [
        (Call(cost_usd=None), 1),
        (Call(cost_usd=None, ttft_ms=None, outcome="refused"), 1),
        (Call(cost_usd=None, ttft_ms=None, outcome="error"), 0),
        (Call(), 0),
    ],
    ids=["answered", "refused before any text", "never reached a model", "known"],
)
def test_the_cost_of_a_call_that_reached_no_model_is_not_unknown(call: Call, unknown: int):
    assert total_of(call).cost_unknown == unknown


def test_ten_thousand_tiny_costs_add_up_exactly():
    tiny = Call(cost_usd=Decimal("0.000000010001"))

    assert to_usd(total_of(*[tiny] * 10_000).cost_pico) == Decimal("0.00010001")


def test_calls_that_differ_in_nothing_that_is_told_apart_have_one_key():
    call = Call()

    assert total_key(call) == total_key(replace(call, attempt=2, latency_ms=9))
    assert total_key(call) != total_key(replace(call, outcome="timeout"))


def test_a_key_holds_the_calls_own_words():
    assert total_key(Call(outcome="error", error_class="http_500")) == TotalKey(
        rollout="gemini-flash-lite",
        arm="candidate",
        reason="percentage",
        surface="chat",
        provider="gemini",
        requested_model="chat-model",
        served_model="gemini-flash-lite",
        upstream_model="gemini-3.1-flash-lite",
        outcome="error",
        error_class="http_500",
    )
