"""What is told of a rollout, and when."""

from datetime import timedelta
from unittest import mock

import pytest
from django.db import DatabaseError
from django.test import Client

from rollout.changes import change_rollout
from rollout.decisions import Decision
from rollout.models import Delivery
from rollout.pilot import look_at
from tests.chat.factories import UserFactory
from tests.metrics.factories import NOW
from tests.rollout.factories import ADA
from tests.rollout.notice_steps import target
from tests.rollout.steps import NAME, much_traffic, rollout, text_of

HARM = Decision(verdict="ROLLBACK", criteria=(), harm=True)


def events() -> list[str]:
    return list(Delivery.objects.order_by("created_at", "event").values_list("event", flat=True))


@pytest.mark.django_db
def test_another_decision_is_told_once():
    target("ada@example.com", channel="email")
    look_at(NAME, now=NOW)
    look_at(NAME, now=NOW + timedelta(minutes=1))
    assert events() == ["decision"]
    much_traffic(now=NOW)
    for minute in (2, 3):
        look_at(NAME, now=NOW + timedelta(minutes=minute))

    assert events() == ["decision", "decision"]
    newest = Delivery.objects.order_by("-created_at")[0]
    assert newest.message["subject"] == f"{NAME}: the decision is now Go"
    facts = newest.message["facts"]
    assert [facts[name] for name in ("verdict", "before", "percent")] == ["GO", "NOT_ENOUGH_DATA", "5.00"]
    assert facts["reason"] == newest.message["text"]
    assert "errors" in {criterion["name"] for criterion in facts["criteria"]}


@pytest.mark.django_db
def test_a_rollback_is_told_with_its_reason_and_once():
    target("ada@example.com", channel="email")
    change_rollout(NAME, {"ramp_mode": "automatic"}, actor=ADA)
    with mock.patch("rollout.pilot.evaluate", return_value=HARM):
        for minute in range(3):
            look_at(NAME, now=NOW + timedelta(minutes=minute))

    assert events() == ["rolled_back"]
    message = Delivery.objects.get().message
    assert message["subject"] == f"{NAME} was rolled back at 5 %"
    assert "proven to be worse" in message["text"]
    assert message["facts"] == {
        "action": "roll_back",
        "code": "harm",
        "reason": message["text"],
        "mode": "automatic",
        "percent": "5.00",
        "state": "rolled_back",
        "verdict": "ROLLBACK",
        "criteria": [],
    }


@pytest.mark.django_db
def test_an_assisted_ramp_tells_what_it_proposes_and_a_manual_one_nothing():
    target("ada@example.com", channel="email")
    with mock.patch("rollout.pilot.evaluate", return_value=HARM):
        look_at(NAME, now=NOW)
        assert events() == []
        change_rollout(NAME, {"ramp_mode": "assisted"}, actor=ADA)
        for minute in (1, 2):
            look_at(NAME, now=NOW + timedelta(minutes=minute))

    assert events() == ["proposed"]
    assert rollout().is_on


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("part", "error"),
    [
        ("rollout.notices.post", DatabaseError("no room")),
        ("rollout.notices.post", TypeError("not JSON")),
        ("rollout.notices.ramp_words.notice", KeyError("no such words")),
    ],
)
def test_no_news_holds_a_rollback_up(part, error):
    target("ada@example.com", channel="email")
    change_rollout(NAME, {"ramp_mode": "automatic"}, actor=ADA)
    with mock.patch("rollout.pilot.evaluate", return_value=HARM), mock.patch(part, side_effect=error):
        step = look_at(NAME, now=NOW)

    assert step is not None
    assert step.is_done
    assert not rollout().is_on


@pytest.mark.django_db
def test_a_failure_of_the_autopilot_changes_nothing_and_is_told_and_shown():
    target("ada@example.com", channel="email")
    change_rollout(NAME, {"ramp_mode": "automatic"}, actor=ADA)
    version = rollout().version
    with mock.patch("rollout.pilot.evaluate", side_effect=ValueError("sums that are not finite")):
        for minute in range(2):
            assert look_at(NAME, now=NOW + timedelta(minutes=minute)) is None

    assert rollout().version == version
    assert events() == ["autopilot_failed"]
    admin = Client()
    admin.force_login(UserFactory(is_staff=True, is_superuser=True))
    shown = text_of(admin.get(f"/admin/rollout/rollout/{rollout().pk}/ramp/"))
    assert "could not look at this rollout. Nothing was changed" in shown
