"""The dashboard: what it shows is what every other surface says, to the digit, and it costs few queries."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import call_command
from django.test import Client

from metrics.rollup import roll_up
from rollout.changes import Actor, change_rollout
from rollout.dashboard import RANGES, dashboard
from rollout.models import Rollout, Source
from rollout.reports import build_report
from rollout.tables import rating_reason_rows
from tests.metrics.factories import ModelCallFactory
from tests.rollout.steps import NAME, PATH, much_traffic, rollout, staff_with, text_of

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def address(part: str = "", **query: str) -> str:
    asked = "&".join(f"{key}={value}" for key, value in query.items())
    return f"/admin/rollout/rollout/{rollout().pk}/dashboard/{part}?{asked}"


def it_is(moment: datetime) -> Any:
    """Whoever asks for the time is told this one."""
    return patch("django.utils.timezone.now", return_value=moment)


def by_ada() -> Actor:
    return Actor(name="ada", source=Source.CLI)


def embedded(page: Any, element: str) -> Any:
    found = re.search(rf'<script id="{element}" type="application/json">(.*?)</script>', page.content.decode(), re.S)
    assert found
    return json.loads(found[1])


@pytest.fixture
def busy() -> None:
    """A day of traffic of a rollout at half, and it is midnight."""
    Rollout.objects.update(percent=Decimal(50), created=NOW - timedelta(days=2))
    much_traffic(now=NOW, calls=3000)
    ModelCallFactory(candidate=True, rating=5, started_at=NOW - timedelta(hours=2), ended_at=NOW - timedelta(hours=1))
    ModelCallFactory(
        rating=3,
        rating_reason="unhelpful",
        started_at=NOW - timedelta(hours=2),
        ended_at=NOW - timedelta(hours=1),
    )
    roll_up(now=NOW)


@pytest.mark.usefixtures("busy")
def test_dashboard_status_command_and_report_say_the_same_to_the_digit(admin: Client, capsys):
    with it_is(NOW):
        page = admin.get(address())
        shown = embedded(page, "dashboard-status")
        status = admin.get(PATH).json()
        call_command("rollout", "status", "--json")
        told = json.loads(capsys.readouterr().out)
        report = build_report("daily", NAME, (NOW - timedelta(days=1)).date(), now=NOW).document

    assert shown == status == told
    assert report["arms"] == status["arms"]
    assert report["otherRequests"] == status["otherRequests"]
    assert status["metrics"]["totalRequests"] == 3002
    said = text_of(page)
    for words in (status["reason"], status["evaluation"]["recommendation"]):
        assert words in said
    counted = status["criteria"][0]["requests"]
    assert f"{counted['candidate']:,} + {counted['baseline']:,}" in said
    assert counted["baseline"] > 1000


@pytest.mark.usefixtures("busy")
def test_charts_add_up_to_the_figures_above_them():
    shown = dashboard(NAME, RANGES["24h"], now=NOW)

    requests = next(chart for chart in shown.charts if chart.key == "requests")
    sums = {line.role: sum(value or 0 for value in line.values) for line in requests.series}
    arms = shown.document["arms"]
    assert sums["candidate"] == arms["candidate"]["requests"]
    assert sums["baseline"] == arms["baseline"]["requests"]
    assert sums["expected"] == pytest.approx(shown.document["split"]["expectedRequests"])
    saved = next(chart for chart in shown.charts if chart.key == "saved").series[0].values
    assert sum(value or 0 for value in saved) == pytest.approx(arms["candidate"]["savedUsd"])


@pytest.mark.usefixtures("busy")
def test_why_answers_were_rated_badly_is_told_in_words(admin: Client):
    with it_is(NOW):
        said = text_of(admin.get(address()))

    assert "What was wrong gemini-flash-lite chat-model Not helpful 0 1" in said
    assert "Too slow" not in said


def test_reasons_come_in_the_pages_order_and_only_those_that_were_given():
    candidate, baseline = {"slow": 2, "other": 1}, {"incorrect": 1234, "slow": 1}
    document = {"arms": {"candidate": {"ratingReasons": candidate}, "baseline": {"ratingReasons": baseline}}}

    assert rating_reason_rows(document) == [
        ("Not correct", "0", "1,234"),
        ("Too slow", "2", "1"),
        ("Something else", "1", "0"),
    ]


@pytest.mark.usefixtures("busy")
def test_every_range_is_drawn_whole_up_to_now():
    for chosen in RANGES.values():
        shown = dashboard(NAME, chosen, now=NOW)

        assert all(len(line.values) == len(shown.labels) for chart in shown.charts for line in chart.series)
        assert len(shown.labels) in (chosen.hours * 3600 / chosen.grain, chosen.hours * 3600 / chosen.grain + 1)


@pytest.mark.usefixtures("busy")
def test_a_change_is_a_mark_at_its_moment():
    with it_is(NOW - timedelta(hours=6, minutes=30)):
        change_rollout(NAME, {"percent": Decimal(35)}, actor=by_ada(), why="A quiet week")

    marks = dashboard(NAME, RANGES["24h"], now=NOW).marks

    assert [(mark.at, mark.text) for mark in marks] == [(17.5, "Percentage: 50 % → 35 %, ada")]


def test_a_rollout_without_traffic_says_so(admin: Client):
    page = admin.get(address())

    said = text_of(page)
    assert "Nothing has been counted yet" in said
    assert "Nothing to show in this time." in said
    assert "Nobody has rated an answer in this time." in said
    assert "What was wrong" not in said
    assert embedded(page, "dashboard-charts")["charts"] == []


def test_errors_are_shown_with_their_messages_newest_first(admin: Client):
    with it_is(NOW):
        for minutes, detail in ((9, "OpenAI failed with HTTP 503."), (3, "OpenAI is over its rate limit.")):
            ModelCallFactory(failed=True, error_detail=detail, started_at=NOW - timedelta(minutes=minutes))
        said = text_of(admin.get(address(range="1h")))

    assert said.index("OpenAI is over its rate limit.") < said.index("OpenAI failed with HTTP 503.")


def test_the_live_part_comes_only_when_something_is_new(admin: Client):
    with it_is(NOW):
        first = admin.get(address("live/"))
        again = admin.get(address("live/"), headers={"If-None-Match": first["ETag"]})
        other = admin.get(address("live/", range="7d"), headers={"If-None-Match": first["ETag"]})
        ModelCallFactory(candidate=True, ended_at=NOW)
        after = admin.get(address("live/"), headers={"If-None-Match": first["ETag"]})
        change_rollout(NAME, {"percent": Decimal(35)}, actor=by_ada())
        changed = admin.get(address("live/"), headers={"If-None-Match": after["ETag"]})

    assert first.status_code == 200
    assert (again.status_code, again.content) == (304, b"")
    assert [answer.status_code for answer in (other, after, changed)] == [200, 200, 200]
    assert "no-cache" in first["Cache-Control"]


def test_who_may_see_rollouts_sees_the_dashboard_and_nobody_else():
    assert staff_with("view_rollout").get(address()).status_code == 200
    assert staff_with("view_rollout").get("/admin/rollout/rollout/glossary/").status_code == 200
    assert staff_with("view_modelcall").get(address()).status_code == 403
    assert staff_with("view_modelcall").get(address("live/")).status_code == 403
    assert staff_with("view_modelcall").get("/admin/rollout/rollout/glossary/").status_code == 403
    assert Client().get(address()).status_code == 302


def test_an_unknown_range_or_rollout_is_an_error(admin: Client):
    assert admin.get(address(range="2h")).status_code == 404
    assert admin.get("/admin/rollout/rollout/77777/dashboard/").status_code == 404


def test_the_glossary_explains_each_term_in_a_sentence(admin: Client):
    said = text_of(admin.get("/admin/rollout/rollout/glossary/"))

    assert "Margin How much worse than the baseline the candidate may be." in said


@pytest.mark.usefixtures("busy")
def test_the_dashboard_costs_the_same_queries_at_any_size(admin: Client, django_assert_max_num_queries):
    with it_is(NOW), django_assert_max_num_queries(40):
        admin.get(address(range="90d"))
