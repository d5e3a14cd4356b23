"""The kill switch, across processes that share nothing but the database."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from django.conf import settings

from metrics.models import ModelCall
from rollout.changes import Actor, change_rollout
from simulator.upstream import Upstream
from tests.services.stack import running_stack

STAFF = Actor(name="test", source="cli")
PROCESSES, PEOPLE_AT_ONCE, EACH_SIDE, DEADLINE_S = 4, 6, 40, 90


@pytest.fixture
def webs(upstream: Upstream, tmp_path: Path) -> Iterator[list[str]]:
    """Four web processes on one database, as an installation runs them."""
    with running_stack(tmp_path, web=PROCESSES) as urls:
        yield urls


def ask(url: str) -> str:
    """Somebody new comes and asks; the reply's id."""
    with httpx2.Client(base_url=url, timeout=30, trust_env=False) as client:
        client.get("/")
        headers = {"X-CSRFToken": client.cookies[settings.CSRF_COOKIE_NAME], "Accept": "application/json"}
        sent = client.post("/messages", data={"text": "Hello", "model": "chat-model"}, headers=headers)
        reply: str = sent.raise_for_status().json()["reply"]
        return reply


@pytest.mark.only_on("postgres")
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
