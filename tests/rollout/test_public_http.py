"""Calls to addresses that people typed: to public ones alone, and as their name says."""

import socket
import ssl
from datetime import timedelta
from unittest import mock

import httpcore2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.utils import timezone

from rollout import public_http
from rollout.models import Delivery
from rollout.public_http import UrlRefused, check_url, is_public
from tests.rollout.notice_steps import send, target, tell
from tests.services.receiver import receiving


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
