from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from metrics.models import DailyReport, ModelCall
from metrics.reports import build_daily_report, build_due_reports
from tests.metrics.factories import NOW, ModelCallFactory

pytestmark = pytest.mark.django_db

DAY = NOW.date()


def rows() -> list[dict[str, Any]]:
    """Every report, without its identity and the moment it was built."""
    return [
        {field: value for field, value in row.items() if field not in ("id", "built_at")}
        for row in DailyReport.objects.order_by("day", "rollout", "arm").values()
    ]


def test_a_day_has_a_report_for_each_rollout_and_arm():
    ModelCallFactory.create_batch(3, candidate=True, percent=Decimal("12.5"), rating=4)
    ModelCallFactory.create_batch(5, percent=Decimal("12.5"))
    ModelCallFactory(failed=True, percent=Decimal("12.5"))
    ModelCallFactory(rollout="another")

    assert build_daily_report(DAY, now=NOW) == 4

    candidate = DailyReport.objects.get(day=DAY, rollout="gemini-flash-lite", arm="candidate")
    assert (candidate.requests, candidate.people, candidate.outcomes) == (3, 3, {"ok": 3})
    assert candidate.expected_requests == Decimal("1.125")
    assert (candidate.cost_usd, candidate.baseline_cost_usd) == (Decimal("0.0012"), Decimal("0.012"))
    assert (candidate.ttft_mean_ms, candidate.ratings, candidate.rating_mean) == (200, 3, 4)
    baseline = DailyReport.objects.get(day=DAY, rollout="gemini-flash-lite", arm="baseline")
    assert (baseline.requests, baseline.outcomes) == (6, {"ok": 5, "error": 1})
    assert baseline.expected_requests == Decimal("7.875")


def test_building_again_gives_the_same_rows():
    ModelCallFactory.create_batch(3, candidate=True)
    build_daily_report(DAY, now=NOW)
    before, keys = rows(), set(DailyReport.objects.values_list("pk", flat=True))

    build_daily_report(DAY, now=NOW + timedelta(hours=1))

    assert rows() == before
    assert set(DailyReport.objects.values_list("pk", flat=True)) == keys


def test_what_comes_late_is_corrected_and_what_went_goes():
    late = ModelCallFactory(candidate=True)
    other = ModelCallFactory(rollout="another")
    build_daily_report(DAY, now=NOW)

    ModelCallFactory(candidate=True, started_at=late.started_at)
    other.delete()
    build_daily_report(DAY, now=NOW)

    assert [(row["rollout"], row["arm"], row["requests"]) for row in rows()] == [
        ("gemini-flash-lite", "baseline", 0),
        ("gemini-flash-lite", "candidate", 2),
    ]


def test_a_day_is_a_day_of_utc(settings):
    settings.TIME_ZONE = "Pacific/Auckland"
    midnight = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    for moment in (midnight - timedelta(seconds=1), midnight, midnight + timedelta(hours=24) - timedelta(seconds=1)):
        ModelCallFactory(started_at=moment)

    for day in (DAY - timedelta(days=1), DAY, DAY + timedelta(days=1)):
        build_daily_report(day, now=NOW)

    assert {row["day"]: row["requests"] for row in rows() if row["arm"] == "baseline"} == {
        DAY - timedelta(days=1): 1,
        DAY: 2,
    }


def test_calls_outside_any_rollout_make_no_report():
    ModelCallFactory(rollout="", arm="", reason="not_in_rollout")

    assert build_daily_report(DAY, now=NOW) == 0


def test_a_worker_that_was_off_catches_up():
    for days in (5, 4, 2):
        ModelCallFactory(started_at=NOW - timedelta(days=days))

    build_due_reports(now=NOW)
    assert [row["day"].day for row in rows() if row["requests"]] == [15, 16, 18]

    ModelCallFactory(started_at=NOW + timedelta(days=3))
    build_due_reports(now=NOW + timedelta(days=3))
    assert [row["day"].day for row in rows() if row["requests"]] == [15, 16, 18, 23]


def test_yesterday_is_built_again_while_its_calls_may_still_end():
    call = ModelCallFactory(running=True, started_at=NOW - timedelta(days=1))
    build_due_reports(now=NOW)

    ModelCall.objects.filter(pk=call.pk).update(outcome="ok", ended_at=NOW)
    build_due_reports(now=NOW)

    assert DailyReport.objects.get(arm="baseline").outcomes == {"ok": 1}


# --- the command ---


def build(*words: str) -> list[str]:
    out = StringIO()
    call_command("build_reports", *words, stdout=out)
    return out.getvalue().splitlines()


def test_the_command_builds_yesterday_and_today():
    ModelCallFactory(started_at=timezone.now())
    today = timezone.now().astimezone(UTC).date()

    assert build() == [f"{today - timedelta(days=1)}: 0 reports", f"{today}: 2 reports"]


def test_the_command_builds_any_days_of_the_past():
    ModelCallFactory(started_at=datetime(2025, 2, 28, 12, tzinfo=UTC))

    assert build("--from", "2025-02-27", "--to", "2025-03-01") == [
        "2025-02-27: 0 reports",
        "2025-02-28: 2 reports",
        "2025-03-01: 0 reports",
    ]
    assert {row["day"] for row in rows()} == {date(2025, 2, 28)}


@pytest.mark.parametrize(
    "words",
    [
        ["--from", "2025-02-30"],
        ["--from", "yesterday"],
        ["--from", "2025-03-02", "--to", "2025-03-01"],
        ["--to", "2999-01-01"],
    ],
)
def test_no_range_of_days_is_refused_in_words(words):
    with pytest.raises(CommandError, match=r"date|day"):
        build(*words)
