"""The weekly report's way to its readers, through a real mail server."""

import socket
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from django.contrib.auth.models import Group

from rollout import deliveries
from rollout.defaults import WEEKLY_REPORT_GROUP
from rollout.deliveries import FIRST_WAIT, LEASE, MOST_ATTEMPTS, Target, delete_old_deliveries, deliver_due, post
from rollout.models import Delivery
from rollout.report_mail import mail_due_reports
from rollout.reports import SETTLED_AFTER, build_report
from tests.chat.factories import UserFactory
from tests.metrics.factories import NOW, ModelCallFactory
from tests.rollout.steps import NAME

pytestmark = pytest.mark.django_db

MONDAY = date(2026, 11, 9)
# The week is over, and its figures have settled.
SETTLED = datetime.fromisoformat("2026-11-16T00:00:00+00:00") + SETTLED_AFTER


class Mailbox:
    """What a mail server was given; it refuses the first ``refusals`` messages."""

    def __init__(self) -> None:
        self.refusals = 0
        self.taken: list[tuple[str, Message]] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        if self.refusals:
            self.refusals -= 1
            return "451 not now, secret-address@example.com"
        self.taken.append((envelope.rcpt_tos[0], message_from_bytes(envelope.content)))
        return "250 OK"

    @property
    def addresses(self) -> list[str]:
        return sorted(address for address, _mail in self.taken)


@pytest.fixture
def mailbox(settings: Any) -> Iterator[Mailbox]:
    box = Mailbox()
    # The server can't choose a port by itself.
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
    settings.REPORT_EMAILS = ["ada@example.com"]
    yield box
    server.stop()


@pytest.fixture
def _report() -> None:
    ModelCallFactory.create_batch(3, candidate=True, started_at=NOW - timedelta(days=9))
    build_report("weekly", NAME, MONDAY, now=SETTLED)


def send(now: datetime = SETTLED) -> int:
    mail_due_reports(now=now)
    return deliver_due(clock=lambda: now)


def one() -> Delivery:
    return Delivery.objects.get()


@pytest.mark.usefixtures("_report")
def test_it_goes_to_the_listed_and_to_staff_of_the_group(mailbox):
    group = Group.objects.get(name=WEEKLY_REPORT_GROUP)
    for name, fields in {
        "grace": {"is_staff": True},
        "gone": {"is_staff": True, "is_active": False},
        "guest": {"is_staff": False},
    }.items():
        UserFactory(username=name, email=f"{name}@example.com", **fields).groups.add(group)
    UserFactory(username="silent", is_staff=True).groups.add(group)
    UserFactory(username="other", email="other@example.com", is_staff=True)

    send()

    assert mailbox.addresses == ["ada@example.com", "grace@example.com"]


@pytest.mark.usefixtures("_report")
def test_it_holds_the_figures_as_text_and_html_and_a_link_where_the_site_is_known(mailbox, settings):
    settings.SITE_URL = "https://chat.example.com"

    send()

    (_address, mail) = mailbox.taken[0]
    parts: dict[str, Any] = {
        part.get_content_type(): part.get_payload(decode=True).decode()
        for part in mail.walk()
        if not part.is_multipart()
    }
    assert "week of" in str(mail["Subject"])
    assert mail["X-Sluice-Delivery"] == str(one().pk)
    assert "TRAFFIC AND QUALITY" in parts["text/plain"]
    assert "<h2" in parts["text/html"]
    for text in parts.values():
        assert "https://chat.example.com/admin/rollout/report/" in text


@pytest.mark.usefixtures("_report")
def test_each_gets_it_once_whatever_is_built_or_run_again(mailbox):
    send()
    ModelCallFactory(candidate=True, started_at=NOW - timedelta(days=9))
    build_report("weekly", NAME, MONDAY, now=SETTLED)

    assert send() == 0
    assert mailbox.addresses == ["ada@example.com"]


@pytest.mark.usefixtures("_report")
@pytest.mark.parametrize("moment", [SETTLED - timedelta(seconds=1), SETTLED + timedelta(days=8)])
def test_nothing_goes_out_before_the_figures_have_settled_or_when_they_are_no_news(mailbox, moment):
    assert send(moment) == 0
    assert not mailbox.taken


@pytest.mark.usefixtures("_report")
def test_a_server_that_refuses_is_asked_again_later_and_its_words_are_not_kept(mailbox):
    mailbox.refusals = 1

    assert send() == 0
    waiting = one()
    assert (waiting.state, waiting.attempts, waiting.next_try_at) == ("pending", 1, SETTLED + FIRST_WAIT)
    assert "secret" not in waiting.error
    assert send(SETTLED + FIRST_WAIT / 2) == 0
    assert send(SETTLED + FIRST_WAIT) == 1

    assert (one().state, one().error) == ("sent", "")
    assert mailbox.addresses == ["ada@example.com"]


@pytest.mark.usefixtures("_report")
def test_it_is_given_up_in_the_end(mailbox):
    mailbox.refusals = 1000
    now = SETTLED

    for _attempt in range(MOST_ATTEMPTS):
        send(now)
        now = one().next_try_at or now

    assert (one().state, one().attempts, one().next_try_at) == ("failed", MOST_ATTEMPTS, None)


def test_a_message_that_no_mail_can_be_made_of_holds_up_no_other(mailbox):
    for subject in ("two\nlines", "good"):
        message = {"subject": subject, "text": "…"}
        post(
            rollout=NAME,
            event="test",
            key=subject,
            targets=[Target("email", "ada@example.com")],
            write=lambda message=message: message,  # type: ignore[misc]
            now=NOW,
        )

    assert deliver_due(clock=lambda: NOW) == 1
    assert sorted(Delivery.objects.values_list("state", flat=True)) == ["pending", "sent"]


@pytest.mark.usefixtures("_report")
def test_while_one_worker_sends_no_other_does_and_a_dead_one_is_followed(mailbox, monkeypatch):
    mail_due_reports(now=SETTLED)
    seen_by_the_second: list[int] = []

    def dies(*_: Any) -> None:
        seen_by_the_second.append(deliver_due(clock=lambda: SETTLED))
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(deliveries, "_keep", dies)
        with pytest.raises(SystemExit):
            deliver_due(clock=lambda: SETTLED)

    assert seen_by_the_second == [0]
    assert deliver_due(clock=lambda: SETTLED + LEASE - timedelta(seconds=1)) == 0
    assert deliver_due(clock=lambda: SETTLED + LEASE) == 1
    # It had been sent when the first one died: at least once, under one id.
    assert mailbox.addresses == ["ada@example.com"] * 2
    assert len({mail["X-Sluice-Delivery"] for _address, mail in mailbox.taken}) == 1


@pytest.mark.usefixtures("_report")
def test_what_was_sent_long_ago_is_forgotten(mailbox):
    send()

    assert delete_old_deliveries(now=SETTLED + timedelta(days=89)) == 0
    assert delete_old_deliveries(now=SETTLED + timedelta(days=91)) == 1
