"""Beginnings and ends of answers where something goes wrong with the database, Redis or the key's dollars."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from django.core.cache.backends.redis import RedisCache
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from api import counting
from chat.attempt import Attempt
from chat.attempts import new_attempt
from chat.cancelling import end_tasks
from chat.providers.base import ProviderError, ProviderTimeout, ProviderUnavailable, Refused
from chat.threads import in_db, until_written
from gateway import answering, limits
from gateway.answering import Asked, Ended, Job
from gateway.errors import ApiError
from gateway.keys import create_key, find_key
from gateway.models import Spending
from gateway.wire_request import parse_completion
from metrics.models import ModelCall
from metrics.pricing import Usage
from tests.chat.factories import UserFactory
from tests.gateway.test_failing_upstreams import share
from tests.gateway.test_limits import HELLO, make, reserve, settle

pytestmark = pytest.mark.django_db(transaction=True)
on_postgres = pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no server that restarts")


@pytest.fixture(autouse=True)
def _nobody_is_moved_by_chance() -> None:
    share(0)


def key_text(**fields: Any) -> str:
    return create_key(name="shop", owner=UserFactory(), **fields)[1]


def asked(text: str, **more: Any) -> Asked:
    body = json.dumps({"model": "chat-model", "messages": HELLO, **more}).encode()
    return Asked(authorization=f"Bearer {text}", named_unit="", completion=parse_completion(body), now=timezone.now())


def begun(*asks: Asked) -> list[Job]:
    jobs = answering.begin(asks)
    assert all(isinstance(job, Job) for job in jobs)
    return [job for job in jobs if isinstance(job, Job)]


def attempt_of(job: Job, **what: Any) -> Attempt:
    attempt = new_attempt(job.served_model, 0.0)
    attempt.outcome, attempt.finish_reason = "ok", "stop"
    attempt.usage, attempt.was_answered = Usage(input_tokens=10, output_tokens=10), True
    for name, value in what.items():
        setattr(attempt, name, value)
    return attempt


def ended(job: Job, **what: Any) -> Ended:
    return Ended(job=job, attempt=attempt_of(job, **what), now=timezone.now())


def spending() -> Spending:
    return Spending.objects.get()


# --- dollars ---


@pytest.mark.parametrize("others", [0, 2])
def test_a_commit_that_nobody_heard_of_is_settled_once(monkeypatch, others):
    text, free = key_text(dollars_per_day=Decimal("10")), key_text()
    job, *rest = begun(asked(text), *[asked(free)] * others)
    lost: list[bool] = []
    commit = connection._commit  # type: ignore[attr-defined]

    def fail_once() -> None:
        commit()
        if not lost:
            lost.append(True)
            raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(connection, "_commit", fail_once)
    with pytest.raises(OperationalError):
        answering.end([ended(job)])
    spent = spending().spent

    assert answering.end([ended(each) for each in (job, *rest)]) == [None] * (1 + others)

    assert (spending().spent, spending().reserved) == (spent, 0)
    assert set(ModelCall.objects.values_list("outcome", flat=True)) == {"ok"}


def test_a_connection_that_goes_between_two_ends_is_the_fault_of_the_second_alone(monkeypatch):
    first, second = begun(asked(key_text()), asked(key_text()))
    real = answering._end

    def goes(ended: Sequence[Ended]) -> None:
        if len(ended) > 1:
            raise ValueError("what one vendor says")
        if ended[0].job is second:
            raise OperationalError("server closed the connection unexpectedly")
        real(ended)

    monkeypatch.setattr(answering, "_end", goes)

    told = answering.end([ended(first), ended(second)])

    assert told[0] is None
    assert isinstance(told[1], OperationalError)


@pytest.mark.parametrize(
    "error",
    [
        ProviderTimeout("late", error_class="timeout_connect"),
        ProviderTimeout("late", status=408, error_class="http_408"),
        ProviderUnavailable("away", error_class="connect"),
        Refused("declined"),
    ],
)
def test_a_vendor_that_did_nothing_costs_nothing(error: ProviderError):
    (job,) = begun(asked(key_text(dollars_per_day=Decimal("10"))))
    end = ended(job, usage=Usage(), finish_reason="", outcome="cancelled", was_answered=False)
    end.attempt.fail(error)

    answering.end([end])

    assert (spending().spent, spending().reserved) == (0, 0)


def test_another_attempt_is_put_aside_for_where_the_first_used_some(settings):
    used = {"outcome": "empty", "usage": Usage(input_tokens=10, output_tokens=4000)}
    (job,) = begun(asked(key_text(dollars_per_day=Decimal("1")), max_tokens=4000))

    following = answering.next_call(job, "chat-model", attempt_of(job, **used), timezone.now())

    assert following is not None
    assert job.reservation.amount < spending().reserved == following.reservation.amount
    answering.end([ended(following, **used)])
    assert (spending().spent <= following.reservation.amount, spending().reserved) == (True, 0)


def test_without_dollars_for_another_attempt_there_is_none():
    (job,) = begun(asked(key_text(dollars_per_day=Decimal("0.07")), max_tokens=4000))
    first = attempt_of(job, outcome="empty", usage=Usage(input_tokens=10, output_tokens=4000))

    assert answering.next_call(job, "chat-model", first, timezone.now()) is None

    assert spending().reserved == job.reservation.amount
    assert list(ModelCall.objects.values_list("outcome", flat=True)) == ["running"]


def test_all_processes_settle_keys_in_the_same_order():
    held = [reserve(make(dollars_per_day=Decimal("5")), timezone.now()) for _ in range(3)]

    orders = []
    for answers in (held, held[::-1]):
        with CaptureQueriesContext(connection) as sent:
            settle([(each, []) for each in answers])
        orders.append([query["sql"] for query in sent if query["sql"].startswith("UPDATE")])

    assert orders[0] == orders[1]


def test_a_limit_beyond_what_a_column_holds_is_a_limit(settings):
    (job,) = begun(asked(key_text(dollars_per_day=Decimal("99999999.99"))))

    assert job.reservation.amount > 0


# --- Redis ---


@pytest.fixture
def silent_redis(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        monkeypatch.setattr(counting, "cache", RedisCache(url, settings.CACHES["default"]))
        yield


def test_a_redis_that_hangs_is_asked_once(silent_redis, caplog):
    texts = [key_text(requests_per_minute=100, tokens_per_minute=100_000) for _ in range(3)]

    begun(*map(asked, texts))

    assert len([record for record in caplog.records if "not limited" in record.message]) == 1


def test_what_was_not_counted_is_not_put_back(monkeypatch):
    key = make(tokens_per_minute=2500)
    with monkeypatch.context() as away:
        away.setattr(limits, "count", lambda *args, **more: None)
        held = [reserve(key) for _ in range(3)]
    settle([(each, [(Usage(input_tokens=80, output_tokens=20), None)]) for each in held])

    reserve(key)
    reserve(key)
    with pytest.raises(ApiError):
        reserve(key)


# --- the database ---


def dead_connections(text: str) -> None:
    """Fill this process's pool, and let the server end all that is in it."""

    async def fill() -> None:
        def hold() -> None:
            find_key(text, now=timezone.now())
            time.sleep(0.3)

        await asyncio.gather(*(in_db(hold) for _ in range(8)))

    asyncio.run(fill())
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


