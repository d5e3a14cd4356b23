"""Notices on their way: webhooks, Slack and mail, to a real receiver."""

import base64
import hashlib
import hmac
import json
import re
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from rollout import public_http
from rollout.deliveries import deliver_due
from rollout.models import Delivery, NoticeTarget
from tests.metrics.factories import NOW
from tests.rollout.notice_steps import send, target, tell
from tests.rollout.steps import NAME
from tests.services.receiver import receiving

# --- a webhook ---


@pytest.mark.django_db
def test_a_webhook_is_signed_as_standard_webhooks_says(receiver):
    hook = target(f"{receiver.url}/hook")

    assert tell("Langsam – é") == 1
    assert send() == 1

    path, headers, body = receiver.taken[0]
    document = json.loads(body)
    delivery = Delivery.objects.get()
    assert path == "/hook"
    assert document == {
        "id": str(delivery.pk),
        "event": "held",
        "rollout": NAME,
        "at": NOW.isoformat(),
        "subject": "Held",
        "text": "Langsam – é",
        "facts": {"code": "worse"},
    }
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(hook.secret.split("_", 1)[1])
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-id"] == str(delivery.pk)
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert (delivery.state, delivery.attempts, delivery.error) == ("sent", 1, "")


@pytest.mark.django_db
def test_the_readmes_own_lines_verify_it(receiver):
    code = re.search(r"```python\n(import base64.*?)```", Path("README.md").read_text(), re.DOTALL)
    assert code is not None
    lines: dict[str, Any] = {}
    exec(code[1], lines)
    hook = target(receiver.url)
    tell()
    deliver_due(clock=timezone.now)
    _path, headers, body = receiver.taken[0]

    assert lines["is_genuine"](hook.secret, headers, body)
    assert not lines["is_genuine"](hook.secret, headers, body + b" ")
    assert not lines["is_genuine"](hook.secret, {**headers, "webhook-timestamp": "1614265330"}, body)


@pytest.mark.django_db
def test_the_signature_of_the_specifications_own_example():
    from rollout.webhooks import signature

    found = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        b'{"test": 2432232314}',
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.django_db
def test_what_is_not_taken_is_tried_again_under_the_same_id_with_a_fresh_timestamp(receiver):
    target(receiver.url)
    receiver.answers = [500, 503]
    tell()

    assert [send(), send(timedelta(minutes=1)), send(timedelta(minutes=5))] == [0, 0, 1]

    assert len({headers["webhook-id"] for _path, headers, _body in receiver.taken}) == 1
    assert len({headers["webhook-timestamp"] for _path, headers, _body in receiver.taken}) == 3
    assert len({headers["webhook-signature"] for _path, headers, _body in receiver.taken}) == 3
    assert Delivery.objects.get().attempts == 3


@pytest.mark.django_db
def test_of_an_answer_one_printable_line_is_kept_and_redirects_are_not_followed(receiver):
    target(receiver.url)
    receiver.answers, receiver.location = [302], f"{receiver.url}/elsewhere"
    tell()

    send()

    assert Delivery.objects.get().error == "HTTP 302 said [31mso"
    assert [path for path, _headers, _body in receiver.taken] == ["/"]


@pytest.mark.django_db
def test_gone_is_never_asked_again(receiver):
    target(receiver.url)
    receiver.answers = [410]
    tell()
    send()

    assert send(timedelta(days=2)) == 0
    assert Delivery.objects.get().state == "failed"
    assert len(receiver.taken) == 1


@pytest.mark.django_db
def test_who_does_not_answer_in_time_is_tried_later_and_holds_nobody_up(receiver, monkeypatch):
    monkeypatch.setattr(public_http, "DEADLINE_S", 2)
    with receiving() as slow:
        slow.holds = True
        target(slow.url)
        for number in range(3):
            target(f"{receiver.url}/{number}")
        assert tell() == 4

        assert send() == 3

    assert {path for path, _headers, _body in receiver.taken} == {"/0", "/1", "/2"}
    late = Delivery.objects.get(state="pending")
    assert late.error == "no answer in time"


@pytest.mark.django_db
@pytest.mark.parametrize(("status", "state", "error"), [(200, "sent", ""), (500, "pending", "HTTP 500")])
def test_a_status_that_has_come_counts_though_its_body_never_does(receiver, monkeypatch, status, state, error):
    monkeypatch.setattr(public_http, "DEADLINE_S", 1)
    target(receiver.url)
    receiver.answers, receiver.holds_body = [status], True
    tell()

    send()

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.error) == (state, error)


@pytest.mark.django_db
def test_nobody_there_is_tried_later(receiver):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    target(f"http://127.0.0.1:{port}")
    tell()

    send()

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.error) == ("pending", "no answer: ConnectError")


@pytest.mark.django_db
def test_a_target_that_is_off_or_gone_gets_nothing(receiver):
    target(receiver.url, is_on=False)
    assert tell() == 0
    for number, end in enumerate((lambda each: each.delete(), lambda each: NoticeTarget.objects.update(is_on=False))):
        hook = target(receiver.url)
        tell(key=str(number))
        end(hook)

    send()

    assert {each.error for each in Delivery.objects.all()} == {"the target was deleted or turned off"}
    assert {each.state for each in Delivery.objects.all()} == {"failed"}
    assert receiver.taken == []


@pytest.mark.django_db
def test_secrets_and_addresses_are_in_no_delivery(receiver):
    hook = target(f"{receiver.url}/services/T0/B0/verysecret", channel="slack")
    tell()

    told = json.dumps(list(Delivery.objects.values()), default=str)
    assert "verysecret" not in told
    assert hook.secret not in told


# --- Slack and mail ---


@pytest.mark.django_db
def test_slack_gets_its_own_format_and_no_text_can_call_anybody(receiver):
    target(f"{receiver.url}/services/x", channel="slack")
    tell("5 < 6 & <!channel>")

    send()

    _path, headers, body = receiver.taken[0]
    assert json.loads(body) == {"text": "*Held*\n5 &lt; 6 &amp; &lt;!channel&gt;"}
    assert "webhook-signature" not in headers


@pytest.mark.django_db
def test_mail_goes_through_the_mail_server(mailoutbox):
    target("ada@example.com", channel="email")
    tell()

    send()

    assert [(mail.to, mail.subject, mail.body) for mail in mailoutbox] == [(["ada@example.com"], "Held", "It is slow.")]
