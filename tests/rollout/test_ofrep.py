"""OFREP: what a program gets over HTTP, and what the stock OpenFeature SDK makes of it."""

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from rest_framework.throttling import SimpleRateThrottle

from chat import tokens
from metrics.models import ModelCall
from rollout.changes import change_rollout
from rollout.ofrep import FlagView
from rollout.services import route
from tests.chat.factories import UserFactory
from tests.chat.test_answers import ask, read_events, visitor
from tests.metrics.factories import NOW
from tests.rollout.factories import ADA, RolloutFactory
from tests.rollout.steps import NAME, rollout, signed_in, staff_with

__all__ = ["visitor"]  # a fixture

pytestmark = pytest.mark.django_db

PATH = "/ofrep/v1/evaluate/flags"
SECOND = "second"
UNIT = f"{1:032x}"


def steer(name: str = NAME, **changes: Any) -> None:
    change_rollout(name, changes, actor=ADA, now=NOW)


def second(percent: int = 40) -> Any:
    """Asked after the default rollout."""
    return RolloutFactory(
        name=SECOND, baseline="chat-model", candidate="chat-model-reasoning", percent=Decimal(percent), priority=200
    )


def post(client: Client, body: Any, key: str = "", **headers: str) -> Any:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    path = f"{PATH}/{key}" if key else PATH
    return client.post(path, text, content_type="application/json", headers=headers)


def for_unit(unit: str = UNIT, **context: Any) -> dict[str, Any]:
    return {"context": {"targetingKey": unit, **context}}


@pytest.fixture
def follower() -> Client:
    return staff_with("view_rollout")


# --- one flag ---


def test_a_flag_is_the_model_to_use_with_the_arm_as_its_variant(follower):
    steer(percent=100)

    assert post(follower, for_unit(), NAME).json() == {
        "key": NAME,
        "value": "gemini-flash-lite",
        "variant": "candidate",
        "reason": "SPLIT",
        "metadata": {"reason": "percentage", "rollout": NAME, "percent": 100.0, "version": rollout().version},
    }


@pytest.mark.parametrize(
    ("changes", "value", "reason", "ours"),
    [
        ({"percent": 0}, "chat-model", "SPLIT", "percentage"),
        ({"percent": 0, "languages": "de"}, "gemini-flash-lite", "TARGETING_MATCH", "tester"),
        ({"forced": True}, "gemini-flash-lite", "STATIC", "everyone"),
        ({"enabled": False}, "chat-model", "DISABLED", "disabled"),
    ],
)
def test_each_reason_has_its_word_in_the_protocol(follower, changes, value, reason, ours):
    steer(**changes)

    flag = post(follower, for_unit(language="de"), NAME).json()
    assert (flag["value"], flag["reason"], flag["metadata"]["reason"]) == (value, reason, ours)
    assert flag["variant"] == ("candidate" if value == "gemini-flash-lite" else "baseline")


def test_testers_are_known_by_their_unit_and_not_by_a_name_that_is_like_one(follower):
    tester = UserFactory(username="ada")
    steer(percent=0, users=[tester])

    assert post(follower, for_unit(tester.unit), NAME).json()["reason"] == "TARGETING_MATCH"
    assert post(follower, for_unit("ada"), NAME).json()["reason"] == "SPLIT"


def test_a_flag_of_which_another_rollout_takes_the_unit_says_the_baseline(follower):
    steer(percent=100)
    second()

    flag = post(follower, for_unit(), SECOND).json()
    assert (flag["value"], flag["variant"], flag["reason"]) == ("chat-model", "baseline", "DEFAULT")
    assert (flag["metadata"]["reason"], flag["metadata"]["rollout"]) == ("other_rollout", NAME)


def test_attributes_that_rollouts_know_nothing_of_are_ignored(follower):
    assert post(follower, for_unit(email="ada@example.com", age=41, tags=["a"]), NAME).status_code == 200


def test_an_evaluation_records_nothing(follower):
    before = rollout().version
    post(follower, for_unit(), NAME)
    post(follower, for_unit())

    assert not ModelCall.objects.exists()
    assert rollout().version == before


