"""A stored report on its page, as files, in the API and in the terminal: the same figures everywhere."""

import csv
import io
import json
from datetime import date, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from rollout.changes import change_rollout
from rollout.models import Report
from rollout.report_document import period
from rollout.reports import build_report
from tests.chat.factories import UserFactory
from tests.metrics.factories import NOW, ModelCallFactory
from tests.rollout.factories import ADA
from tests.rollout.steps import NAME, signed_in, staff_with

pytestmark = pytest.mark.django_db

DAY = NOW.date()
MONDAY = date(2026, 11, 16)
ROOT = f"/api/v1/rollouts/{NAME}/reports"


@pytest.fixture
def report() -> Report:
    ModelCallFactory.create_batch(3, candidate=True, rating=4)
    ModelCallFactory.create_batch(2, failed=True)
    ModelCallFactory(reason="tester", arm="candidate")
    change_rollout(NAME, {"percent": 15}, actor=ADA, why="=1+1", now=NOW)
    return build_report("weekly", NAME, MONDAY, now=NOW)


@pytest.fixture
def viewer() -> Client:
    return staff_with("view_report")


def figures(text: str) -> dict[tuple[str, ...], str]:
    rows = list(csv.DictReader(io.StringIO(text)))
    return {(row["start"], row["arm"], row["figure"]): row["value"] for row in rows}


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("rollout", *words, stdout=out)
    return out.getvalue()


def test_the_page_says_what_the_document_says(report, viewer):
    page = viewer.get(reverse("admin:rollout_report_change", args=[report.pk])).content.decode()

    assert "week of" in page
    assert '<th scope="row">Requests</th><td>3</td><td>2</td>' in page
    assert '<th scope="row">Testers</th><td>1</td>' in page
    assert "Percentage: 5 % → 15 %" in page
    assert page.count("<rect") == 2 * 7 * 4


def test_files_hold_the_document(report, viewer):
    texts = {name: viewer.get(reverse("admin:rollout_report_file", args=[report.pk, name])) for name in ("csv", "json")}

    assert json.loads(texts["json"].content) == report.document
    found = figures(texts["csv"].content.decode())
    assert found["", "candidate", "requests"] == "3"
    assert found["", "baseline", "outcomes.error"] == "2"
    assert found["", "candidate", "costUsd"] == str(report.document["arms"]["candidate"]["costUsd"])
    assert found["", "", "split.srm"] == ""
    assert sum(int(value) for (start, _arm, name), value in found.items() if start and name == "requests") == 5
    assert "attachment" in texts["csv"]["Content-Disposition"]


def test_there_is_no_third_format_and_no_file_for_others(report, viewer):
    address = reverse("admin:rollout_report_file", args=[report.pk, "csv"])

    assert viewer.get(address.replace("csv", "xml")).status_code == 404
    assert viewer.get(address.replace(str(report.pk), "999999")).status_code == 404
    assert staff_with("view_rollout").get(address).status_code == 403


def test_the_api_gives_the_report_in_three_formats(report, viewer):
    path = f"{ROOT}/weekly/2026-11-18"

    assert viewer.get(path).json() == report.document
    assert figures(viewer.get(f"{path}?format=csv").content.decode())["", "candidate", "requests"] == "3"
    text = viewer.get(f"{path}?format=report")
    assert text["Content-Type"] == "text/plain; charset=utf-8"
    assert text.content.decode().strip() == run("report", "--week", "2026-11-18").strip()


def test_an_older_version_is_there_under_its_number(report, viewer):
    ModelCallFactory(candidate=True)
    build_report("weekly", NAME, MONDAY, now=NOW)

    requests = {
        version: viewer.get(f"{ROOT}/weekly/2026-11-16{version}").json()["arms"]["candidate"]["requests"]
        for version in ("", "?version=1")
    }

    assert requests == {"": 4, "?version=1": 3}


