import json
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone

from chat import tokens
from chat.models import User
from rollout.changes import change_rollout
from rollout.models import Rollout
from tests.chat.factories import UserFactory
from tests.metrics.factories import ModelCallFactory
from tests.rollout.factories import ADA
from tests.rollout.steps import NAME, PATH, much_traffic, post, signed_in, state

pytestmark = pytest.mark.django_db


# --- who may ask ---


@pytest.mark.parametrize("path", [PATH, f"{PATH}/", f"{PATH}?format=report"])
def test_a_stranger_is_told_to_sign_in(client, path):
    for answer in (client.get(path), client.post(PATH, "{}", content_type="application/json")):
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == "Bearer"
        assert "Sign in" in answer.json()["error"]
        assert answer.json()["code"] == "not_authenticated"


def test_a_guest_is_a_stranger():
    guest = signed_in(UserFactory(guest=True))

    assert guest.get(PATH).status_code == 401
    assert post(guest, {"trafficPercentage": 50}).status_code == 401


@pytest.mark.parametrize("path", [PATH, f"{PATH}/"])
def test_a_person_who_is_signed_in_may_read(reader, path):
    assert signed_in(reader).get(path).status_code == 200


def test_a_token_reads_until_it_is_revoked(client, reader):
    token, text = tokens.create_token(user=reader)
    header = {"Authorization": f"Bearer {text}"}
    assert client.get(PATH, headers=header).status_code == 200

    tokens.revoke_token(token, now=timezone.now())

    answer = client.get(PATH, headers=header)
    assert answer.status_code == 401
    assert answer.json() == {"error": "This token is unknown or revoked.", "code": "authentication_failed"}


@pytest.mark.parametrize("header", ["Bearer", "Bearer nonsense", "Bearer a b", "Bearer \xff", "Bearer "])
def test_a_token_that_is_none_is_refused_in_words(client, header):
    answer = client.get(PATH, headers={"Authorization": header})

    assert answer.status_code == 401
    assert answer.json()["error"]


@pytest.mark.parametrize("granted", [{}, {"is_staff": True}])
def test_reading_is_not_steering(granted):
    answer = post(signed_in(UserFactory(**granted)), {"trafficPercentage": 50})

    assert answer.status_code == 403
    assert answer.json() == {"error": "Only staff who may change rollouts can do this.", "code": "permission_denied"}
    assert state()["percent"] == "5.00"


def test_the_permission_without_being_staff_is_not_enough(staff):
    User.objects.filter(pk=staff.pk).update(is_staff=False)

    assert post(signed_in(staff), {"trafficPercentage": 50}).status_code == 403


def test_a_page_elsewhere_cannot_steer_with_a_persons_session(staff):
    answer = post(signed_in(staff, enforce_csrf_checks=True), {"trafficPercentage": 50})

    assert answer.status_code == 403
    assert "CSRF" in answer.json()["error"]
    assert state()["percent"] == "5.00"


def test_a_session_steers_with_its_csrf_token(staff):
    client = signed_in(staff, enforce_csrf_checks=True)
    client.cookies["csrftoken"] = token = "a" * 32

    assert post(client, {"trafficPercentage": 50}, headers={"X-CSRFToken": token}).status_code == 200


def test_a_token_steers_without_a_cookie(staff):
    _token, text = tokens.create_token(user=staff)

    answer = post(
        Client(enforce_csrf_checks=True), {"trafficPercentage": 50}, headers={"Authorization": f"Bearer {text}"}
    )
    assert answer.status_code == 200


def test_other_methods_are_refused_in_words(staff):
    answer = signed_in(staff).delete(PATH)

    assert answer.status_code == 405
    assert "DELETE" in answer.json()["error"]


# --- reading ---


