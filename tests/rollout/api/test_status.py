"""Status, decision, schedule and assignments over REST, beside the older path."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone

from rollout.changes import change_rollout
from rollout.pilot import look_at
from rollout.services import explain
from tests.chat.factories import UserFactory
from tests.metrics.factories import ModelCallFactory
from tests.rollout.factories import ADA, RolloutFactory
from tests.rollout.steps import NAME, PATH, much_traffic, staff_with

ONE = f"/api/v1/rollouts/{NAME}"

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer() -> Client:
    return staff_with("view_rollout")


@pytest.fixture
def half_past(monkeypatch) -> datetime:
    """The middle of a minute of today, at which every request comes."""
    now = timezone.now().replace(second=30, microsecond=0)
    monkeypatch.setattr("rollout.api.status.timezone.now", lambda: now)
    return now


def traffic(now: datetime) -> None:
    for number in range(4):
        ModelCallFactory(candidate=True, started_at=now - timedelta(minutes=number + 1), rating=4)
    ModelCallFactory(failed=True, started_at=now - timedelta(minutes=2))


# --- status ---


def test_before_any_traffic_money_is_null_and_not_zero(viewer):
    document = viewer.get(f"{ONE}/status").json()

    nothing = {"candidate": None, "baseline": None}
    assert document["metrics"] == {
        "totalRequests": 0,
        "candidateRequests": 0,
        "trafficPercentage": None,
        "averageLatency": {**nothing, "improvement": None},
        "costSavings": {"totalSaved": None, "percentageSaved": None},
        "errorRates": nothing,
        "userSatisfaction": nothing,
    }
    assert document["savings"] == {"window": None, "total": None, "projected": None}
    for arm in document["arms"].values():
        assert (arm["cost"], arm["baselineCost"], arm["saved"]) == (None, None, None)


def test_money_is_exact_text_with_its_currency(viewer):
    traffic(timezone.now())

    document = viewer.get(f"{ONE}/status").json()

    assert document["arms"]["candidate"]["cost"] == {"amount": "0.0016", "currency": "USD"}
    assert document["savings"]["window"] == {"amount": "0.0144", "currency": "USD"}
    assert document["savings"]["total"] == document["metrics"]["costSavings"]["totalSaved"]
    assert not [name for name in document["arms"]["candidate"] if name.endswith("Usd")]


def test_it_is_the_older_paths_document_with_the_candidate_under_its_name(viewer):
    traffic(timezone.now())

    document, older = viewer.get(f"{ONE}/status").json(), viewer.get(PATH).json()

    assert document.keys() == older.keys()
    assert "geminiFlashLite" not in str(document)
    for name in ("rolloutConfig", "evaluation", "criteria", "decision", "split", "rollout", "timeWindowHours"):
        assert document[name] == older[name]
    assert document["metrics"]["errorRates"]["candidate"] == older["metrics"]["errorRates"]["geminiFlashLite"]
    assert Decimal(document["savings"]["window"]["amount"]) == Decimal(str(older["savings"]["windowUsd"]))


def test_moments_are_iso_8601_in_utc(viewer, settings):
    settings.TIME_ZONE = "Asia/Kolkata"
    document = viewer.get(f"{ONE}/status").json()

    for name in ("timestamp", "since", "until", "standingSince"):
        assert document[name].endswith("Z")
        assert datetime.fromisoformat(document[name]).utcoffset() == timedelta(0)


@pytest.mark.parametrize("hours", ["1", "24", "720"])
def test_the_window_can_be_chosen(viewer, hours):
    assert viewer.get(f"{ONE}/status?hours={hours}").json()["timeWindowHours"] == int(hours)


@pytest.mark.parametrize("hours", ["0", "721", "-1", "1.5", "day", "", "٣", "1e2"])
def test_a_window_that_is_none_is_refused(viewer, hours):
    answer = viewer.get(f"{ONE}/status", {"hours": hours})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "hours"


def test_who_polls_gets_304_until_something_is_new(viewer, half_past, django_assert_max_num_queries):
    first = viewer.get(f"{ONE}/status")
    assert first["ETag"].startswith('W/"')
    known = {"If-None-Match": first["ETag"]}

    with django_assert_max_num_queries(7):
        again = viewer.get(f"{ONE}/status", headers=known)
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    assert viewer.get(f"{ONE}/status?hours=48", headers=known).status_code == 200

    traffic(half_past)
    assert viewer.get(f"{ONE}/status", headers=known).status_code == 200


def test_a_change_and_another_minute_make_another_tag(viewer, half_past, monkeypatch):
    known = {"If-None-Match": viewer.get(f"{ONE}/status")["ETag"]}

    monkeypatch.setattr("rollout.api.status.timezone.now", lambda: half_past + timedelta(minutes=1))
    assert viewer.get(f"{ONE}/status", headers=known).status_code == 200

    monkeypatch.setattr("rollout.api.status.timezone.now", lambda: half_past)
    assert viewer.get(f"{ONE}/status", headers=known).status_code == 304
    change_rollout(NAME, {"note": "x"}, actor=ADA)
    assert viewer.get(f"{ONE}/status", headers=known).status_code == 200


def test_another_rollouts_change_that_moves_the_shares_makes_another_tag(viewer, half_past):
    other = {"baseline": "chat-model", "candidate": "chat-model-reasoning"}
    RolloutFactory(name="other", percent=Decimal(10), priority=1, **other)
    before = viewer.get(f"{ONE}/status")

    change_rollout("other", {"priority": 200}, actor=ADA)
    after = viewer.get(f"{ONE}/status", headers={"If-None-Match": before["ETag"]})

    assert after.status_code == 200
    assert after.json()["shares"] != before.json()["shares"]


# --- decision and schedule ---


def test_a_decision_comes_with_its_evidence_and_since_when(viewer):
    now = timezone.now()
    change_rollout(NAME, {"percent": 50}, actor=ADA, now=now - timedelta(hours=5))
    much_traffic(now=now, failing=0.2)
    assert viewer.get(f"{ONE}/decision").json()["since"] is None
    look_at(NAME, now=now)

    document = viewer.get(f"{ONE}/decision").json()

    assert document["decision"] == "ROLLBACK"
    assert document["reason"]
    assert datetime.fromisoformat(document["since"]) == now
    errors = next(criterion for criterion in document["criteria"] if criterion["name"] == "errors")
    assert errors["state"] == "harm"
    assert errors["estimate"] > 10
    older = viewer.get(PATH).json()
    assert (document["decision"], document["criteria"]) == (older["decision"], older["criteria"])


def test_without_data_estimates_are_null(viewer):
    document = viewer.get(f"{ONE}/decision").json()

    assert document["decision"] == "NOT_ENOUGH_DATA"
    assert {criterion["estimate"] for criterion in document["criteria"]} == {None}


def test_the_schedule_says_what_comes_next(viewer):
    document = viewer.get(f"{ONE}/schedule").json()

    assert (document["state"], document["percent"], document["nextPercent"]) == ("running", 5, 15)
    assert document["verbs"] == ["pause", "advance", "roll_back"]
    assert document["step"] is None


# --- assignments ---


def test_a_units_arm_is_explained(viewer):
    change_rollout(NAME, {"percent": 50}, actor=ADA)
    found = [viewer.get(f"{ONE}/assignments/unit-{number}").json() for number in range(60)]

    for number, document in enumerate(found):
        expected = explain(NAME, f"unit-{number}")
        assert (document["arm"], document["bucket"]) == (expected.arm, expected.bucket)
        assert document["arm"] == ("candidate" if document["bucket"] < 50 else "baseline")
        assert document["reason"] == "percentage"
        assert document["reasonInWords"]
    assert {document["arm"] for document in found} == {"candidate", "baseline"}


def test_testers_are_found_by_account_and_by_language(viewer):
    person = UserFactory(username="grace")
    change_rollout(NAME, {"users": [person], "languages": "de", "percent": 0}, actor=ADA)

    assert viewer.get(f"{ONE}/assignments/{person.unit}").json()["reason"] == "tester"
    assert viewer.get(f"{ONE}/assignments/u?language=de").json()["reason"] == "tester"
    assert viewer.get(f"{ONE}/assignments/u?language=fr").json()["reason"] == "percentage"


@pytest.mark.parametrize(
    ("unit", "status"), [("x" * 64, 200), ("a/b", 200), ("ä b", 200), ("x" * 65, 400), ("a%00", 400)]
)
def test_a_unit_is_a_short_printable_text(viewer, unit, status):
    answer = viewer.get(f"{ONE}/assignments/{unit}")

    assert answer.status_code == status
    if status == 400:
        assert answer.json()["errors"][0]["field"] == "unit"


def test_which_arm_somebody_gets_is_for_staff():
    assert staff_with().get(f"{ONE}/assignments/u").status_code == 403


def test_a_closed_rollout_says_that_it_is_off(viewer):
    RolloutFactory(name="closed", everyone=False)

    assert viewer.get("/api/v1/rollouts/closed/assignments/u").json()["reason"] == "disabled"