# --- all flags ---


def test_all_flags_come_by_name_each_as_it_comes_alone(follower):
    second()

    flags = post(follower, for_unit()).json()["flags"]
    assert [flag["key"] for flag in flags] == [NAME, SECOND]
    assert flags == [post(follower, for_unit(), name).json() for name in (NAME, SECOND)]


def test_all_flags_are_not_sent_again_until_something_changes(follower):
    steer(percent=0)
    etag = post(follower, for_unit())["ETag"]

    for header in (etag, f"W/{etag}", f'"another", {etag}', "*"):
        again = post(follower, for_unit(), **{"If-None-Match": header})
        assert (again.status_code, again["ETag"], again.content) == (304, etag, b"")

    steer(percent=100)
    changed = post(follower, for_unit(), **{"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed["ETag"] != etag
    assert post(follower, for_unit("another")).headers["ETag"] == changed["ETag"]


# --- who may, and what is refused ---


def test_a_token_of_staff_who_may_view_rollouts_is_enough():
    user = UserFactory(is_staff=True, is_superuser=True)
    _token, text = tokens.create_token(user=user)

    answer = post(Client(enforce_csrf_checks=True), for_unit(), NAME, Authorization=f"Bearer {text}")
    assert answer.status_code == 200


@pytest.mark.parametrize("key", [NAME, ""])
def test_nobody_else_may(key):
    assert post(Client(), for_unit(), key).status_code == 401
    assert post(Client(), for_unit(), key, Authorization="Bearer nonsense").status_code == 401
    assert post(signed_in(UserFactory(guest=True)), for_unit(), key).status_code == 401
    for client in (signed_in(UserFactory()), staff_with()):
        answer = post(client, for_unit(), key)
        assert answer.status_code == 403
        assert answer.json()["errorDetails"] == "Only staff who may view rollouts can do this."


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "TARGETING_KEY_MISSING"),
        ({}, "TARGETING_KEY_MISSING"),
        ({"context": {}}, "TARGETING_KEY_MISSING"),
        ({"context": {"targetingKey": None}}, "TARGETING_KEY_MISSING"),
        (for_unit(""), "TARGETING_KEY_MISSING"),
        ([], "INVALID_CONTEXT"),
        ("null", "INVALID_CONTEXT"),
        ({"context": None}, "INVALID_CONTEXT"),
        ({"context": [UNIT]}, "INVALID_CONTEXT"),
        ({"context": {"targetingKey": 5}}, "INVALID_CONTEXT"),
        (for_unit("x" * 65), "INVALID_CONTEXT"),
        (for_unit("a\0b"), "INVALID_CONTEXT"),
        (for_unit("\ud800"), "PARSE_ERROR"),
        (for_unit(language=5), "INVALID_CONTEXT"),
        ("{", "PARSE_ERROR"),
        ('{"context": NaN}', "PARSE_ERROR"),
        (b"\xff", "PARSE_ERROR"),
        ("[" * 5000, "PARSE_ERROR"),
    ],
    ids=lambda given: repr(given)[:40],
)
@pytest.mark.parametrize("key", [NAME, ""])
def test_what_cannot_be_evaluated_is_refused_with_the_protocols_code(follower, body, code, key):
    answer = post(follower, body, key)

    assert answer.status_code == 400
    refused = answer.json()
    assert refused.pop("errorDetails")
    assert refused == ({"key": NAME} if key else {}) | {"errorCode": code}


