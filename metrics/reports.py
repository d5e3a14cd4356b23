"""Daily reports: each UTC day rebuilt whole from its calls, so that running it again only corrects it.

Part of metrics' services; knows its own rows and is told the time.
"""

from datetime import UTC, date, datetime, timedelta

from django.db import transaction
from django.db.models import Max, Min

from metrics.models import Arm, DailyReport, ModelCall
from metrics.services import ArmHealth, Health, health


def build_daily_report(day: date, *, now: datetime) -> int:
    """Build or rebuild the reports of one UTC day, one per rollout and arm. Returns how many there are."""
    since = datetime(day.year, day.month, day.day, tzinfo=UTC)
    until = since + timedelta(days=1)
    rollouts = (
        ModelCall.objects.filter(started_at__gte=since, started_at__lt=until)
        .exclude(rollout="")
        .values_list("rollout", flat=True)
        .distinct()
        .order_by("rollout")
    )
    with transaction.atomic():
        figures = [health(rollout=name, since=since, until=until) for name in rollouts]
        kept = [_store(of_rollout, day, arm, now) for of_rollout in figures for arm in Arm]
        DailyReport.objects.filter(day=day).exclude(pk__in=kept).delete()
    return len(kept)


def build_due_reports(*, now: datetime) -> int:
    """Build today's reports, yesterday's, and those of every day since the last one built.

    A day is built again while calls of it may still end; a worker that was off catches up here.
    """
    today = now.astimezone(UTC).date()
    day = min(_last_built() or _first_called() or today, today - timedelta(days=1))
    built = 0
    while day <= today:
        built += build_daily_report(day, now=now)
        day += timedelta(days=1)
    return built


def _last_built() -> date | None:
    last: date | None = DailyReport.objects.aggregate(last=Max("day"))["last"]
    return last


def _first_called() -> date | None:
    first = ModelCall.objects.exclude(rollout="").aggregate(first=Min("started_at"))["first"]
    return None if first is None else first.astimezone(UTC).date()


def _store(figures: Health, day: date, arm: Arm, now: datetime) -> int:
    side: ArmHealth = figures.candidate if arm == Arm.CANDIDATE else figures.baseline
    expected = figures.expected_candidate
    report, _ = DailyReport.objects.update_or_create(
        day=day,
        rollout=figures.rollout,
        arm=arm,
        defaults={
            "requests": side.requests,
            "people": side.people,
            "expected_requests": expected if arm == Arm.CANDIDATE else figures.requests - expected,
            "outcomes": side.outcomes,
            "ttft_mean_ms": side.ttft_mean_ms,
            "latency_mean_ms": side.latency_mean_ms,
            "input_tokens": side.input_tokens,
            "output_tokens": side.output_tokens,
            "cost_usd": side.cost_usd,
            "baseline_cost_usd": side.baseline_cost_usd,
            "cost_unknown": side.cost_unknown,
            "ratings": side.ratings,
            "rating_mean": side.rating_mean,
            "fallbacks": side.fallbacks,
            "built_at": now,
        },
    )
    return report.pk
