"""How often one may ask: the count itself, and what the API says of it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.test import Client

from api.limits import Allowance, take
from tests.chat.factories import UserFactory
from tests.rollout.steps import signed_in, staff_with

LIST = "/api/v1/rollouts"
NOON = 1_764_072_000.0


@pytest.fixture
def stopped_clock(monkeypatch):
    """Every request comes 12 seconds into the same minute."""
    monkeypatch.setattr("api.views.time", lambda: NOON + 12)


def asked(who: str, *, quota: int, now: float) -> Allowance:
    allowance = take(who, quota=quota, now=now)
    assert allowance is not None
    return allowance


def test_a_minute_has_its_quota_and_the_next_one_has_it_again():
    spent = [asked("ada", quota=3, now=NOON + second).is_spent for second in (0, 20, 40, 59)]

    assert spent == [False, False, False, True]
    assert not asked("ada", quota=3, now=NOON + 60).is_spent


def test_one_does_not_use_up_anothers():
    for _ in range(3):
        asked("ada", quota=2, now=NOON)

    assert asked("grace", quota=2, now=NOON).used == 1


def test_the_headers_are_structured_fields():
    first = asked("ada", quota=1, now=NOON + 12)
    second = asked("ada", quota=1, now=NOON + 59.9)

    assert first.headers == {"RateLimit-Policy": '"default";q=1;w=60', "RateLimit": '"default";r=0;t=48'}
    assert second.headers == {
        "RateLimit-Policy": '"default";q=1;w=60',
        "RateLimit": '"default";r=0;t=1',
        "Retry-After": "1",
    }


def test_requests_at_the_same_moment_are_all_counted():
    with ThreadPoolExecutor(8) as pool:
        used = [each.used for each in pool.map(lambda _: asked("ada", quota=100, now=NOON), range(40))]

    assert sorted(used) == list(range(1, 41))


@pytest.mark.django_db
def test_one_too_many_is_told_when_to_come_back(settings, stopped_clock):
    settings.API_RATE_LIMIT = 2
    viewer = staff_with("view_rollout")

    answers = [viewer.get(LIST) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer["RateLimit"] for answer in answers] == [f'"default";r={left};t=48' for left in (1, 0, 0)]
    assert answers[2]["Retry-After"] == "48"
    assert answers[2]["Content-Type"] == "application/problem+json"
    assert answers[2].json()["code"] == "too_many_requests"


@pytest.mark.django_db
def test_strangers_are_counted_by_address_and_refusals_count(settings, stopped_clock, client):
    settings.API_RATE_LIMIT = 2
    bad = {"Authorization": "Bearer nonsense"}

    statuses = [
        client.get(LIST).status_code,
        client.get(LIST, headers=bad).status_code,
        client.get("/api/v1/nothing").status_code,
        client.get(LIST, REMOTE_ADDR="192.0.2.7").status_code,
    ]

    assert statuses == [401, 401, 429, 401]


@pytest.mark.django_db
def test_the_older_path_is_not_limited(settings):
    settings.API_RATE_LIMIT = 1
    reader = signed_in(UserFactory())

    for _ in range(3):
        answer = reader.get("/api/gemini-rollout-status")
        assert answer.status_code == 200
        assert "RateLimit" not in answer


@pytest.mark.django_db
def test_without_redis_requests_go_through(settings, caplog):
    viewer: Client = staff_with("view_rollout")
    settings.CACHES = {
        **settings.CACHES,
        "default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"},
    }

    answer = viewer.get(LIST)

    assert answer.status_code == 200
    assert "RateLimit" not in answer
    assert "Requests are not limited: ConnectionError" in caplog.text


def test_a_count_that_redis_let_go_stops_nobody(monkeypatch):
    def gone(*_: object) -> int:
        raise ValueError

    monkeypatch.setattr("api.counting.cache.incr", gone)

    assert take("ada", quota=1, now=NOON) is None
