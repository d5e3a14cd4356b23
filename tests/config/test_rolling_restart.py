"""Web processes are replaced one after another while programs and people ask without a pause: nobody notices."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import httpx2
import pytest
from django.conf import settings
from django.test import Client

from chat.models import Message
from gateway.keys import create_key
from metrics.models import ModelCall
from simulator.behaviour import Behaviour, Behaviours
from simulator.upstream import Upstream
from tests.chat.factories import UserFactory
from tests.conftest import DATABASE
from tests.services.live import Changeable
from tests.services.stack import running_stack

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(DATABASE == "sqlite", reason="SQLite has one web process"),
]

# An answer takes about a second and a half.
SLOW = Behaviour(ttft_ms=300, tokens_per_s=40, jitter=0, min_words=35, max_words=45)
PROGRAMS, PEOPLE, PROCESSES = 4, 2, 2


class NotTaken(Exception):
    """Not a byte of an answer came. A request that a process took all the same leaves a call too many behind."""


@contextmanager
def opened(browser: httpx2.Client, method: str, url: str, **sent: Any) -> Iterator[httpx2.Response]:
    """The beginning of an answer."""
    with ExitStack() as stack:
        try:
            answer = stack.enter_context(browser.stream(method, url, **sent))
        except httpx2.TransportError:
            raise NotTaken from None
        yield answer.raise_for_status()


@dataclass
class Balancer:
    """As a proxy in front: a request that one process does not take is the next one's."""

    urls: list[str] = field(default_factory=list)

    def send(self, ask: Callable[[str], None], number: int) -> None:
        urls = list(self.urls)
        for step in range(len(urls)):
            try:
                return ask(urls[(number + step) % len(urls)])
            except NotTaken:
                continue
        raise AssertionError("no process takes requests")


def browser_of(cookies: dict[str, str] | None = None) -> httpx2.Client:
    """Whose every request is a connection of its own."""
    limits = httpx2.Limits(max_keepalive_connections=0)
    return httpx2.Client(cookies=cookies, timeout=30, trust_env=False, limits=limits)


def program(key: str, number: int) -> Callable[[str], None]:
    stream = number % 2 == 0
    body = {"model": "chat-model", "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
    headers = {"Authorization": f"Bearer {key}"}

    def ask(url: str) -> None:
        path = f"{url}/v1/chat/completions"
        with browser_of() as browser, opened(browser, "POST", path, json=body, headers=headers) as answer:
            text = answer.read().decode()
        if stream:
            assert text.endswith("data: [DONE]\n\n")
            assert '"finish_reason":"stop"' in text.replace(" ", "")
        else:
            assert json.loads(text)["choices"][0]["finish_reason"] == "stop"

    return ask


def person(cookies: dict[str, str], balancer: Balancer, number: int) -> Callable[[str], None]:
    """Asks at one process, and reads there, or at the next one once that takes no more."""

    def ask(url: str) -> None:
        with browser_of(cookies) as browser:
            with opened(browser, "GET", f"{url}/") as page:
                page.read()
            headers = {"X-CSRFToken": browser.cookies[settings.CSRF_COOKIE_NAME], "Accept": "application/json"}
            form = {"text": f"Hello {number}", "model": "chat-model"}
            with opened(browser, "POST", f"{url}/messages", data=form, headers=headers) as sent:
                reply = json.loads(sent.read())["reply"]

            def read(at: str) -> None:
                with opened(browser, "GET", f"{at}/answers/{reply}/events") as events:
                    assert "event: done" in "".join(events.iter_text())

            balancer.send(read, number)

    return ask


def signed_in(number: int) -> dict[str, str]:
    client = Client()
    client.force_login(UserFactory(unit=f"{number:032x}"))
    return {settings.SESSION_COOKIE_NAME: client.cookies[settings.SESSION_COOKIE_NAME].value}


@pytest.fixture
def _vendors(_upstream_server: Changeable) -> None:
    _upstream_server.app = Upstream(Behaviours(openai=SLOW, gemini=SLOW), seed=1)


@contextmanager
def web(home: Path) -> Iterator[str]:
    """A web process; ends in order, once its answers have."""
    home.mkdir()
    with running_stack(home, web=1) as (url,):
        yield url


@pytest.mark.usefixtures("_vendors")
def test_no_request_fails_and_no_answer_is_cut_while_web_processes_are_replaced(tmp_path: Path):
    _key, key = create_key(name="shop", owner=UserFactory())
    cookies = [signed_in(number) for number in range(PEOPLE)]
    balancer, enough = Balancer(), Event()

    def without_a_pause(number: int) -> int:
        asked = 0
        while not enough.is_set():
            ask = program(key, number) if number < PROGRAMS else person(cookies[number - PROGRAMS], balancer, number)
            balancer.send(ask, number + asked)
            asked += 1
        return asked

    with ThreadPoolExecutor(PROGRAMS + PEOPLE) as pool, ExitStack() as running:
        old = [running.enter_context(ExitStack()) for _process in range(PROCESSES)]
        balancer.urls = [each.enter_context(web(tmp_path / f"old-{number}")) for number, each in enumerate(old)]
        running.callback(enough.set)
        asking = [pool.submit(without_a_pause, number) for number in range(PROGRAMS + PEOPLE)]
        for number, each in enumerate(old):
            balancer.urls.append(running.enter_context(web(tmp_path / f"new-{number}")))
            each.close()
            del balancer.urls[0]
        enough.set()
        asked = sum(each.result() for each in asking)

    assert asked >= 2 * (PROGRAMS + PEOPLE)
    assert Counter(ModelCall.objects.values_list("outcome", flat=True)) == {"ok": asked}
    replies = Message.objects.filter(role=Message.Role.ASSISTANT)
    assert set(replies.values_list("state", flat=True)) == {"complete"}
