"""The HTTP clients that the vendors' SDKs speak through.

Imported by an adapter when it is made: the libraries take a moment.
"""

import ssl
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import httpx2
from httpx_aiohttp.httpx2 import Httpx2AiohttpClient

# What httpx reads by itself.
ENCODINGS = ("Accept-Encoding", "gzip, deflate")
# There is one for each model.
_url = lru_cache(maxsize=256)(httpx2.URL)


@lru_cache(maxsize=1)
def trusted() -> ssl.SSLContext:
    """Whom this machine trusts. To read that takes longer than all the rest of a client, so all share it."""
    return httpx2.create_ssl_context()


class PlainClient(Httpx2AiohttpClient):
    """Sends a request as an SDK has made it, whose URL is whole and whose headers are all there.

    httpx's own way merges each with a client's: cookies, parameters, headers and an address, which here are none, and
    takes three times as long.
    """

    def __init__(self) -> None:
        super().__init__(
            verify=trusted(),
            follow_redirects=False,
            # Whoever asks has a place already (``capacity``). 0 is no limit to aiohttp; None were its own 100.
            limits=httpx2.Limits(max_connections=0, max_keepalive_connections=100),
        )

    def build_request(  # type: ignore[override]
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | Sequence[tuple[str, str]],
        content: bytes,
        timeout: httpx2.Timeout | float | None,
        **others: None,
    ) -> httpx2.Request:
        """See ``httpx2.AsyncClient.build_request``. Raises TypeError for what no request of ours has."""
        if unknown := [name for name, value in others.items() if value is not None]:
            raise TypeError(f"A request has no {' and no '.join(unknown)} here.")
        listed = headers.items() if isinstance(headers, Mapping) else headers
        return httpx2.Request(
            method,
            _url(url),
            headers=[ENCODINGS, *listed],
            content=content,
            extensions={"timeout": httpx2.Timeout(timeout).as_dict()},
        )


class Exchange:
    """One request on the wire: the seconds it has to open its connection, and the response once there is one."""

    def __init__(self, connect_timeout_s: float) -> None:
        self.connect_timeout_s = connect_timeout_s
        self.response: httpx2.Response | None = None


exchange: ContextVar[Exchange] = ContextVar("exchange")


class HandoverClient(PlainClient):
    """For an SDK that is to send requests, and not to read the answers.

    Hands the response over to whoever set ``exchange``, who reads and closes it. The SDK is told of a success without
    a body; of anything else it gets the response, to make an error of it.
    """

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """See ``httpx2.AsyncClient.send``."""
        waiting = exchange.get()
        limit = waiting.connect_timeout_s
        # The SDK sends ``None`` for every timeout.
        request.extensions["timeout"] = {"connect": limit, "pool": limit, "read": None, "write": None}
        waiting.response = await super().send(request, **options)
        if waiting.response.is_success:
            return httpx2.Response(waiting.response.status_code, request=request)
        return waiting.response
