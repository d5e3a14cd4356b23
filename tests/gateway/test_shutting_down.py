"""A web process that ends while programs wait for their answers: a real server and real sockets."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from threading import Thread
from typing import Any

import pytest

from config.web import HOST, Server, server
from gateway import answering
from gateway.keys import create_key
from gateway.models import Spending
from metrics.models import ModelCall
from tests.chat.factories import UserFactory
from tests.gateway.test_failing_upstreams import misbehave, share
from tests.services.live import reserve_port

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _slow_answers(upstream: Any, settings: Any) -> None:
    settings.DRAIN_S = 0.5
    misbehave("openai", tokens_per_s=4, min_words=200, max_words=220)
    # Nobody is moved to the quick vendor by chance.
    share(0)


@contextmanager
def web_process() -> Iterator[tuple[Server, int]]:
    listener = reserve_port()
    web = server(host=HOST, port=listener.getsockname()[1])
    thread = Thread(target=web.run, kwargs={"sockets": [listener]})
    thread.start()
    while not web.started:
        time.sleep(0.01)
    try:
        yield web, listener.getsockname()[1]
    finally:
        web.should_exit = True
        thread.join()


def request() -> tuple[bytes, bytes]:
    _key, text = create_key(name="shop", owner=UserFactory(), dollars_per_day=Decimal(10))
    asked = {"model": "chat-model", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    body = json.dumps(asked).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Authorization: Bearer {text}"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode(), body


def slowly(work: Callable[[Any], Any], seconds: float) -> Callable[[Any], Any]:
    """As a database does that has much to do."""

    def after_a_while(batch: Any) -> Any:
        time.sleep(seconds)
        return work(batch)

    return after_a_while


def read(line: socket.socket, until: bytes | None = None) -> bytes:
    line.settimeout(20)
    data = b""
    while (until is None or until not in data) and (part := line.recv(65536)):
        data += part
    return data


def test_who_is_being_answered_is_told(caplog):
    head, body = request()
    with web_process() as (web, port), socket.create_connection((HOST, port)) as line:
        line.sendall(head + body)
        read(line, until=b"delta")
        web.should_exit = True
        told = read(line)

    assert b'"code": "shutting_down"' in told
    assert b"data: [DONE]" in told
    assert ModelCall.objects.get().outcome == "abandoned"


def test_whose_body_comes_late_is_turned_away():
    head, body = request()
    with web_process() as (web, port), socket.create_connection((HOST, port)) as line:
        line.sendall(head + body[:20])
        time.sleep(0.3)
        web.should_exit = True
        time.sleep(0.3)
        line.sendall(body[20:])
        told = read(line)

    assert told.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1" in told.lower()
    assert not ModelCall.objects.exists()


def test_who_was_just_beginning_is_told_too(monkeypatch):
    monkeypatch.setattr(answering.beginnings, "_work", slowly(answering.begin, 0.4))
    head, body = request()
    with web_process() as (web, port), socket.create_connection((HOST, port)) as line:
        line.sendall(head + body)
        time.sleep(0.2)
        web.should_exit = True
        told = read(line)

    assert b'"code": "shutting_down"' in told
    assert ModelCall.objects.get().outcome == "abandoned"


def test_last_rows_are_waited_for(monkeypatch):
    monkeypatch.setattr(answering.ends, "_work", slowly(answering.end, 0.8))
    head, body = request()
    with web_process() as (web, port):
        lines = [socket.create_connection((HOST, port)) for _ in range(3)]
        for line in lines:
            line.sendall(head + body)
            read(line, until=b"delta")
        web.should_exit = True
        for line in lines:
            read(line)
            line.close()

    assert list(ModelCall.objects.values_list("outcome", flat=True)) == ["abandoned"] * 3
    assert Spending.objects.get().reserved == 0