@on_postgres
def test_a_restarted_server_costs_no_answer_its_end():
    text = key_text(dollars_per_day=Decimal("10"))
    (job,) = begun(asked(text))
    dead_connections(text)

    asyncio.run(until_written(lambda: answering.ends.put(ended(job))))

    assert ModelCall.objects.get().outcome == "ok"
    assert spending().reserved == 0


@on_postgres
def test_a_restarted_server_is_found_out_once_and_told_as_such(live_app):
    text = key_text()
    dead_connections(text)

    def ask() -> httpx2.Response:
        headers = {"Authorization": f"Bearer {text}"}
        return httpx2.post(
            f"{live_app}/v1/chat/completions",
            json={"model": "chat-model", "messages": HELLO},
            headers=headers,
            timeout=30,
        )

    first, *others = [ask() for _ in range(5)]

    assert (first.status_code, first.headers["retry-after"]) == (503, "1")
    assert first.json()["error"]["code"] == "database_unavailable"
    assert [each.status_code for each in others] == [200] * 4


class Nobody:
    """Reads nothing."""

    def text(self, *what: Any) -> None:
        """See ``Writer``."""

    tool_call = refusal = text


def test_who_hangs_up_between_two_attempts_leaves_none_running(monkeypatch):
    real, inside = answering.next_call, threading.Event()

    def slow(*what: Any) -> Job | None:
        inside.set()
        time.sleep(0.2)
        return real(*what)

    async def fail(attempt: Attempt, *what: Any, **more: Any) -> None:
        attempt.fail(ProviderUnavailable("no", error_class="connect"))

    monkeypatch.setattr(answering, "next_call", slow)
    monkeypatch.setattr(answering, "run_attempt", fail)
    (job,) = begun(asked(key_text()))

    async def hang_up() -> None:
        task = asyncio.create_task(answering.Answer(job, Nobody()).run())
        while not inside.is_set():
            await asyncio.sleep(0.01)
        await end_tasks([task])

    asyncio.run(hang_up())

    outcomes = ModelCall.objects.order_by("attempt").values_list("outcome", flat=True)
    assert list(outcomes) == ["error", "cancelled"]
