"""The kill switch, across processes that share nothing but the database."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import quote

import httpx2
import pytest
from django.conf import settings
from django.db import connection

from metrics.models import ModelCall
from rollout.changes import Actor, change_rollout
from simulator.upstream import Upstream
from tests.services.live import HOST, reserve_port

STAFF = Actor(name="test", source="cli")
PROCESSES, PEOPLE_AT_ONCE, EACH_SIDE, DEADLINE_S = 4, 6, 40, 90


def database_url() -> str:
    """The test database's, for another process."""
    known = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{known['NAME']}"
    # A throwaway server on a socket of its own: no password, no port.
    return f"postgres://{known['USER']}@{quote(known['HOST'], safe='')}/{known['NAME']}"


@pytest.fixture
def webs(upstream: Upstream) -> Iterator[list[str]]:
    """Four web processes on one database, as an installation runs them."""
    ports = []
    for _ in range(PROCESSES):
        with reserve_port() as listener:
            ports.append(listener.getsockname()[1])
    environment = {**os.environ, "DATABASE_URL": database_url(), "DATABASE_POOL_SIZE": "4"}
    with ExitStack() as running:
        for port in ports:
            web = subprocess.Popen(
                [sys.executable, "-m", "tests.services.web", "--port", str(port)],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            running.callback(web.wait)
            running.callback(web.terminate)
        urls = [f"http://{HOST}:{port}" for port in ports]
        deadline = time.monotonic() + DEADLINE_S
        for url in urls:
            while not _answers(url):
                assert time.monotonic() < deadline, "a web process did not start"
                time.sleep(0.1)
        yield urls


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/", timeout=10, trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


def ask(url: str) -> str:
    """Somebody new comes and asks; the reply's id."""
    with httpx2.Client(base_url=url, timeout=30, trust_env=False) as client:
        client.get("/")
        headers = {"X-CSRFToken": client.cookies[settings.CSRF_COOKIE_NAME], "Accept": "application/json"}
        sent = client.post("/messages", data={"text": "Hello", "model": "chat-model"}, headers=headers)
        reply: str = sent.raise_for_status().json()["reply"]
        return reply


@pytest.mark.django_db(transaction=True)
def test_from_the_commit_on_no_process_routes_anybody_to_the_candidate(webs: list[str]) -> None:
    change_rollout("gemini-flash-lite", {"percent": 100}, actor=STAFF)
    before: list[str] = []
    after: list[str] = []
    is_off, enough = threading.Event(), threading.Event()

    def people(number: int) -> None:
        while not enough.is_set():
            # Taken before the request is sent: what is asked in between counts for neither side.
            asked = after if is_off.is_set() else before
            asked.append(ask(webs[number % PROCESSES]))
            number += 1
            if len(after) >= EACH_SIDE:
                enough.set()

    crowd = [threading.Thread(target=people, args=(number,)) for number in range(PEOPLE_AT_ONCE)]
    for thread in crowd:
        thread.start()
    deadline = time.monotonic() + DEADLINE_S
    while len(before) < EACH_SIDE and time.monotonic() < deadline:
        time.sleep(0.02)
    change_rollout("gemini-flash-lite", {"enabled": False}, actor=STAFF)
    is_off.set()
    for thread in crowd:
        thread.join(DEADLINE_S)

    routed = dict(ModelCall.objects.filter(attempt=1).values_list("answer_id", "reason"))
    reasons = {str(answer): reason for answer, reason in routed.items()}
    assert len(after) >= EACH_SIDE
    assert {reasons[reply] for reply in after} == {"disabled"}
    assert [reasons[reply] for reply in before].count("percentage") >= EACH_SIDE - PEOPLE_AT_ONCE
