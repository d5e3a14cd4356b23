"""Repeated requests: the same key is the same answer, and nothing is done twice."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from api.idempotency import KEPT, LEASE, delete_old_answers
from api.models import StoredAnswer
from api.tasks import delete_answers_that_are_too_old
from chat.models import User
from rollout.models import Rollout, RolloutChange
from tests.rollout.steps import NAME, staff_with, state

LIST = "/api/v1/rollouts"
NEW = {"name": "second", "baseline": "chat-model-reasoning", "candidate": "gemini-flash-lite"}
KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Client:
    return staff_with("view_rollout", "add_rollout", "change_rollout")


def post(client: Client, body: Any = NEW, *, key: str | None = KEY, path: str = LIST) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(path, json.dumps(body), content_type="application/json", headers=headers)


def test_the_same_request_again_gets_the_same_answer_and_makes_nothing(operator):
    first, second = post(operator), post(operator)

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    for header in ("Location", "ETag", "Content-Type"):
        assert second[header] == first[header]
    assert "Idempotent-Replayed" not in first
    assert second["Idempotent-Replayed"] == "true"
    assert second["RateLimit"] != first["RateLimit"]
    assert Rollout.objects.filter(name="second").count() == 1


def test_a_step_of_a_ramp_is_taken_once(operator):
    path = f"{LIST}/{NAME}/actions/advance"

    answers = [post(operator, {"why": "week two"}, path=path).json() for _ in range(3)]

    assert [answer["percent"] for answer in answers] == [15, 15, 15]
    assert RolloutChange.objects.filter(rollout=NAME).count() == 1


def test_without_a_key_each_request_is_one_of_its_own(operator):
    assert [post(operator, key=None).status_code for _ in range(2)] == [201, 409]
    assert not StoredAnswer.objects.exists()


@pytest.mark.parametrize("key", ["8e03978e", '"8e03978e"'])
def test_a_key_may_come_without_its_quotes(operator, key):
    post(operator, key='"8e03978e"')

    assert post(operator, key=key)["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("key", ["", '""', "a b", '"a', 'a"', "ä", '"ä"', "x" * 256, f'"{"x" * 256}"'])
def test_a_key_that_is_none_is_refused(operator, key):
    answer = post(operator, key=key)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert not Rollout.objects.filter(name="second").exists()


@pytest.mark.parametrize(
    ("body", "path"),
    [({**NEW, "name": "third"}, LIST), ({**NEW, "percent": 1}, LIST), (NEW, f"{LIST}/{NAME}/actions/pause")],
)
def test_a_key_belongs_to_one_request(operator, body, path):
    post(operator)

    answer = post(operator, body, path=path)

    assert answer.status_code == 422
    assert answer.json()["code"] == "idempotency_key_reused"
    assert Rollout.objects.count() == 2


def test_a_key_belongs_to_one_account(operator):
    other = staff_with("view_rollout", "add_rollout", "change_rollout")
    post(operator)

    answer = post(other)

    assert answer.status_code == 409
    assert answer.json()["code"] == "exists"
    assert "Idempotent-Replayed" not in answer


def test_a_refusal_is_an_answer_too(operator):
    first = post(operator, {**NEW, "percent": 101})
    assert first.status_code == 400

    second = post(operator, {**NEW, "percent": 101})

    assert second.content == first.content
    assert second["Content-Type"] == "application/problem+json"
    assert second["Idempotent-Replayed"] == "true"


def test_who_may_not_leaves_no_key(operator):
    assert post(staff_with("view_rollout")).status_code == 403
    assert post(Client()).status_code == 401
    assert not StoredAnswer.objects.exists()


def test_a_failure_of_ours_is_not_kept_and_nothing_is_done(operator, monkeypatch):
    operator.raise_request_exception = False

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret")

    with monkeypatch.context() as broken:
        # After the rollout was made, before its answer was.
        broken.setattr("rollout.api.rollouts.state_response", fail)
        answer = post(operator)
    assert answer.status_code == 500
    assert answer["Content-Type"] == "application/problem+json"
    assert "secret" not in answer.content.decode()
    assert not Rollout.objects.filter(name="second").exists()
    assert not StoredAnswer.objects.exists()

    assert post(operator).status_code == 201


def claim(**fields: Any) -> StoredAnswer:
    """A key of the one account there is, as another process has left it."""
    return StoredAnswer.objects.create(
        **{"account": User.objects.get(), "key": KEY.strip('"'), "fingerprint": "", "claimed_at": timezone.now()}
        | fields
    )


def test_a_key_that_is_being_worked_on_is_a_conflict(operator):
    post(operator)
    StoredAnswer.objects.update(status=None, claimed_at=timezone.now())

    answer = post(operator)

    assert answer.status_code == 409
    assert answer.json()["code"] == "request_in_progress"
    assert answer["Retry-After"] == "1"


def test_what_a_dead_process_has_claimed_can_be_done_after_a_minute(operator):
    claim(claimed_at=timezone.now() - LEASE - timedelta(seconds=1))

    assert post(operator).status_code == 201
    assert post(operator)["Idempotent-Replayed"] == "true"


def test_after_a_day_a_key_is_new_again(operator):
    post(operator)
    StoredAnswer.objects.update(claimed_at=timezone.now() - KEPT)

    answer = post(operator)

    assert answer.status_code == 409
    assert answer.json()["code"] == "exists"


def test_old_keys_are_deleted_in_batches_and_new_ones_stay(operator, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr("api.idempotency.BATCH", 2)
    now = timezone.now()
    for number in range(5):
        claim(key=f"old-{number}", claimed_at=now - KEPT)
    claim(key="young", claimed_at=now - KEPT + timedelta(hours=1))

    with django_assert_num_queries(7):
        assert delete_old_answers(now=now) == 5

    assert [row.key for row in StoredAnswer.objects.all()] == ["young"]
    claim(key="old", claimed_at=now - KEPT)
    assert delete_answers_that_are_too_old() == 1


def test_an_accounts_keys_go_with_it(operator):
    post(operator)

    User.objects.all().delete()

    assert not StoredAnswer.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_at_the_same_moment_one_works():
    operator = staff_with("view_rollout", "add_rollout", "change_rollout")
    cookies = operator.cookies

    def send(_: int) -> tuple[int, str]:
        client = Client()
        client.cookies = cookies
        try:
            answer = post(client, {"why": "both"}, path=f"{LIST}/{NAME}/actions/advance")
        finally:
            connection.close()
        return answer.status_code, answer.json().get("code", "")

    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(send, range(8)))

    assert (200, "") in answers
    assert answers <= {(200, ""), (409, "request_in_progress")}
    assert state()["percent"] == "15.00"
    assert RolloutChange.objects.filter(rollout=NAME).count() == 1
