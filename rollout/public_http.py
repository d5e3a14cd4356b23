"""HTTP to addresses that people typed, and to public ones alone: checked at the very address that is connected to.

Knows ``httpcore`` and name resolution; no Django, no proxies, no redirects. A name is resolved once, so that it can't
answer with another address between the check and the connection.
"""

import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import urlsplit

import httpcore2

MAX_URL = 500
# For the whole exchange, and how much of an answer is read.
DEADLINE_S = 10.0
_MOST_READ = 300
# Forms whose last 32 bits are an IPv4 address: NAT64 (RFC 6052, 8215), and compatible ones (RFC 4291).
_CARRIERS = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"), IPv6Network("::/96"))
# What IANA gives out to the open internet (RFC 4291); the rest of IPv6 is not routed, whatever it is not listed as.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Open to all by its number, and answered by the machine's own host: Azure's metadata and agents.
_HOSTS_OWN = IPv4Address("168.63.129.16")


class UrlRefused(ValueError):
    """Not a URL that is called; ``code``: syntax, scheme, host_unknown, private."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer's status, and the printable beginning of its first line."""

    status: int
    first_line: str


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet, also in the forms that carry an IPv4 address in an IPv6 one.

    IANA's special-purpose registries, as ``ipaddress`` has them; multicast, 6to4, Teredo and NAT64 besides.
    """
    found = ip_address(address.partition("%")[0])
    carried = _carried(found)
    if isinstance(found, IPv6Address) and not carried and found not in _GLOBAL_UNICAST:
        return False
    return all(each.is_global and not each.is_multicast and each != _HOSTS_OWN for each in (found, *carried))


def check_url(url: str, *, allow_private: bool = False) -> None:
    """Raise UrlRefused unless the URL can be called: https (http where private ones may be), known and public."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80}.get(parts.scheme, 443)
    except ValueError:
        raise UrlRefused("syntax") from None
    typed = url.isascii() and url.isprintable() and " " not in url
    if len(url) > MAX_URL or not typed or not parts.hostname or parts.username is not None:
        raise UrlRefused("syntax")
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise UrlRefused("scheme")
    resolve(parts.hostname, port, allow_private=allow_private)


def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The addresses of a host. Raises UrlRefused where it has none, or where a single one of them is not public."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UrlRefused("host_unknown") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not allow_private and not all(map(is_public, addresses)):
        raise UrlRefused("private")
    return addresses


def post(url: str, *, body: bytes, headers: Mapping[str, str], allow_private: bool) -> Answer:
    """Send it, in ten seconds at most. Raises UrlRefused, TimeoutError, and OSError where nothing was answered."""
    backend = _CheckedBackend(allow_private=allow_private, until=time.monotonic() + DEADLINE_S)
    try:
        with (
            httpcore2.ConnectionPool(ssl_context=ssl.create_default_context(), network_backend=backend) as pool,
            pool.stream("POST", url, headers=list(headers.items()), content=body) as response,
        ):
            return Answer(status=response.status, first_line=_printable(_beginning_of(response)))
    except httpcore2.TimeoutException as error:
        raise TimeoutError from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.UnsupportedProtocol) as error:
        raise OSError(type(error).__name__) from error


def _beginning_of(response: httpcore2.Response) -> bytes:
    """Of its body, as far as it comes: a status that has arrived is an answer, whatever becomes of the rest."""
    beginning = b""
    with suppress(httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError):
        for chunk in response.iter_stream():
            beginning += chunk
            if len(beginning) >= _MOST_READ or b"\n" in beginning:
                break
    return beginning


def _printable(beginning: bytes) -> str:
    line = beginning[:_MOST_READ].partition(b"\n")[0].decode("utf-8", "replace")
    return "".join(character for character in line if character.isprintable()).strip()


def _carried(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    if isinstance(address, IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _CARRIERS):
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in found if each is not None]


class _CheckedBackend(httpcore2.SyncBackend):
    """Connects to checked addresses alone, and lets nothing last beyond one moment."""

    def __init__(self, *, allow_private: bool, until: float) -> None:
        self._allow_private = allow_private
        self._until = until

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """To the first address that answers."""
        addresses = resolve(host, port, allow_private=self._allow_private)
        for address in addresses[:-1]:
            try:
                return self._connect(address, port)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return self._connect(addresses[-1], port)

    def _connect(self, address: str, port: int) -> httpcore2.NetworkStream:
        return _HurriedStream(super().connect_tcp(address, port, timeout=_left(self._until)), self._until)


class _HurriedStream(httpcore2.NetworkStream):
    """A stream whose every step has only the time that is left for all of them."""

    def __init__(self, stream: httpcore2.NetworkStream, until: float) -> None:
        self._stream = stream
        self._until = until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Some bytes."""
        return self._stream.read(max_bytes, timeout=_left(self._until))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """All of them."""
        self._stream.write(buffer, timeout=_left(self._until))

    def close(self) -> None:
        """Let go."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """With the name that was asked for, not the address."""
        stream = self._stream.start_tls(ssl_context, server_hostname, timeout=_left(self._until))
        return _HurriedStream(stream, self._until)

    def get_extra_info(self, info: str) -> Any:
        """The stream's own."""
        return self._stream.get_extra_info(info)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise httpcore2.ReadTimeout
    return left
