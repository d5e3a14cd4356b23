"""How a request gets to a vendor: its SDK says where and with what headers, and we send it.

An SDK's own way from a call to the wire takes a third of an answer's CPU, or more than half. Of what it does there, the
address, the key and the other headers are the same for each request: it is asked for them once, and again only to say
what a refusal means. Imported by an adapter when it is made: the libraries take a moment.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.request import getproxies

import aiohttp
import httpx2

from chat.json_bytes import write_json
from chat.providers.base import InvalidRequest, ProviderTimeout, ProviderUnavailable

# What belongs to one body or one connection, and what the client that sends it says for itself.
_NOT_SHARED = frozenset(("host", "connection", "content-length", "transfer-encoding", "accept-encoding"))
# A body that was read is neither compressed nor in chunks any more.
_OF_THE_WIRE = frozenset(("content-encoding", "content-length", "transfer-encoding"))
# Shorter than the 5 s of uvicorn and Node, so that it is us who close a connection that nobody uses.
KEEPALIVE_S = 4.0
# A connection that was closing as a request went out is found out within this.
CLOSING_S = 1.0
# More of a refusal is not read.
MAX_REFUSAL_BYTES = 1 << 20

# Lets an SDK make a request, and raises its errors.
Ask = Callable[[], Awaitable[object]]


class Template(NamedTuple):
    """What all requests to one address have in common."""

    url: str
    headers: Mapping[str, str]


class _Turn:
    """What comes of one request of an SDK's: it is answered with ``response``."""

    def __init__(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        self.response = httpx2.Response(status, headers=headers, content=body)
        self.request: httpx2.Request | None = None


class Desk(httpx2.AsyncBaseTransport):
    """Where an SDK's requests end: none is sent from here."""

    def __init__(self) -> None:
        self._turn: ContextVar[_Turn] = ContextVar("turn")

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See ``httpx2.AsyncBaseTransport``."""
        turn = self._turn.get()
        turn.request = request
        return turn.response

    async def template(self, ask: Ask) -> Template:
        """Of the request that the SDK makes when it is asked."""
        turn = _Turn(200)
        await self._take(turn, ask)
        if turn.request is None:
            raise ProviderUnavailable("The SDK asked for nothing.", error_class="internal")
        headers = {name: value for name, value in turn.request.headers.items() if name not in _NOT_SHARED}
        return Template(str(turn.request.url), headers)

    async def refusal(self, ask: Ask, response: aiohttp.ClientResponse) -> Exception:
        """What the SDK raises where it is answered like that; the body is read for it."""
        headers = {name: value for name, value in response.headers.items() if name.lower() not in _OF_THE_WIRE}
        turn = _Turn(response.status, headers, await _beginning(response))
        try:
            await self._take(turn, ask)
        except Exception as error:  # noqa: BLE001
            return error
        told = f"HTTP {response.status} is neither an answer nor a refusal."
        return ProviderUnavailable(told, status=response.status, error_class=f"http_{response.status}")

    async def _take(self, turn: _Turn, ask: Ask) -> None:
        token = self._turn.set(turn)
        try:
            await ask()
        finally:
            self._turn.reset(token)


class Sender:
    """Sends JSON and reads what is answered. Belongs to the event loop that it first sends in."""

    def __init__(self, vendor: str) -> None:
        self._vendor = vendor
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def post(
        self, template: Template, document: Mapping[str, Any], *, connect_timeout_s: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer's beginning; its end closes what was not read. Reads have no timeout: the attempt's deadlines are
        the caller's. Raises ProviderTimeout or ProviderUnavailable where nothing was answered, and InvalidRequest for a
        document that is no JSON, which is not the vendor's fault.
        """
        try:
            body = write_json(document)
        except (TypeError, ValueError, RecursionError):
            raise InvalidRequest("The request can't be written as JSON.", error_class="unwritable") from None
        if self._session is None:
            self._session = _session()
        try:
            response = await self._send(self._session, template, body, _timeout(connect_timeout_s))
        except TimeoutError:
            told = f"{self._vendor} could not be reached in time."
            raise ProviderTimeout(told, error_class="timeout_connect") from None
        except (aiohttp.ClientError, OSError):
            raise ProviderUnavailable(f"{self._vendor} could not be reached.", error_class="connect") from None
        try:
            yield response
        finally:
            response.close()

    async def _send(
        self, session: aiohttp.ClientSession, template: Template, body: bytes, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """Once; or once more where it went out on a kept connection that the vendor was just closing, which is nobody's
        fault (RFC 9112, 9.3.1). Not where it was silent for longer: it may have worked on it until then.
        """
        used = _Used()
        post = partial(
            session.post,
            template.url,
            data=body,
            headers=template.headers,
            allow_redirects=False,
            timeout=timeout,
            trace_request_ctx=used,
        )
        began = asyncio.get_running_loop().time()
        try:
            return await post()
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not used.kept or asyncio.get_running_loop().time() - began > CLOSING_S:
                raise
        return await post()


@dataclass
class _Used:
    """The connection that a request went out on, and whether it had been kept from an earlier one."""

    kept: bool = False


async def _note_kept(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx.kept = True


@lru_cache(maxsize=1)
def trusted() -> ssl.SSLContext:
    """Whom this machine trusts. To read that takes longer than all the rest of a client, so all share it."""
    return httpx2.create_ssl_context()


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Of a body, as far as it came."""
    body = b""
    with suppress(aiohttp.ClientError):
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) >= MAX_REFUSAL_BYTES:
                break
    return body


def _session() -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_note_kept)
    return aiohttp.ClientSession(
        # Whoever asks has a place already (``capacity``). 0 is no limit.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S, ssl=trusted()),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace],
        # Looked up for each request where it is on.
        trust_env=bool(getproxies()),
    )


@lru_cache(maxsize=16)
def _timeout(connect_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(sock_connect=connect_s, connect=connect_s)
