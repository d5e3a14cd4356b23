"""Notices, over real HTTP to a real receiver."""

import base64
import hashlib
import hmac
import json
import re
import socket
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import httpcore2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone

from rollout import public_http
from rollout.changes import change_rollout
from rollout.decisions import Decision
from rollout.deliveries import deliver_due
from rollout.models import Delivery, NoticeTarget
from rollout.notices import notify
from rollout.pilot import look_at
from rollout.public_http import UrlRefused, check_url, is_public
from tests.chat.factories import UserFactory
from tests.metrics.factories import NOW
from tests.rollout.factories import ADA
from tests.rollout.steps import NAME, much_traffic, rollout, staff_with, text_of
from tests.services.receiver import Receiver, receiving

HARM = Decision(verdict="ROLLBACK", criteria=(), harm=True)


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.NOTICE_ALLOW_PRIVATE = True
    with receiving() as found:
        yield found


def target(url: str, channel: str = "webhook", **fields: Any) -> NoticeTarget:
    return NoticeTarget.objects.create(rollout=rollout(), channel=channel, address=url, **fields)


def tell(text: str = "It is slow.", key: str = "k") -> int:
    return notify(rollout(), "held", subject="Held", text=text, facts={"code": "worse"}, key=key, now=NOW)


def send(later: timedelta = timedelta(0)) -> int:
    return deliver_due(clock=lambda: NOW + later)


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


# --- only to public addresses ---


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "::",
        "::1",
        "::ffff:10.0.0.1",
        "::10.0.0.1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "2001:db8::1",
        "2002:a00:1::",
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "2001:0:a00:1::1",
        "::ffff:0:a00:1",
        "fec0::1",
        "4000::1",
        "168.63.129.16",
        "::ffff:168.63.129.16",
    ],
)
def test_what_is_not_of_the_open_internet_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_what_is_of_it_is(address):
    assert is_public(address)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://127.0.0.1/", "private"),
        ("https://[::1]/", "private"),
        ("https://2130706433/", "private"),
        ("https://0x7f.1/", "private"),
        ("https://localhost/", "private"),
        ("http://1.1.1.1/", "scheme"),
        ("ftp://1.1.1.1/", "scheme"),
        ("file:///etc/passwd", "syntax"),
        ("https://user:word@1.1.1.1/", "syntax"),
        ("https://1.1.1.1:99999/", "syntax"),
        ("https:///x", "syntax"),
        ("https://1.1.1.1/a b", "syntax"),
        ("https://1.1.1.1/\n", "syntax"),
        (f"https://1.1.1.1/{'x' * 500}", "syntax"),
        ("https://1.1.1.1/é", "syntax"),
        ("https://lócalhost/", "syntax"),
        ("https://no-such-host.invalid/", "host_unknown"),
    ],
)
def test_urls_that_are_not_called(url, code):
    with pytest.raises(UrlRefused) as refused:
        check_url(url)
    assert refused.value.code == code


@pytest.mark.django_db
def test_a_name_that_leads_inside_later_is_refused_where_it_is_connected_to():
    """It was public when it was saved, and its owner changed it since."""
    with receiving() as inside:
        port = int(inside.url.rpartition(":")[2])
        target(f"https://hooks.example.com:{port}/")
        tell()
        entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
        with mock.patch("socket.getaddrinfo", return_value=[entry]):
            send()

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.error) == ("failed", "not called: private")
    assert inside.taken == []


def test_it_is_connected_to_the_very_address_that_was_checked():
    """The second answer of the name would lead inside: it is never asked for."""
    first = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))
    with (
        mock.patch("socket.getaddrinfo", return_value=[first]) as asked,
        mock.patch("httpcore2.SyncBackend.connect_tcp", side_effect=httpcore2.ConnectError) as connected,
        pytest.raises(OSError, match="ConnectError"),
    ):
        public_http.post("http://rebinding.example/", body=b"", headers={}, allow_private=True)

    assert asked.call_count == 1
    assert connected.call_args.args[0] == "192.0.2.1"


