"""A day of demo traffic added up in three ways, and twenty calls priced by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from chat.demo import seed_demo
from metrics.models import ModelCall
from metrics.people import count_people
from metrics.reading import series
from metrics.rebuild import rebuild_rollups
from metrics.slices import Grain
from rollout.changes import Actor, change_rollout

NOW = datetime(2026, 3, 18, 15, 30, tzinfo=UTC)
DAY = datetime(2026, 3, 17, tzinfo=UTC)
ROLLOUT = "gemini-flash-lite"

# What the models of the demo cost, USD per million tokens, from the vendors' price lists: input, output.
LIST_PRICES = {"chat-model": (Decimal("2.5"), Decimal(15)), "gemini-flash-lite": (Decimal("0.25"), Decimal("1.5"))}

SQL = """
SELECT
    COUNT(CASE WHEN attempt = 1 THEN 1 END),
    COUNT(DISTINCT CASE WHEN attempt = 1 THEN unit END),
    COUNT(CASE WHEN attempt = 1 AND outcome IN ('error', 'timeout', 'abandoned', 'refused', 'empty') THEN 1 END),
    COUNT(CASE WHEN attempt = 1 THEN ttft_ms END),
    COALESCE(SUM(CASE WHEN attempt = 1 THEN ttft_ms END), 0),
    COALESCE(SUM(CASE WHEN attempt = 1 AND ttft_ms IS NOT NULL AND outcome <> 'cancelled' THEN latency_ms END), 0),
    COALESCE(SUM(input_tokens), 0),
    COALESCE(SUM(output_tokens), 0),
    COALESCE(SUM(cost_usd), 0),
    COALESCE(SUM(CASE WHEN cost_usd IS NOT NULL THEN baseline_cost_usd END), 0),
    COUNT(CASE WHEN attempt = 1 THEN rating END),
    COALESCE(SUM(CASE WHEN attempt = 1 THEN rating END), 0),
    COUNT(CASE WHEN attempt = 1 AND rating_reason <> '' THEN 1 END),
    COUNT(CASE WHEN attempt = 1 AND rating_reason = 'incorrect' THEN 1 END),
    COUNT(CASE WHEN served_model <> assigned_model THEN 1 END)
FROM metrics_modelcall
WHERE rollout = %s AND arm = %s AND reason = 'percentage' AND started_at >= %s AND started_at < %s
"""


@pytest.fixture
def _demo(db: None) -> None:
    change_rollout(ROLLOUT, {"percent": 30}, actor=Actor(name="test", source="cli"))
    seed_demo(days=3, people=300, seed=11, now=NOW)


def from_roll_ups(arm: str) -> tuple[Any, ...]:
    (point,) = series(rollout=ROLLOUT, since=DAY, until=DAY + timedelta(days=1), grain=Grain.DAY)
    health = getattr(point, arm)
    sums = health.sums
    return (
        health.requests,
        health.people,
        health.errors,
        sums.ttft_n,
        sums.ttft_sum,
        sums.latency_sum,
        sums.input_tokens,
        sums.output_tokens,
        sums.cost,
        sums.baseline_cost,
        health.ratings,
        sum(int(star) * n for star, n in sums.ratings.items()),
        sum(sums.rating_reasons.values()),
        health.rating_reasons.get("incorrect", 0),
        health.fallbacks,
    )


def from_sql(arm: str) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        bounds = (DAY, DAY + timedelta(days=1))
        cursor.execute(SQL, [ROLLOUT, arm, *(connection.ops.adapt_datetimefield_value(moment) for moment in bounds)])
        return tuple(int(value) for value in cursor.fetchone())


@pytest.mark.usefixtures("_demo")
@pytest.mark.parametrize("arm", ["baseline", "candidate"])
def test_kept_up_made_anew_and_plain_sql_agree_to_the_digit(arm):
    kept_up = from_roll_ups(arm)
    assert kept_up[0] > 50

    rebuild_rollups(clock=lambda: NOW)
    count_people(now=NOW)

    assert from_roll_ups(arm) == kept_up == from_sql(arm)


@pytest.mark.usefixtures("_demo")
def test_twenty_calls_cost_what_the_price_list_says():
    ended = ModelCall.objects.filter(outcome="ok")
    calls = [*ended.filter(served_model="chat-model")[:10], *ended.filter(served_model="gemini-flash-lite")[:10]]

    assert len(calls) == 20
    for call in calls:
        of_input, of_output = LIST_PRICES[call.served_model]
        assert not call.cached_tokens
        assert call.input_tokens is not None
        assert call.output_tokens is not None
        by_hand = (call.input_tokens * of_input + call.output_tokens * of_output) / 1_000_000
        assert call.cost_usd == by_hand
