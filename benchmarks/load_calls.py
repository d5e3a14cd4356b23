"""Fills a PostgreSQL database with synthetic calls: ``python -m benchmarks.load_calls --calls 10000000 --days 90``.

For a database made for it (``DATABASE_URL``), migrated and without calls. People sit in one arm each and some come far
more often than others; latencies have long tails; a few calls fail, some are rated. The rows are made by PostgreSQL
itself, day by day, marked as counted: ``manage.py rebuild_rollups`` then makes the roll-ups.
"""

import argparse
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import django

# One call a row: person p asks at a random moment of the day; u1…u5 are its dice.
INSERT = """
INSERT INTO metrics_modelcall (
    id, answer_id, attempt, surface, application, rollout, arm, reason, percent, run, stretch, unit,
    requested_model, assigned_model, served_model, provider, upstream_model,
    outcome, error_class, error_detail, http_status, finish_reason,
    started_at, ended_at, ttft_ms, latency_ms,
    input_tokens, output_tokens, cost_usd, baseline_cost_usd, rating, rating_reason,
    is_demo, pending, counted, counted_rating, counted_rating_reason
)
SELECT
    gen_random_uuid(), gen_random_uuid(), 1, 'chat', '',
    %(rollout)s, arm, 'percentage', %(percent)s, 1, 1, md5(p::text),
    %(baseline)s, model, model, provider, upstream,
    CASE WHEN failed THEN 'error' ELSE 'ok' END,
    CASE WHEN failed THEN 'http_503' ELSE '' END, '', CASE WHEN failed THEN 503 END,
    CASE WHEN failed THEN '' ELSE 'stop' END,
    started_at, started_at + make_interval(secs => latency / 1000.0),
    CASE WHEN NOT failed THEN ttft END, CASE WHEN failed THEN 40 ELSE latency END,
    CASE WHEN NOT failed THEN 800 END, CASE WHEN NOT failed THEN tokens END,
    CASE WHEN NOT failed THEN (800 * input_price + tokens * output_price) * 1000000 END,
    CASE WHEN NOT failed THEN (800 * 2.5 + tokens * 15) * 1000000 END,
    rating, rating_reason, false, false, true, rating, rating_reason
FROM (
    SELECT
        p, arm, failed, started_at, tokens, rating, CASE WHEN rating = 3 THEN 'unhelpful' ELSE '' END AS rating_reason,
        CASE WHEN arm = 'candidate' THEN %(candidate)s ELSE %(baseline)s END AS model,
        CASE WHEN arm = 'candidate' THEN 'gemini' ELSE 'openai' END AS provider,
        CASE WHEN arm = 'candidate' THEN 'gemini-3.1-flash-lite' ELSE 'gpt-5.4' END AS upstream,
        CASE WHEN arm = 'candidate' THEN 0.25 ELSE 2.5 END AS input_price,
        CASE WHEN arm = 'candidate' THEN 1.5 ELSE 15 END AS output_price,
        ttft, ttft + tokens * CASE WHEN arm = 'candidate' THEN 5 ELSE 11 END AS latency
    FROM (
        SELECT
            p,
            CASE WHEN (p::bigint * 2654435761) %% 10000 < %(percent)s * 100 THEN 'candidate' ELSE 'baseline' END AS arm,
            u2 < 0.01 AS failed,
            %(day)s::timestamptz + make_interval(secs => u3 * 86399) AS started_at,
            (40 + 360 * u4 * u4)::int AS tokens,
            GREATEST(1, (120 * exp(0.6 * (u1 + u2 + u3 + u4 + u5 + u6 - 3) * 1.41))::int) AS ttft,
            CASE WHEN u5 < 0.1 THEN 3 + floor(u6 * 3)::int END AS rating
        FROM (
            SELECT
                (power(random(), 2) * %(people)s)::int AS p, random() AS u1, random() AS u2, random() AS u3,
                random() AS u4, random() AS u5, random() AS u6
            FROM generate_series(1, %(calls)s)
        ) AS dice
    ) AS asked
) AS made
"""


def main() -> int:
    """Load, and say how it goes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, required=True, help="calls in all")
    parser.add_argument("--days", type=int, default=90, help="days up to now (90)")
    parser.add_argument("--people", type=int, default=200_000, help="people in all (200,000)")
    parser.add_argument(
        "--busy-day", type=int, default=0, metavar="CALLS", help="this many more on the day before today"
    )
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from django.db import connection

    from metrics.models import ModelCall, Window
    from metrics.partitions import make_partitions
    from rollout.changes import get_rollout

    if connection.vendor != "postgresql" or ModelCall.objects.exists():
        sys.exit("DATABASE_URL must name a PostgreSQL database without calls.")
    rollout = get_rollout("gemini-flash-lite")
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begun = time.monotonic()
    make_partitions(since=midnight - timedelta(days=options.days), until=midnight)
    for number in range(options.days, 0, -1):
        values = {
            "rollout": rollout.name,
            "baseline": rollout.baseline,
            "candidate": rollout.candidate,
            "percent": Decimal(5),
            "people": options.people,
            "day": midnight - timedelta(days=number),
            "calls": options.calls // options.days + (options.busy_day if number == 1 else 0),
        }
        with connection.cursor() as cursor:
            cursor.execute(INSERT, values)
    Window.objects.create(rollout=rollout.name, run=1, number=0, stretch=1, percent=Decimal(5))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE metrics_modelcall")
    print(f"{ModelCall.objects.count():,} calls in {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
