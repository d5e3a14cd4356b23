import json
import os
import pwd
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.html import escape

from rollout import text
from rollout.changes import change_rollout
from rollout.models import Rollout, RolloutChange
from tests.chat.factories import UserFactory
from tests.metrics.factories import ModelCallFactory
from tests.rollout.factories import ADA, RolloutFactory
from tests.rollout.steps import NAME, state

pytestmark = pytest.mark.django_db

SECTIONS = [
    "ROLLOUT CONFIGURATION",
    "PERFORMANCE METRICS (24h)",
    "COST ANALYSIS",
    "SUCCESS CRITERIA",
    "RECOMMENDATION",
]


def run(*words: str, **options: Any) -> str:
    out = StringIO()
    call_command("rollout", *words, stdout=out, **options)
    return out.getvalue()


def refused(*words: str) -> str:
    with pytest.raises(CommandError) as error:
        run(*words)
    assert "\n" not in str(error.value)
    return str(error.value)


def traffic(**changes: Any) -> None:
    facts = {"started_at": timezone.now() - timedelta(minutes=5), "percent": Decimal(20), **changes}
    ModelCallFactory.create_batch(3, candidate=True, rating=5, **facts)
    ModelCallFactory(candidate=True, failed=True, **facts)
    ModelCallFactory.create_batch(16, **facts)
    ModelCallFactory(reason="tester", candidate=True, **facts)


# --- reading ---


def test_status_has_its_five_sections_in_order():
    lines = run("status").splitlines()

    assert [line for line in lines if line in SECTIONS] == SECTIONS
    assert "  Enabled    yes" in lines
    assert "  Traffic    5 %" in lines
    assert "  Affected   ~5% of chat-model users" in lines


def test_status_shows_what_happened():
    traffic()

    text = run("status", "--hours", "48")
    assert "PERFORMANCE METRICS (48h)" in text
    assert "Candidate's share: 20 % of requests (4), 20 % expected." in text
    assert "The candidate is 50 % faster." in text
    assert "Saved                              $0.010800 (90 %)" in text
    assert "Errors: not measured yet." in text
    assert "The candidate needs 96 more requests (4 of 100; " in text


def test_a_window_may_be_asked_for_before_or_after_the_action():
    assert run("--hours", "48", "status") == run("status", "--hours", "48")


def test_the_report_holds_the_status_and_every_count():
    traffic()

    report = run("report")
    assert [line for line in report.splitlines() if line in SECTIONS] == SECTIONS
    counts = [line.split() for line in report.splitlines()]
    assert ["failed", "1", "0"] in counts
    assert ["Testers", "1"] in counts


def test_the_command_line_the_api_and_admin_tell_the_same():
    change_rollout(NAME, {"min_sample": 4, "percent": 20}, actor=ADA)
    traffic()
    client = Client()
    client.force_login(UserFactory(is_staff=True, is_superuser=True))

    told = [
        json.loads(run("status", "--json")),
        json.loads(run("report", "--json")),
        client.get("/api/gemini-rollout-status").json(),
    ]
    for document in told:
        # The moment of each question, and what follows from it.
        for moment in ("timestamp", "since", "until", "ageSeconds"):
            del document[moment]
    assert told[0] == told[1] == told[2]
    assert told[0]["metrics"]["totalRequests"] == 20

    page = client.get(reverse("admin:rollout_rollout_change", args=[Rollout.objects.get(name=NAME).pk]))
    html = page.content.decode()
    for label, candidate, baseline in text.arm_rows(told[0]):
        assert f'<th scope="row">{escape(label)}</th><td>{candidate}</td><td>{baseline}</td>' in html
    for label, amount in text.cost_rows(told[0]):
        assert f'<th scope="row">{escape(label)}</th><td>{amount}</td>' in html
    assert escape(told[0]["reason"]) in html
    assert escape(told[0]["evaluation"]["recommendation"]) in html
    assert text.split_in_words(told[0]) in html


def test_the_reports_of_the_command_line_and_the_api_are_the_same_text():
    traffic()
    client = Client()
    client.force_login(UserFactory())

    theirs = client.get("/api/gemini-rollout-status?format=report").content.decode()
    assert theirs.splitlines()[1:] == run("report").splitlines()[1:]


