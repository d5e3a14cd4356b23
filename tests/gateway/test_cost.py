"""What an answer costs that does not depend on the machine: trips to the database, and threads it waits for."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from chat.admission import Admission, admit, breakers
from chat.attempts import new_attempt
from chat.providers import registry
from gateway import answering
from gateway.answering import Asked, Ended, Job
from gateway.asgi import application_v1
from gateway.errors import ApiError
from gateway.keys import create_key
from gateway.models import Spending
from gateway.wire_request import parse_completion
from metrics.models import ModelCall
from metrics.pricing import Usage
from rollout.services import Route
from simulator.upstream import Upstream
from tests.chat.factories import UserFactory
from tests.metrics.factories import NOW

if TYPE_CHECKING:
    from redis import Redis

pytestmark = pytest.mark.django_db


def statements(*keys: str, **more: Any) -> tuple[list[str], list[str]]:
    """Of answers that begin together, one for each key, and end together: those of their beginning and of their end."""
    body = {"model": "chat-model", "messages": [{"role": "user", "content": "Hello"}], **more}
    completion = parse_completion(json.dumps(body).encode())
    asked = [Asked(authorization=f"Bearer {key}", named_unit="", completion=completion, now=NOW) for key in keys]
    # Whatever is read once a process is read.
    answering.begin(asked)
    with CaptureQueriesContext(connection) as begun:
        jobs = answering.begin(asked)
    attempts = [(job, new_attempt(job.served_model, 0.0)) for job in jobs if isinstance(job, Job)]
    assert len(attempts) == len(keys)
    with CaptureQueriesContext(connection) as ended:
        answering.end([Ended(job=job, attempt=attempt, now=NOW) for job, attempt in attempts])
    return [query["sql"] for query in begun], [query["sql"] for query in ended]


def first_words(queries: list[str]) -> list[str]:
    return [sql.split(maxsplit=1)[0] for sql in queries]


@pytest.mark.parametrize("together", [1, 40])
def test_answers_that_begin_together_take_three_statements_and_one_to_end_as_one_answer_does(together):
    _key, text = create_key(name="shop", owner=UserFactory())

    begun, ended = statements(*[text] * together)

    assert first_words(begun) == ["SELECT", "SELECT", "INSERT"]
    # Where one is sent with several values in one trip, Django writes down how often.
    (end,) = ended
    assert end.removeprefix(f"{together} times: ").startswith("UPDATE")


def test_what_goes_to_the_database_for_forty_answers_is_their_calls_and_little_else():
    _key, text = create_key(name="shop", owner=UserFactory())

    begun, _ended = statements(*[text] * 40)

    # Each call's row, and two questions.
    assert sum(map(len, begun)) <= 20_500


def test_people_who_are_named_take_one_more_to_be_found_all_of_them():
    _key, text = create_key(name="shop", owner=UserFactory())

    begun, _ended = statements(text, text, text, user="somebody")

    assert first_words(begun).count("SELECT") == 3


def test_each_other_key_takes_one_statement_and_what_its_owner_gets_one():
    keys = [create_key(name="shop", owner=UserFactory())[1] for _number in range(3)]

    begun, ended = statements(*keys)

    assert first_words(begun) == ["SELECT"] * 6 + ["INSERT"]
    assert len(ended) == 1


def test_without_limits_in_dollars_nothing_is_spent_on_them():
    _key, text = create_key(name="shop", owner=UserFactory(), requests_per_minute=1000, tokens_per_minute=10**6)

    begun, ended = statements(text)

    assert len(begun) + len(ended) == 4


class Threads(ThreadPoolExecutor):
    """Counts how often the event loop hands work over."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self.hops = 0

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.hops += 1
        return super().submit(function, *args, **kwargs)