def test_the_list_goes_from_new_to_old_in_pages(viewer):
    for number in range(52):
        build_report("daily", NAME, DAY - timedelta(days=number), now=NOW)
    build_report("weekly", NAME, MONDAY, now=NOW)

    first = viewer.get(f"{ROOT}?kind=daily").json()
    second = viewer.get(first["next"]).json()

    days = [row["firstDay"] for row in [*first["results"], *second["results"]]]
    assert days == [(DAY - timedelta(days=number)).isoformat() for number in range(52)]
    assert second["next"] is None
    assert [row["kind"] for row in viewer.get(f"{ROOT}?kind=weekly").json()["results"]] == ["weekly"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{ROOT}?kind=yearly", 400),
        (f"{ROOT}/weekly/2026-11-16?version=x", 400),
        (f"{ROOT}/weekly/2026-11-16?version=7", 404),
        (f"{ROOT}/weekly/2026-02-30", 404),
        (f"{ROOT}/weekly/2020-01-01", 404),
        (f"{ROOT}/yearly/2026-11-16", 404),
        (f"{ROOT}/weekly/2026-11-16?format=xml", 404),
        ("/api/v1/rollouts/nothing/reports", 404),
    ],
)
def test_what_is_not_there_is_told_in_words(report, viewer, path, status):
    answer = viewer.get(path)

    assert answer.status_code == status
    assert answer.json()["detail"]


def test_reports_are_for_staff_who_may_view_them(report, client):
    person = signed_in(UserFactory())

    for path in (ROOT, f"{ROOT}/weekly/2026-11-16"):
        assert client.get(path).status_code == 401
        assert signed_in(UserFactory(guest=True)).get(path).status_code == 401
        assert person.get(path).status_code == 403
        assert staff_with("view_rollout").get(path).status_code == 403


def test_the_terminal_shows_a_report_with_lines_and_as_json(report):
    text = run("report", "--week", "2026-11-20")

    assert "HOW REQUESTS ENDED" in text
    assert any(line.lstrip().startswith("Requests, candidate") and "█" in line for line in text.splitlines())
    assert json.loads(run("report", "--week", "2026-11-20", "--json")) == report.document


@pytest.mark.parametrize(
    "words",
    [
        ("report", "--day", "2026-11-19"),
        ("report", "--day", "yesterday"),
        ("status", "--week", "2026-11-16"),
        ("report", "--week", "2026-11-16", "--day", "2026-11-16"),
    ],
)
def test_no_such_report_is_told_in_words(report, words):
    with pytest.raises(CommandError, match=r"report|date"):
        run(*words)


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        (date(2026, 3, 29), "Europe/Berlin", 23),
        (date(2026, 10, 25), "Europe/Berlin", 25),
        (date(2026, 6, 1), "Asia/Kolkata", 24),
        (date(2026, 4, 5), "Australia/Lord_Howe", 25),
    ],
)
def test_the_hours_of_a_day_add_up_to_the_day(settings, day, zone, hours):
    settings.TIME_ZONE = zone
    since, until = period("daily", day)
    for minutes in range(-15, 26 * 60, 45):
        ModelCallFactory(started_at=since + timedelta(minutes=minutes))

    document: dict[str, Any] = build_report("daily", NAME, day, now=NOW).document

    assert len(document["series"]) == hours
    in_hours = sum(point["baseline"]["requests"] for point in document["series"])
    expected = len([m for m in range(-15, 26 * 60, 45) if since <= since + timedelta(minutes=m) < until])
    assert in_hours == document["arms"]["baseline"]["requests"] == expected


def test_a_reason_stays_what_it_was_when_the_report_was_built():
    from rollout.pilot import look_at

    look_at(NAME, now=NOW - timedelta(days=1))
    first = build_report("daily", NAME, DAY, now=NOW).document["decision"]
    ModelCallFactory.create_batch(3, candidate=True)
    look_at(NAME, now=NOW + timedelta(days=1))

    later = build_report("daily", NAME, DAY, now=NOW + timedelta(days=1))

    assert later.version == 2
    assert later.document["decision"] == first
