"""Three web processes, two workers and two beats show what one of each shows, for the same requests."""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx2
import pytest
from aiosmtpd.controller import Controller
from django.conf import settings
from django.db.models import Count, Sum
from django.test import Client
from django.utils import timezone

from gateway.keys import create_key
from metrics import reading
from metrics.models import ModelCall
from metrics.rollup import roll_up
from rollout.changes import Actor, create_rollout
from rollout.models import Delivery, NoticeTarget, Report, Rollout, RolloutChange
from rollout.report_mail import EVENT as WEEKLY
from rollout.report_mail import NEWS_FOR
from rollout.reports import SETTLED_AFTER, monday
from simulator.behaviour import Behaviour, Behaviours
from simulator.upstream import Upstream
from tests.chat.factories import UserFactory
from tests.conftest import DATABASE
from tests.metrics.factories import many_calls
from tests.rollout.steps import NAME
from tests.services.live import Changeable, reserve_port
from tests.services.rows import empty_database
from tests.services.stack import running_stack

STAFF = Actor(name="test", source="cli")
HARMFUL = "reasoning-lite"
PROGRAMS, PEOPLE, AT_ONCE, DEADLINE_S = 54, 6, 6, 120
# The candidate's vendor fails on this word, and no other does.
FAILS = "stumble"
QUICK = Behaviour(ttft_ms=5, tokens_per_s=2000, jitter=0, min_words=20, max_words=40)
# What takes a while differs from run to run.
TAKES_TIME = ("ttft", "latency", "sum_ttft", "sum_latency", "sum_log")


async def by_content(scope: Any, receive: Any, send: Any) -> None:
    """The simulated vendors, whose dice fall as the request says: the order of requests changes nothing."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    parts = iter([{"type": "http.request", "body": body}])

    async def again() -> Any:
        return next(parts, None) or await receive()

    gemini = Behaviour(**{**vars(QUICK), "error_rate": 1.0}) if FAILS.encode() in body else QUICK
    await Upstream(Behaviours(openai=QUICK, gemini=gemini), seed=crc32(body))(scope, again, send)


@pytest.fixture
def _vendors(_upstream_server: Changeable) -> None:
    _upstream_server.app = by_content


@dataclass
class Mailbox:
    """What a real mail server was given."""

    url: str
    taken: list[str]

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.taken.append(message_from_bytes(envelope.content)["X-Sluice-Delivery"])
        return "250 OK"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with reserve_port() as listener:
        port = listener.getsockname()[1]
    box = Mailbox(url=f"smtp://127.0.0.1:{port}", taken=[])
    server = Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    yield box
    server.stop()


# --- what there is before the first request ---------------------------------------------------


def seed(now: datetime) -> None:
    """Half of all people on the candidate, and another rollout whose candidate fails, for the autopilot."""
    changes = {"percent": 50, "ramp_mode": "automatic"}
    models = {"baseline": "chat-model-reasoning", "candidate": "gemini-flash-lite"}
    harmful = create_rollout(HARMFUL, **models, changes=changes, actor=STAFF, now=now - timedelta(days=9))
    NoticeTarget.objects.create(rollout=harmful, channel="email", address="ada@example.com")
    Rollout.objects.filter(name=NAME).update(salt="fixed", percent=50)
    Rollout.objects.update(created=now - timedelta(days=9))
    dice = random.Random(7)

    def facts(number: int) -> dict[str, Any]:
        person = dice.randrange(300)
        failed = dice.random() < (0.5 if person % 2 else 0.01)
        started_at = now - timedelta(minutes=3 * number + 5)
        return {"candidate": person % 2 == 1, "failed": failed, "unit": f"{person:032x}", "started_at": started_at}

    common = {"rollout": HARMFUL, "percent": harmful.percent, "run": harmful.run, "stretch": harmful.stretch}
    ModelCall.objects.bulk_create(many_calls(common, map(facts, range(1500))))
    roll_up(now=now)


# --- the requests -----------------------------------------------------------------------------


def program(url: str, key: str, number: int) -> str:
    """One request at /v1 for one of 24 units, whole or as a stream; the call's id."""
    text = f"Question {number}" + (f", {FAILS}" if number % 9 == 0 else "")
    body = {"model": "chat-model", "messages": [{"role": "user", "content": text}], "stream": number % 2 == 0}
    headers = {"Authorization": f"Bearer {key}", "X-Sluice-Unit": f"customer-{number % 24}"}
    answer = httpx2.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=30, trust_env=False)
    return str(answer.raise_for_status().headers["x-sluice-call"])


def rate(url: str, key: str, call: str, rating: int) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    path = f"{url}/v1/calls/{call}/feedback"
    httpx2.post(path, json={"rating": rating}, headers=headers, timeout=30, trust_env=False).raise_for_status()


def person(urls: list[str], number: int) -> None:
    """Somebody asks on the page of one process, reads the answer at the next one and rates it at a third."""
    client = Client()
    client.force_login(UserFactory(unit=f"{number:032x}"))
    cookies = {settings.SESSION_COOKIE_NAME: client.cookies[settings.SESSION_COOKIE_NAME].value}
    urls = [urls[(number + step) % len(urls)] for step in range(3)]
    with httpx2.Client(cookies=cookies, timeout=30, trust_env=False) as browser:
        browser.get(f"{urls[0]}/").raise_for_status()
        headers = {"X-CSRFToken": browser.cookies[settings.CSRF_COOKIE_NAME], "Accept": "application/json"}
        form = {"text": f"Hello from {number}", "model": "chat-model"}
        reply = browser.post(f"{urls[0]}/messages", data=form, headers=headers).raise_for_status().json()["reply"]
        with browser.stream("GET", f"{urls[1]}/answers/{reply}/events") as events:
            assert "event: done" in "".join(events.iter_text())
        rated = browser.post(f"{urls[2]}/answers/{reply}/rating", data={"value": 1 + number % 5}, headers=headers)
        rated.raise_for_status()