@pytest.mark.parametrize("key", ["nobody", "a%00b", "%ED%A0%80", "ä", "x" * 300])
def test_a_flag_that_there_is_not_is_not_found(follower, key):
    answer = post(follower, for_unit(), key)

    assert (answer.status_code, answer.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")
    assert answer.json()["key"]


def test_other_refusals_are_general_errors_in_json(follower):
    answers = {
        405: follower.get(f"{PATH}/{NAME}"),
        413: post(follower, for_unit(more="x" * 100_000), NAME),
        415: follower.post(f"{PATH}/{NAME}", "unit=1", content_type="text/plain"),
    }
    for status, answer in answers.items():
        assert (answer.status_code, answer.json()["errorCode"]) == (status, "GENERAL")


def test_what_nobody_foresaw_is_an_error_of_the_protocol_too(follower, monkeypatch, caplog):
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("rollout.ofrep.explanation_of", fail)

    answer = post(follower, for_unit(), NAME)
    assert (answer.status_code, answer.json()["errorCode"]) == (500, "GENERAL")
    assert "secret" not in answer.content.decode()
    assert "secret" in caplog.text


def test_too_many_requests_say_when_to_come_back(follower, monkeypatch):
    class OneAMinute(SimpleRateThrottle):
        rate = "1/min"

        def get_cache_key(self, request: Any, view: Any) -> str:
            return "one"

    monkeypatch.setattr(FlagView, "throttle_classes", [OneAMinute])
    post(follower, for_unit(), NAME)

    answer = post(follower, for_unit(), NAME)
    assert (answer.status_code, answer.json()["errorCode"]) == (429, "GENERAL")
    assert 0 < int(answer["Retry-After"]) <= 60


# --- the stock SDK ---


@pytest.fixture
def sdk(live_app: str) -> Iterator[OpenFeatureClient]:
    user = UserFactory(is_staff=True, is_superuser=True)
    _token, text = tokens.create_token(user=user)
    provider = OFREPProvider(live_app, headers_factory=lambda: {"Authorization": f"Bearer {text}"})
    api.set_provider(provider)
    yield api.get_client()
    api.clear_providers()
    provider.session.close()


@pytest.mark.only_on("postgres")
@pytest.mark.django_db(transaction=True)
def test_the_stock_sdk_gets_the_arm_of_the_chat_page_for_1000_units(sdk):
    steer(percent=30)
    seen: Counter[str] = Counter()

    for number in range(1000):
        unit = f"{number:032x}"
        routed = route(requested_model="chat-model", unit=unit)
        found = sdk.get_string_details(NAME, "none", EvaluationContext(targeting_key=unit))
        assert (found.value, found.variant) == (routed.assigned_model, routed.arm)
        assert (found.reason, found.flag_metadata["reason"]) == (Reason.SPLIT, "percentage")
        seen[found.value] += 1

    assert seen.keys() == {"chat-model", "gemini-flash-lite"}


@pytest.mark.django_db(transaction=True)
def test_the_stock_sdk_follows_each_of_two_rollouts(sdk):
    second()
    steer(percent=30)
    seen: Counter[str] = Counter()

    for number in range(60):
        unit = f"{number:032x}"
        routed = route(requested_model="chat-model", unit=unit)
        for name in (NAME, SECOND):
            found = sdk.get_string_details(name, "none", EvaluationContext(targeting_key=unit))
            is_in = routed.rollout == name and routed.arm == "candidate"
            assert found.value == (routed.assigned_model if is_in else "chat-model")
            assert found.flag_metadata["rollout"] == routed.rollout
            seen[found.value] += 1

    assert seen.keys() == set(settings.CHAT_MODELS)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("percent", [0, 100])
def test_the_stock_sdk_gets_what_the_chat_page_records_for_a_person(sdk, visitor, percent):
    steer(percent=percent)
    reply = ask(visitor)["reply"]
    read_events(visitor, reply)

    call = ModelCall.objects.get(answer_id=reply)
    found = sdk.get_string_details(NAME, "none", EvaluationContext(targeting_key=call.unit))
    assert (found.value, found.variant) == (call.assigned_model, call.arm)


@pytest.mark.django_db(transaction=True)
def test_the_stock_sdk_understands_what_is_refused(sdk):
    for name, context, code in (
        ("nobody", EvaluationContext(targeting_key=UNIT), ErrorCode.FLAG_NOT_FOUND),
        (NAME, EvaluationContext(), ErrorCode.TARGETING_KEY_MISSING),
        (NAME, EvaluationContext(targeting_key="x" * 65), ErrorCode.INVALID_CONTEXT),
    ):
        found = sdk.get_string_details(name, "none", context)
        assert (found.value, found.error_code) == ("none", code)
