"""A stage's checklist answers itself from the numbers, and keeps what people say to it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from rollout.changes import Actor, change_rollout
from rollout.checklist import AnswerName, answer_checklist, checklist
from rollout.models import ChecklistEntry, Rollout, Source, Stage
from rollout.pilot import look_at
from tests.rollout.steps import NAME, much_traffic, rollout, staff_with, text_of

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ADA = Actor(name="ada", source=Source.ADMIN)


def stage(percent: int) -> Stage:
    return Stage.objects.get(rollout=rollout(), percent=percent)


def address(percent: int = 5) -> str:
    return f"/admin/rollout/rollout/{rollout().pk}/checklist/{stage(percent).position}/"


def answers(percent: int, now: datetime = NOW) -> dict[str, AnswerName]:
    return {question.code: question.answer for question in checklist(rollout(), stage(percent), now=now).questions}


def ramp_at_half(**traffic: Any) -> None:
    """A rollout that stands at its first stage, 50 %, for eight days, with traffic of the last hours."""
    rollout().stages.filter(position=rollout().stages.order_by("position")[0].position).update(percent=50)
    Rollout.objects.update(percent=Decimal(50), created=NOW - timedelta(days=8))
    much_traffic(now=NOW, **traffic)


def test_a_good_candidate_answers_every_question_with_yes():
    ramp_at_half()

    found = answers(50)

    assert found.pop("satisfaction") == "left_out"
    assert set(found.values()) == {"yes"}
    ready = checklist(rollout(), stage(50), now=NOW).questions[-1]
    assert ready.text == "Ready to go on to 15 %?"


def test_a_failing_candidate_is_not_ready():
    ramp_at_half(failing=0.3)

    found = answers(50)

    assert (found["errors"], found["ready"]) == ("no", "no")


def test_without_traffic_nothing_is_answered_yet():
    Rollout.objects.update(created=NOW)

    found = answers(5)

    assert {found[code] for code in ("errors", "latency", "cost", "time", "sample", "ready")} == {"not_yet"}


def test_a_past_stage_stays_as_it_was_last_looked_at_and_a_later_one_asks_nothing_yet():
    ramp_at_half()
    look_at(NAME, now=NOW)
    before = answers(50)
    change_rollout(NAME, {"percent": Decimal(15)}, actor=ADA)

    past = checklist(rollout(), stage(50), now=NOW + timedelta(days=3))

    assert (past.is_now, past.until) == (False, NOW)
    # It was looked at once: its time is what lay between the first look and the last.
    assert {**before, "time": "not_yet", "ready": "not_yet"} == {each.code: each.answer for each in past.questions}
    assert checklist(rollout(), stage(35), now=NOW).questions == []


def test_ticks_and_comments_are_kept_with_their_people_and_only_what_is_new():
    said = {"errors": (True, "Looked at the log too"), "cost": (False, "")}
    assert answer_checklist(rollout(), stage(5), said, actor=ADA, now=NOW) == 1
    assert answer_checklist(rollout(), stage(5), {"errors": (True, "")}, actor=ADA, now=NOW) == 0
    assert answer_checklist(rollout(), stage(5), {"errors": (False, "")}, actor=ADA, now=NOW + timedelta(hours=1)) == 1

    errors = next(each for each in checklist(rollout(), stage(5), now=NOW).questions if each.code == "errors")

    assert errors.entry is not None
    assert not errors.entry.is_ticked
    assert [entry.comment for entry in errors.entries] == ["", "Looked at the log too"]


def test_a_new_run_begins_with_an_empty_checklist():
    answer_checklist(rollout(), stage(5), {"errors": (True, "")}, actor=ADA, now=NOW)
    change_rollout(NAME, {"enabled": False}, actor=ADA)
    change_rollout(NAME, {"enabled": True}, actor=ADA)

    assert all(question.entry is None for question in checklist(rollout(), stage(5), now=NOW).questions)


def test_a_question_that_is_not_asked_is_refused():
    with pytest.raises(ValueError, match="no such questions"):
        answer_checklist(rollout(), stage(5), {"weather": (True, "")}, actor=ADA, now=NOW)
    assert not ChecklistEntry.objects.exists()


def test_staff_tick_and_comment_on_the_page(admin: Client):
    page = admin.post(address(), {"errors-is_ticked": "on", "errors-comment": "Fine", "cost-comment": "Ask finance"})

    assert page.status_code == 302
    said = text_of(admin.get(address()))
    assert "✓ ada" in said
    assert ": Fine" in said
    assert ": Ask finance" in said
    assert set(ChecklistEntry.objects.values_list("question", "is_ticked")) == {("errors", True), ("cost", False)}


def test_a_comment_that_is_too_long_is_told_and_nothing_typed_is_lost(admin: Client):
    page = admin.post(address(), {"errors-is_ticked": "on", "errors-comment": "x" * 501, "cost-comment": "Ask finance"})

    assert "at most 500 characters" in text_of(page)
    assert 'value="Ask finance"' in page.content.decode()
    assert "x" * 501 in page.content.decode()
    assert not ChecklistEntry.objects.exists()


def test_who_may_only_look_cannot_tick():
    viewer = staff_with("view_rollout")

    assert 'type="submit" class="default"' not in viewer.get(address()).content.decode()
    assert viewer.post(address(), {"errors-is_ticked": "on"}).status_code == 403
    assert staff_with("view_modelcall").get(address()).status_code == 403
    assert not ChecklistEntry.objects.exists()


def test_a_stage_that_does_not_exist_is_not_found(admin: Client):
    assert admin.get(f"/admin/rollout/rollout/{rollout().pk}/checklist/77/").status_code == 404