def test_before_any_traffic_numbers_are_null_and_not_zero(reader):
    document = signed_in(reader).get(PATH).json()

    assert document["timeWindowHours"] == 24
    assert document["rolloutConfig"] == {
        "enabled": True,
        "trafficPercentage": 5,
        "estimatedUsersAffected": "~5% of chat-model users",
        "forceModel": None,
    }
    nothing = {"geminiFlashLite": None, "baseline": None}
    assert document["metrics"] == {
        "totalRequests": 0,
        "geminiFlashLiteRequests": 0,
        "trafficPercentage": None,
        "averageLatency": {**nothing, "improvement": None},
        "costSavings": {"totalSaved": 0, "percentageSaved": None},
        "errorRates": nothing,
        "userSatisfaction": nothing,
    }
    assert document["status"] == "REVIEW_NEEDED"
    assert document["decision"] == "NOT_ENOUGH_DATA"
    assert document["reason"].startswith("The candidate needs 100 more requests (0 of 100).")


def traffic() -> None:
    """Four candidate requests, one of them failed and answered by the baseline, and sixteen others."""
    facts = {"started_at": timezone.now() - timedelta(minutes=5), "percent": Decimal(20)}
    ModelCallFactory.create_batch(3, candidate=True, rating=5, **facts)
    failed = ModelCallFactory(candidate=True, failed=True, **facts)
    ModelCallFactory(
        candidate=True,
        answer_id=failed.answer_id,
        attempt=2,
        served_model="chat-model",
        cost_usd=Decimal("0.004"),
        **facts,
    )
    ModelCallFactory.create_batch(14, rating=None, **facts)
    ModelCallFactory(rating=2, rating_reason="slow", **facts)
    ModelCallFactory(outcome="cancelled", **facts)
    ModelCallFactory(reason="manual", candidate=True, **facts)
    ModelCallFactory.create_batch(2, reason="tester", candidate=True, **facts)


def test_the_figures_are_those_of_the_percentage_traffic(reader):
    traffic()

    document = signed_in(reader).get(PATH).json()
    metrics = document["metrics"]
    assert metrics["totalRequests"] == 20
    assert metrics["geminiFlashLiteRequests"] == 4
    assert metrics["trafficPercentage"] == 20
    assert metrics["averageLatency"] == {"geminiFlashLite": 200, "baseline": 400, "improvement": 50}
    assert metrics["errorRates"] == {"geminiFlashLite": 25, "baseline": 0}
    assert metrics["userSatisfaction"] == {"geminiFlashLite": 5, "baseline": 2}
    # Three times 0.0036, and nothing for the answer that the baseline gave: to the last digit.
    assert metrics["costSavings"] == {"totalSaved": 0.0108, "percentageSaved": 67.5}
    assert document["split"] == {
        "expectedPercentage": 20,
        "actualPercentage": 20,
        "expectedRequests": 4,
        "actualRequests": 4,
        "srm": False,
    }
    assert document["otherRequests"] == {"manual": 1, "tester": 2}
    assert document["arms"]["candidate"]["outcomes"] == {"ok": 3, "error": 1}
    assert document["arms"]["baseline"]["outcomes"] == {"ok": 15, "cancelled": 1}
    assert [document["arms"][arm]["judged"] for arm in ("candidate", "baseline")] == [4, 15]
    assert document["arms"]["candidate"]["fallbacks"] == 1
    assert [document["arms"][arm]["ratingReasons"] for arm in ("candidate", "baseline")] == [{}, {"slow": 1}]


def test_proceed_stands_for_go(reader):
    change_rollout(NAME, {"percent": 50}, actor=ADA)
    much_traffic(now=timezone.now())

    document = signed_in(reader).get(PATH).json()
    assert document["status"] == "PROCEED"
    assert document["evaluation"]["shouldProceed"] is True
    criteria = document["evaluation"]["criteriaEvaluation"]
    assert {name: (part["pass"], part["target"]) for name, part in criteria.items()} == {
        "latency": (True, pytest.approx(10)),
        "cost": (True, pytest.approx(20)),
        "stability": (True, 2),
    }
    assert {criterion["name"]: criterion["state"] for criterion in document["criteria"]} == {
        "errors": "inside",
        "latency": "inside",
        "p95_latency": "inside",
        "cost": "inside",
        "satisfaction": "waived",
    }