@pytest.mark.django_db(transaction=True)
def test_an_answer_waits_for_a_thread_twice_and_for_redis_never(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, redis_server: "Redis"
):
    _key, text = create_key(name="shop", owner=UserFactory())
    threads = Threads()
    monkeypatch.setattr("chat.threads._pool", threads)
    body = json.dumps({"model": "chat-model", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "headers": [(b"authorization", f"Bearer {text}".encode())],
    }
    sent: list[Any] = []

    async def answer() -> tuple[int, int]:
        # The breakers are looked at once a second, whoever asks.
        await breakers.refresh()
        coming = iter([{"type": "http.request", "body": body}])

        async def receive() -> Any:
            return next(coming, None) or await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        hops, commands = threads.hops, commands_of(redis_server)
        await application_v1(scope, receive, send)
        made = threads.hops - hops, commands_of(redis_server) - commands
        await registry.close_providers()
        return made

    assert asyncio.run(answer()) == (2, 0)
    assert [message.get("status") for message in sent] == [200, None]


def commands_of(redis: "Redis") -> int:
    """How many there were, but for those that ask."""
    stats: Any = redis.info("commandstats")
    return sum(each["calls"] for name, each in stats.items() if name != "cmdstat_info")


def test_whoever_is_refused_keeps_nobody_else_from_an_answer():
    _key, text = create_key(name="shop", owner=UserFactory())
    completion = parse_completion(b'{"model": "chat-model", "messages": [{"role": "user", "content": "Hello"}]}')
    asked = [
        Asked(authorization=f"Bearer {key}", named_unit="", completion=completion, now=NOW)
        for key in ("wrong", text, "wrong", text)
    ]

    begun = answering.begin(asked)

    assert [type(each) for each in begun] == [ApiError, Job, ApiError, Job]
    assert ModelCall.objects.count() == 2


def test_what_is_reserved_for_calls_that_are_not_written_is_free_again(monkeypatch):
    key, text = create_key(name="shop", owner=UserFactory(), dollars_per_day=Decimal("0.10"))
    completion = parse_completion(b'{"model": "chat-model", "messages": [{"role": "user", "content": "Hello"}]}')
    asked = Asked(authorization=f"Bearer {text}", named_unit="", completion=completion, now=NOW)

    def fail(*_rows: object) -> None:
        raise OperationalError("the disk is full")

    with monkeypatch.context() as away:
        away.setattr("metrics.statements.insert", fail)
        with pytest.raises(OperationalError):
            answering.begin([asked])

    assert Spending.objects.get(key=key).reserved == 0
    assert isinstance(answering.begin([asked])[0], Job)


def test_what_is_reserved_for_those_before_one_that_breaks_is_free_again(monkeypatch):
    key, text = create_key(name="shop", owner=UserFactory(), dollars_per_day=Decimal("0.20"))
    completion = parse_completion(b'{"model": "chat-model", "messages": [{"role": "user", "content": "Hello"}]}')
    asked = Asked(authorization=f"Bearer {text}", named_unit="", completion=completion, now=NOW)
    routes = iter([1, 2])

    def admit_once(route: Route) -> Admission:
        if next(routes) == 2:
            raise OperationalError("the database is gone")
        return admit(route)

    with monkeypatch.context() as away:
        away.setattr("gateway.answering.admit", admit_once)
        with pytest.raises(OperationalError):
            answering.begin([asked, asked])

    assert Spending.objects.get(key=key).reserved == 0


@pytest.mark.django_db(transaction=True)
def test_one_end_that_can_not_be_written_costs_the_others_nothing():
    _key, text = create_key(name="shop", owner=UserFactory())
    completion = parse_completion(b'{"model": "chat-model", "messages": [{"role": "user", "content": "Hello"}]}')
    asked = Asked(authorization=f"Bearer {text}", named_unit="", completion=completion, now=NOW)
    jobs = [job for job in answering.begin([asked] * 3) if isinstance(job, Job)]
    attempts = [new_attempt(job.served_model, 0.0) for job in jobs]
    attempts[1].usage = Usage(input_tokens=1 << 70, output_tokens=1)

    results = answering.end(
        [Ended(job=job, attempt=attempt, now=NOW) for job, attempt in zip(jobs, attempts, strict=True)]
    )

    assert [isinstance(result, Exception) for result in results] == [False, True, False]
    assert ModelCall.objects.filter(outcome="running").count() == 1


def test_who_may_not_ask_does_not_try_a_failing_upstream_out(monkeypatch):
    _key, text = create_key(name="shop", owner=UserFactory(), tokens_per_minute=1)
    completion = parse_completion(b'{"model": "chat-model", "messages": [{"role": "user", "content": "Hello"}]}')
    let_through: list[Route] = []
    monkeypatch.setattr("gateway.answering.admit", let_through.append)

    (refused,) = answering.begin([Asked(authorization=f"Bearer {text}", named_unit="", completion=completion, now=NOW)])

    assert isinstance(refused, ApiError)
    assert refused.status == 429
    assert let_through == []