def test_schedule_shows_the_ramp_by_week_and_where_we_stand():
    change_rollout(NAME, {"percent": 15}, actor=ADA, now=timezone.now() - timedelta(days=3, hours=1))

    lines = [line.strip() for line in run("schedule").splitlines()]
    assert "5 % → 15 % → 35 % → 100 %" in lines
    assert [line.split("   ")[0] for line in lines if "Week" in line] == ["Week 1", "→ Week 2", "Week 3", "Week 4"]
    assert "It has been so for 3 days." in lines
    at = formats.date_format(timezone.now() + timedelta(days=4) - timedelta(hours=1), "DATE_FORMAT")
    assert any(line.startswith("Next is 35 %,") and at in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"percent": 7}, f"{NAME} is at 7 %: ~7% of chat-model users get the candidate."),
        ({"forced": True}, f"{NAME} is forced: ~100% of chat-model users get the candidate."),
        ({"enabled": False}, f"{NAME} is off: ~0% of chat-model users get the candidate."),
    ],
)
def test_beside_the_ramp_no_stage_is_marked(changes, told):
    change_rollout(NAME, changes, actor=ADA)

    lines = [line.strip() for line in run("schedule").splitlines()]
    assert told in lines
    assert not [line for line in lines if line.startswith("→")]


@pytest.mark.parametrize("words", [(), ("help",)])
def test_help_names_every_action(words):
    told = run(*words)

    for action in ("status", "report", "set-traffic N", "enable", "disable", "force-gemini", "reset", "schedule"):
        assert f"\n  {action} " in told


# --- changing ---


@pytest.mark.parametrize(
    ("words", "told", "following"),
    [
        (["set-traffic", "15"], "Done. gemini-flash-lite is at 15 %: ~15% of chat-model users", "status"),
        (["set-traffic", "0"], "Done. gemini-flash-lite is at 0 %", "status"),
        (["set-traffic", "12.5"], "Done. gemini-flash-lite is at 12.5 %", "status"),
        (["disable"], "Done. gemini-flash-lite is off: ~0% of chat-model users", "enable"),
        (["force-gemini"], "Done. gemini-flash-lite is forced: ~100% of chat-model users", "reset"),
        (["enable"], "Nothing to change. gemini-flash-lite is at 5 %", "status"),
        (["reset"], "Nothing to change. gemini-flash-lite is at 5 %", "status"),
    ],
)
def test_a_change_is_told_with_the_next_useful_command(words, told, following):
    first, second = run(*words).splitlines()

    assert first.startswith(told)
    assert second == f"Next: python manage.py rollout {following}"


def test_each_action_does_what_it_says():
    run("disable")
    assert state()["enabled"] is False
    run("enable")
    assert (state()["enabled"], state()["forced"]) == (True, False)
    run("force-gemini")
    assert state()["forced"] is True
    run("set-traffic", "35")
    assert (state()["percent"], state()["forced"]) == ("35.00", True)
    run("reset")
    assert (state()["enabled"], state()["forced"], state()["percent"]) == (True, False, "5.00")


def test_a_change_is_recorded_with_the_account_of_the_machine_and_the_reason():
    run("set-traffic", "15", "--reason", "A quiet week")

    line = RolloutChange.objects.get()
    assert (line.source, line.actor, line.changed_by) == ("cli", pwd.getpwuid(os.getuid()).pw_name, None)
    assert line.why == "A quiet week"


def test_another_rollout_is_named():
    RolloutFactory(name="second")

    run("set-traffic", "50", "--rollout", "second")

    assert Rollout.objects.get(name="second").percent == 50
    assert state()["percent"] == "5.00"


def test_a_change_can_answer_with_the_document():
    assert json.loads(run("set-traffic", "15", "--json"))["rolloutConfig"]["trafficPercentage"] == 15


# --- refusing ---


@pytest.mark.parametrize("percent", ["101", "-1", "abc", "nan", "inf", "1e1", "", "15%", "9" * 5000])
def test_no_percentage_is_refused_and_nothing_changes(percent):
    assert "percentage must be a number from 0 to 100" in refused("set-traffic", percent)

    assert state()["percent"] == "5.00"
    assert not RolloutChange.objects.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["set-traffic"], "A percentage goes with set-traffic"),
        (["status", "5"], "A percentage goes with set-traffic"),
        (["status", "--hours", "0"], "hours must be a whole number from 1 to 720."),
        (["status", "--hours", "a day"], "hours must be a whole number from 1 to 720."),
        (["status", "--rollout", "nobody"], "There is no rollout named nobody."),
        (["status", "--rollout", "\udcff"], "That is not UTF-8 text."),
        (["disable", "--reason", "\udcff"], "That is not UTF-8 text."),
        (["history", "--json"], "--json goes with"),
        (["no-such-action"], "invalid choice"),
        (["status", "--no-such-option"], "unrecognized arguments"),
        (["status", "1", "2"], "unrecognized arguments"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(words, told):
    assert told in refused(*words)


def test_a_disabled_rollout_is_not_forced():
    run("disable")

    assert "can't be forced" in refused("force-gemini")
