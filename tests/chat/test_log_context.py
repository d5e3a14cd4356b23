"""What the lines of a real answer say: the configured handler, its filter and its JSON."""

import asyncio
import contextvars
import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from django.test import Client

from chat.log_context import LogContext, bind, open_log_context
from chat.threads import in_db
from config.logs import JsonFormatter
from metrics.models import ModelCall
from rollout.changes import Actor, change_rollout
from simulator.upstream import Upstream
from tests.chat.test_answers import ask, read_events, visitor
from tests.chat.test_generation import force_candidate, generate, run, send, set_error_rate

__all__ = ["visitor"]


class Lines:
    """What the handler of settings has written."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """The log's own handler, writing JSON into memory. Ask for it after the app, which sets logging up anew."""
    (handler,) = [h for h in logging.getLogger().handlers if any(isinstance(f, LogContext) for f in h.filters)]
    assert isinstance(handler, logging.StreamHandler)
    written = Lines()
    monkeypatch.setattr(handler, "formatter", JsonFormatter())
    stream = handler.setStream(written.stream)
    yield written
    handler.setStream(stream)


def said() -> dict[str, Any]:
    """What a line logged here and now would say of its context."""
    record = logging.makeLogRecord({})
    plain = set(vars(record))
    LogContext().filter(record)
    return {name: value for name, value in vars(record).items() if name not in plain}


def in_a_context_of_its_own(function: Any) -> Any:
    return contextvars.Context().run(function)


def test_outside_a_request_nothing_is_bound():
    def work() -> dict[str, Any]:
        bind(call_id=1)
        return said()

    assert in_a_context_of_its_own(work) == {}


def test_what_a_record_says_itself_stands():
    def work() -> str:
        open_log_context()
        bind(reason="percentage")
        record = logging.makeLogRecord({"reason": "in words"})
        LogContext().filter(record)
        return str(vars(record)["reason"])

    assert in_a_context_of_its_own(work) == "in words"


def test_a_database_thread_knows_what_its_task_knows_and_tells_it_what_it_learns():
    async def work() -> tuple[dict[str, Any], dict[str, Any], bool]:
        open_log_context()
        bind(answer_id=1)
        elsewhere, thread = await in_db(lambda: (said(), threading.current_thread()))
        await in_db(lambda: bind(call_id=2))
        return elsewhere, said(), thread is threading.current_thread()

    before, after, same_thread = asyncio.run(work())

    assert not same_thread
    assert before == {"answer_id": 1}
    assert after == {"answer_id": 1, "call_id": 2}


def test_two_answers_at_once_do_not_mix():
    async def answer(number: int) -> dict[str, Any]:
        open_log_context()
        bind(call_id=number)
        await asyncio.sleep(0)
        return await in_db(said)

    async def both() -> list[dict[str, Any]]:
        return [*await asyncio.gather(answer(1), answer(2))]

    assert asyncio.run(both()) == [{"call_id": 1}, {"call_id": 2}]


@pytest.mark.django_db
def test_a_request_knows_nothing_of_the_one_before(client: Client, lines: Lines):
    def work() -> None:
        open_log_context()
        bind(call_id="of an earlier request")
        client.get("/nowhere")

    in_a_context_of_its_own(work)

    (line,) = [line for line in lines.read() if line["logger"] == "django.request"]
    assert "call_id" not in line


@pytest.mark.django_db(transaction=True)
def test_each_line_of_an_answer_over_http_says_which_call_it_is_about(visitor: httpx2.Client, lines: Lines):
    change_rollout("gemini-flash-lite", {"percent": 100}, actor=Actor(name="test", source="cli"))

    reply = ask(visitor)["reply"]
    read_events(visitor, reply)

    call = ModelCall.objects.get(answer_id=reply)
    about = [line for line in lines.read() if line["logger"].startswith(("chat.", "rollout.routing"))]
    assert [line["message"] for line in about] == [
        "Model routing: chat-model → gemini-flash-lite",
        "Call ended: ok by gemini-flash-lite",
    ]
    for line in about:
        assert line["call_id"] == str(call.id)
        assert line["answer_id"] == reply
        assert (line["rollout"], line["arm"], line["reason"]) == ("gemini-flash-lite", "candidate", "percentage")
    assert about[-1]["ttft_ms"] == call.ttft_ms


@pytest.mark.django_db(transaction=True)
def test_after_a_fallback_an_answers_lines_speak_of_the_new_call(lines: Lines, upstream: Upstream):
    force_candidate()
    set_error_rate(upstream, gemini=1.0)
    reply, started = send()

    run(generate(started))

    calls = {call.attempt: str(call.id) for call in ModelCall.objects.filter(answer_id=reply.id)}
    ended = [line for line in lines.read() if line["message"].startswith("Call ended")]
    assert [line["call_id"] for line in ended] == [calls[1], calls[2]]
    assert ended[0]["error_class"] == "http_503"
    assert {line["arm"] for line in ended} == {"candidate"}