def test_a_cost_that_is_not_known_is_null_and_counted(reader):
    ModelCallFactory(
        candidate=True, cost_usd=None, baseline_cost_usd=None, started_at=timezone.now() - timedelta(minutes=5)
    )

    document = signed_in(reader).get(PATH).json()
    assert document["metrics"]["costSavings"] == {"totalSaved": None, "percentageSaved": None}
    assert document["arms"]["candidate"]["costUsd"] is None
    assert document["costUnknown"] == {"geminiFlashLite": 1, "baseline": 0}


def test_the_smallest_sums_arrive_whole(reader):
    ModelCallFactory(
        candidate=True,
        cost_usd=Decimal("0.000000000001"),
        baseline_cost_usd=Decimal("0.123456789012"),
        started_at=timezone.now(),
    )

    text = signed_in(reader).get(PATH).content.decode()
    saved = json.loads(text, parse_float=Decimal)["metrics"]["costSavings"]["totalSaved"]
    assert saved == Decimal("0.123456789011")


def test_hours_set_the_window(reader):
    ModelCallFactory(started_at=timezone.now() - timedelta(hours=30))
    client = signed_in(reader)

    assert client.get(PATH).json()["metrics"]["totalRequests"] == 0
    document = client.get(f"{PATH}?hours=48").json()
    assert (document["timeWindowHours"], document["metrics"]["totalRequests"]) == (48, 1)
    length = datetime.fromisoformat(document["timestamp"]) - datetime.fromisoformat(document["since"])
    # Cut at five minutes.
    assert timedelta(hours=48) <= length < timedelta(hours=48, minutes=5)


@pytest.mark.parametrize("hours", ["0", "721", "abc", "1.5", "-24", "", "99999999999999999999"])
def test_another_window_is_refused(reader, hours):
    answer = signed_in(reader).get(PATH, {"hours": hours})

    assert answer.status_code == 400
    assert answer.json() == {"error": "hours must be a whole number from 1 to 720.", "code": "invalid"}


def test_the_report_is_plain_text(reader):
    traffic()

    answer = signed_in(reader).get(f"{PATH}?format=report", headers={"Accept": "application/json"})
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["Cache-Control"] == "no-cache"
    text = answer.content.decode()
    assert "ROLLOUT CONFIGURATION" in text
    assert "chat-model → gemini-flash-lite" in text
    assert "\x1b" not in text


def test_json_is_the_default_and_nobody_elses_to_keep(reader):
    for path in (PATH, f"{PATH}?format=json"):
        answer = signed_in(reader).get(path)
        assert answer["Content-Type"] == "application/json"
        assert answer["Cache-Control"] == "private, no-cache"
        assert "Cookie" in answer["Vary"]


@pytest.mark.parametrize(("path", "status"), [(f"{PATH}?format=xml", 404), (PATH, 406)])
def test_a_format_that_there_is_not_is_refused_in_words(reader, path, status):
    answer = signed_in(reader).get(path, headers={"Accept": "application/xml"})

    assert answer.status_code == status
    assert answer.json()["error"]


def test_only_reading_can_ask_for_a_report(staff):
    client = signed_in(staff)

    assert client.head(f"{PATH}?format=report").status_code == 200
    for answer in (client.options(f"{PATH}?format=report"), client.post(f"{PATH}?format=report")):
        assert answer.status_code == 404
        assert answer.json()["error"] == "There is no such format."
    assert client.options(PATH).status_code == 200


def test_an_error_is_json_also_where_a_report_was_asked_for(reader):
    answer = signed_in(reader).get(f"{PATH}?format=report&hours=0")

    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid"


def test_without_the_rollout_the_answer_says_so(reader):
    Rollout.objects.all().delete()

    answer = signed_in(reader).get(PATH)
    assert answer.status_code == 404
    assert answer.json() == {"error": "There is no rollout named gemini-flash-lite.", "code": "not_found"}