@pytest.fixture
def hooks_example_com(tmp_path, monkeypatch) -> ssl.SSLContext:
    """A server's side of TLS whose certificate is that of one name, and is trusted here."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.example.com")])
    today = timezone.now()
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example.com")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted, both = tmp_path / "trusted.pem", tmp_path / "both.pem"
    trusted.write_bytes(certificate.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    both.write_bytes(private + trusted.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context


def test_the_certificate_and_the_host_header_are_of_the_name_and_not_of_the_address(hooks_example_com):
    with receiving(hooks_example_com) as inside:
        port = int(inside.url.rpartition(":")[2])
        entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
        with mock.patch("socket.getaddrinfo", return_value=[entry]):
            answer = public_http.post(f"https://hooks.example.com:{port}/x", body=b"{}", headers={}, allow_private=True)
            with pytest.raises(OSError, match="ConnectError"):
                public_http.post(f"https://other.example.com:{port}/x", body=b"{}", headers={}, allow_private=True)

    assert answer.status == 200
    assert [(path, headers["host"]) for path, headers, _body in inside.taken] == [("/x", f"hooks.example.com:{port}")]


# --- when there is something to tell ---


def events() -> list[str]:
    return list(Delivery.objects.order_by("created_at", "event").values_list("event", flat=True))


@pytest.mark.django_db
def test_another_decision_is_told_once():
    target("ada@example.com", channel="email")
    look_at(NAME, now=NOW)
    look_at(NAME, now=NOW + timedelta(minutes=1))
    assert events() == ["decision"]
    much_traffic(now=NOW)
    for minute in (2, 3):
        look_at(NAME, now=NOW + timedelta(minutes=minute))

    assert events() == ["decision", "decision"]
    newest = Delivery.objects.order_by("-created_at")[0]
    assert newest.message["subject"] == f"{NAME}: the decision is now Go"
    facts = newest.message["facts"]
    assert [facts[name] for name in ("verdict", "before", "percent")] == ["GO", "NOT_ENOUGH_DATA", "5.00"]
    assert facts["reason"] == newest.message["text"]
    assert "errors" in {criterion["name"] for criterion in facts["criteria"]}


@pytest.mark.django_db
def test_a_rollback_is_told_with_its_reason_and_once():
    target("ada@example.com", channel="email")
    change_rollout(NAME, {"ramp_mode": "automatic"}, actor=ADA)
    with mock.patch("rollout.pilot.evaluate", return_value=HARM):
        for minute in range(3):
            look_at(NAME, now=NOW + timedelta(minutes=minute))

    assert events() == ["rolled_back"]
    message = Delivery.objects.get().message
    assert message["subject"] == f"{NAME} was rolled back at 5 %"
    assert "proven to be worse" in message["text"]
    assert message["facts"] == {
        "action": "roll_back",
        "code": "harm",
        "reason": message["text"],
        "mode": "automatic",
        "percent": "5.00",
        "state": "rolled_back",
        "verdict": "ROLLBACK",
        "criteria": [],
    }


@pytest.mark.django_db
def test_an_assisted_ramp_tells_what_it_proposes_and_a_manual_one_nothing():
    target("ada@example.com", channel="email")
    with mock.patch("rollout.pilot.evaluate", return_value=HARM):
        look_at(NAME, now=NOW)
        assert events() == []
        change_rollout(NAME, {"ramp_mode": "assisted"}, actor=ADA)
        for minute in (1, 2):
            look_at(NAME, now=NOW + timedelta(minutes=minute))

    assert events() == ["proposed"]
    assert rollout().is_on


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("part", "error"),
    [
        ("rollout.notices.post", DatabaseError("no room")),
        ("rollout.notices.post", TypeError("not JSON")),
        ("rollout.notices.ramp_words.notice", KeyError("no such words")),
    ],
)
def test_no_news_holds_a_rollback_up(part, error):
    target("ada@example.com", channel="email")
    change_rollout(NAME, {"ramp_mode": "automatic"}, actor=ADA)
    with mock.patch("rollout.pilot.evaluate", return_value=HARM), mock.patch(part, side_effect=error):
        step = look_at(NAME, now=NOW)

    assert step is not None
    assert step.is_done
    assert not rollout().is_on


@pytest.mark.django_db
def test_a_failure_of_the_autopilot_changes_nothing_and_is_told_and_shown():
    target("ada@example.com", channel="email")
    change_rollout(NAME, {"ramp_mode": "automatic"}, actor=ADA)
    version = rollout().version
    with mock.patch("rollout.pilot.evaluate", side_effect=ValueError("sums that are not finite")):
        for minute in range(2):
            assert look_at(NAME, now=NOW + timedelta(minutes=minute)) is None

    assert rollout().version == version
    assert events() == ["autopilot_failed"]
    admin = Client()
    admin.force_login(UserFactory(is_staff=True, is_superuser=True))
    shown = text_of(admin.get(f"/admin/rollout/rollout/{rollout().pk}/ramp/"))
    assert "could not look at this rollout. Nothing was changed" in shown


# --- the pages ---

TARGETS = "/admin/rollout/noticetarget/"


def typed(**fields: Any) -> dict[str, Any]:
    return {"rollout": rollout().pk, "channel": "webhook", "address": "https://1.1.1.1/x", "is_on": "on", **fields}


@pytest.mark.django_db
def test_a_target_is_added_tested_and_shows_what_became_of_it(admin, receiver):
    admin.post(f"{TARGETS}add/", typed(address=f"{receiver.url}/verysecret", note="On call"))
    hook = NoticeTarget.objects.get()
    assert "verysecret" not in text_of(admin.get(TARGETS))

    page = admin.post(f"{TARGETS}{hook.pk}/test/", follow=True)
    assert "A test notice is on its way" in text_of(page)
    deliver_due(clock=timezone.now)

    assert json.loads(receiver.taken[0][2])["event"] == "test"
    shown = text_of(admin.get(f"{TARGETS}{hook.pk}/change/"))
    assert "test sent 1" in shown
    assert hook.secret in shown


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"address": "https://127.0.0.1/x"}, "has an address that is not public"),
        ({"address": "http://1.1.1.1/x"}, "must begin with https://"),
        ({"address": "https://ada:word@1.1.1.1/"}, "no user name and no password"),
        ({"address": "https://no-such-host.invalid/"}, "can't be found"),
        ({"channel": "email", "address": "nobody"}, "Enter a valid email address"),
    ],
)
def test_an_address_that_nothing_can_be_sent_to_is_refused_and_stays_typed(admin, fields, told):
    answer = admin.post(f"{TARGETS}add/", typed(**fields))

    assert told in text_of(answer)
    assert fields["address"] in answer.content.decode()
    assert not NoticeTarget.objects.exists()


@pytest.mark.django_db
def test_who_may_not_steer_sees_no_targets():
    hook = target("https://1.1.1.1/x")
    client = staff_with("view_rollout", "view_noticetarget")

    for path in (TARGETS, f"{TARGETS}add/", f"{TARGETS}{hook.pk}/change/"):
        assert client.get(path).status_code == 403
    assert client.post(f"{TARGETS}{hook.pk}/test/").status_code == 403
    assert not Delivery.objects.exists()


@pytest.mark.django_db
def test_viewers_see_what_was_told_and_no_address():
    target("https://1.1.1.1/verysecret")
    tell()
    shown = text_of(staff_with("view_rollout").get(f"/admin/rollout/delivery/?rollout={NAME}"))

    assert "held webhook" in shown
    assert "verysecret" not in shown
    assert staff_with().get("/admin/rollout/delivery/").status_code == 403


@pytest.mark.django_db
def test_a_target_that_is_off_is_not_tested(admin):
    hook = target("https://1.1.1.1/x", is_on=False)

    assert "is off" in text_of(admin.post(f"{TARGETS}{hook.pk}/test/", follow=True))
    assert not Delivery.objects.exists()
    assert admin.get(f"{TARGETS}{hook.pk}/test/").status_code == 405


@pytest.mark.django_db
def test_a_test_notice_needs_the_pages_own_token():
    hook = target("https://1.1.1.1/x")
    client = Client(enforce_csrf_checks=True)
    client.force_login(UserFactory(is_staff=True, is_superuser=True))

    assert client.post(f"{TARGETS}{hook.pk}/test/").status_code == 403
    assert not Delivery.objects.exists()


@pytest.mark.django_db
def test_a_rollouts_page_leads_to_its_own_deliveries(admin):
    target("ada@example.com", channel="email")
    tell("Of this one.")
    Delivery.objects.create(
        rollout="another", event="held", channel="email", target="eve@example.com", key="k", message={}, created_at=NOW
    )

    page = admin.get(f"/admin/rollout/rollout/{rollout().pk}/change/").content.decode()
    path = f"/admin/rollout/delivery/?rollout={NAME}"
    assert path in page
    shown = text_of(admin.get(path))
    assert "ada@example.com" in shown
    assert "eve@example.com" not in shown