def ask_everything(urls: list[str], key: str) -> None:
    """All requests, some at once, spread over the processes."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = [pool.submit(program, urls[n % len(urls)], key, n) for n in range(PROGRAMS)]
    calls = [each.result() for each in asked]
    wait_for(lambda: not ModelCall.objects.filter(outcome="running").exists())
    for number, call in enumerate(calls):
        if number % 3 == 0:
            rate(urls[number % len(urls)], key, call, 1 + number % 5)
    for number in range(PEOPLE):
        person(urls, number)


# --- what came of them ------------------------------------------------------------------------


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to this"
        time.sleep(0.1)


def is_settled(now: datetime) -> bool:
    """Whether all that is due has been done: counted, reported, acted on, and sent."""
    week_is_news = SETTLED_AFTER <= now - _start_of(monday(now.date())) <= NEWS_FOR
    return (
        not ModelCall.objects.filter(pending=True).exists()
        and Report.objects.filter(kind="daily").count() >= 2 * 9
        and RolloutChange.objects.filter(actor="autopilot").exists()
        and Delivery.objects.filter(event=WEEKLY).count() >= 2 * week_is_news
        and not Delivery.objects.filter(state="pending").exists()
    )


def _start_of(day: Any) -> datetime:
    return datetime.combine(day, datetime.min.time(), tzinfo=timezone.get_default_timezone())


def without_times(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if not name.startswith(TAKES_TIME)}


def figures(now: datetime) -> dict[str, Any]:
    """All that must not depend on how many processes there are."""
    kinds = ("surface", "rollout", "arm", "reason", "attempt", "served_model", "outcome", "error_class", "rating")
    calls = ModelCall.objects.values_list(*kinds).order_by(*kinds)
    health = reading.health(rollout=NAME, since=now - timedelta(hours=1), until=timezone.now())
    evidence = reading.evidence(rollout=NAME, run=Rollout.objects.get(name=NAME).run)
    arms = {"baseline": health.baseline, "candidate": health.candidate}
    return {
        "calls": list(calls.annotate(Count("id"), Sum("input_tokens"), Sum("output_tokens"), Sum("cost_usd"))),
        "status": {name: (arm.people, without_times(arm.sums.to_json())) for name, arm in arms.items()},
        "evidence": [
            (stretch.stretch, arm, without_times(getattr(stretch, arm).to_json()))
            for stretch in evidence.stretches
            for arm in arms
        ],
        "totals": sorted((key, json.dumps(without_times(sum.to_json()))) for key, sum in reading.call_totals()),
        "changes": [
            (line.rollout, line.actor, line.version, {**line.changes, "salt": None})
            for line in RolloutChange.objects.order_by("id")
        ],
        "reports": sorted(
            Report.objects.filter(first_day__lt=now.date()).values_list("kind", "rollout", "first_day", "version")
        ),
        "sent": sorted(Delivery.objects.values_list("rollout", "event", "channel", "state", "attempts")),
    }


def run_stack(home: Path, mailbox: Mailbox, now: datetime, **processes: int) -> dict[str, Any]:
    home.mkdir()
    mailbox.taken.clear()
    environment = {"EMAIL_URL": mailbox.url, "REPORT_EMAILS": "grace@example.com"}
    seed(now)
    _key, text = create_key(name="shop", owner=UserFactory(username="shop"))
    with running_stack(home, environment=environment, **processes) as urls:
        ask_everything(urls, text)
        wait_for(lambda: is_settled(now))
        # Whatever would be done twice has had its chance when everything has been due twice more.
        once_more = timezone.now() + timedelta(seconds=2)
        wait_for(lambda: (reading.rolled_at() or now) > once_more)
    assert not [count for count in Counter(mailbox.taken).values() if count > 1]
    assert len(mailbox.taken) == Delivery.objects.filter(channel="email").count()
    return figures(now)


@pytest.mark.skipif(DATABASE != "postgres", reason="so many processes need PostgreSQL: SQLite is for one machine")
@pytest.mark.usefixtures("_vendors")
@pytest.mark.django_db(transaction=True)
def test_many_processes_show_the_same_totals_as_one_of_each(
    redis_server: Any, mailbox: Mailbox, tmp_path: Path
) -> None:
    now = timezone.now()
    one = run_stack(tmp_path / "one", mailbox, now, web=1, worker=1, beat=1)
    empty_database()
    redis_server.flushall()
    many = run_stack(tmp_path / "many", mailbox, now, web=3, worker=2, beat=2)

    for name, of_one in one.items():
        assert many[name] == of_one, name
    people, sums = zip(*one["status"].values(), strict=True)
    assert sum(part["requests"] for part in sums) == PROGRAMS + PEOPLE
    assert sum(people) == 24 + PEOPLE
    assert one["status"]["candidate"][1]["errors"]
    assert [change[:2] for change in one["changes"]] == [(HARMFUL, "test"), (HARMFUL, "autopilot")]
