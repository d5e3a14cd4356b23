from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from metrics.slices import day_bounds
from rollout.changes import change_rollout
from rollout.models import Report, Rollout
from rollout.pilot import look_at
from rollout.report_document import period
from rollout.reports import build_due_reports, build_report
from tests.metrics.factories import NOW, ModelCallFactory
from tests.rollout.factories import ADA
from tests.rollout.steps import NAME

pytestmark = pytest.mark.django_db

DAY = NOW.date()


@pytest.fixture(autouse=True)
def _an_old_rollout() -> None:
    Rollout.objects.update(created=NOW - timedelta(days=3))


def daily(day: date = DAY) -> Report:
    return build_report("daily", NAME, day, now=NOW)


def requests(report: Report) -> tuple[int, int]:
    arms = report.document["arms"]
    return arms["candidate"]["requests"], arms["baseline"]["requests"]


def test_a_day_holds_its_figures_its_changes_and_the_decision_at_its_end():
    ModelCallFactory.create_batch(3, candidate=True, rating=4)
    ModelCallFactory.create_batch(2, failed=True)
    ModelCallFactory(started_at=NOW - timedelta(days=1))
    change_rollout(NAME, {"percent": 15}, actor=ADA, why="a good week", now=NOW)
    look_at(NAME, now=NOW)

    report = daily()

    assert requests(report) == (3, 2)
    assert report.document["arms"]["candidate"]["people"] == 3
    assert report.document["arms"]["baseline"]["errorsByClass"] == {"unavailable": 2}
    assert report.document["changes"][0]["what"] == ["Percentage: 5 % → 15 %"]
    assert report.document["changes"][0]["why"] == "a good week"
    assert report.document["decision"]["verdict"] == "NOT_ENOUGH_DATA"
    assert report.document["split"]["expectedRequests"] == 0.25


def test_a_report_is_frozen_until_it_is_built_again_and_then_versioned():
    ModelCallFactory()
    first = daily()
    assert daily() == first

    ModelCallFactory(candidate=True)
    assert requests(Report.objects.get()) == (0, 1)

    second = daily()
    assert (second.version, requests(second)) == (2, (1, 1))
    assert list(Report.objects.order_by("version").values_list("version", "is_newest")) == [(1, False), (2, True)]


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        (date(2026, 3, 29), "Europe/Berlin", 23),
        (date(2026, 10, 25), "Europe/Berlin", 25),
        (date(2026, 6, 1), "Asia/Kolkata", 24),
        (date(2026, 4, 5), "Australia/Lord_Howe", 24.5),
    ],
)
def test_a_day_is_as_long_as_its_zone_makes_it_and_each_call_is_in_one(settings, day, zone, hours):
    settings.TIME_ZONE = zone
    since, until = period("daily", day)
    assert until - since == timedelta(hours=hours)
    for moment in (since - timedelta(seconds=1), since, until - timedelta(seconds=1), until):
        ModelCallFactory(started_at=moment)

    days = [day - timedelta(days=1), day, day + timedelta(days=1)]
    assert [requests(build_report("daily", NAME, of, now=NOW))[1] for of in days] == [1, 2, 1]


def test_a_week_is_its_seven_days_and_knows_the_one_before():
    monday = date(2026, 11, 9)
    for days in (-1, 0, 6, 7):
        ModelCallFactory(started_at=datetime(2026, 11, 9, 12, tzinfo=UTC) + timedelta(days=days))

    report = build_report("weekly", NAME, monday, now=NOW)

    assert requests(report) == (0, 2)
    assert report.document["weekOverWeek"]["baseline"]["errorPercent"] is None
    assert len(report.document["series"]) == 7


def test_a_worker_that_was_off_catches_up_and_what_has_settled_stays():
    ModelCallFactory(started_at=NOW - timedelta(days=2))
    build_due_reports(now=NOW)
    built = Report.objects.filter(kind="daily").order_by("first_day").values_list("first_day", flat=True)
    assert [day.day for day in built] == [17, 18, 19]

    ModelCallFactory(started_at=NOW - timedelta(days=1))
    build_due_reports(now=NOW)
    assert Report.objects.filter(kind="daily", version=2).count() == 0

    midnight = day_bounds(DAY, timezone.get_default_timezone())[1]
    ModelCallFactory(started_at=midnight - timedelta(minutes=5))
    build_due_reports(now=midnight + timedelta(minutes=1))
    late = ModelCallFactory(started_at=midnight - timedelta(minutes=5), ended_at=midnight + timedelta(hours=1))
    build_due_reports(now=midnight + timedelta(hours=1))
    assert late.started_at.date() == DAY
    assert [requests(report)[1] for report in Report.objects.filter(first_day=DAY).order_by("version")] == [1, 2]


def build(*words: str) -> list[str]:
    out = StringIO()
    call_command("build_reports", *words, stdout=out)
    return out.getvalue().splitlines()


def test_the_command_builds_any_days_of_the_past_with_their_weeks():
    told = build("--from", "2025-02-27", "--to", "2025-03-02")

    assert told == [
        f"{NAME} daily 2025-02-27: version 1",
        f"{NAME} daily 2025-02-28: version 1",
        f"{NAME} daily 2025-03-01: version 1",
        f"{NAME} daily 2025-03-02: version 1",
        f"{NAME} weekly 2025-02-24: version 1",
    ]
    assert build("--from", "2025-02-27", "--to", "2025-03-02") == told


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


def test_staff_read_reports_and_nobody_changes_them(admin: Any):
    ModelCallFactory.create_batch(2, candidate=True)
    report = daily()
    path = reverse("admin:rollout_report_change", args=[report.pk])

    listed = admin.get(reverse("admin:rollout_report_changelist"))
    assert listed.status_code == 200
    page = admin.get(path).content.decode()
    assert '<th scope="row">Requests</th><td>2</td><td>0</td>' in page
    assert admin.post(path, {"version": 3}).status_code == 403
