"""An HTTP client for an SDK that is to send requests, and not to read the answers.

Imported by the adapter that needs it when it is made: its libraries take a moment.
"""

from contextvars import ContextVar
from typing import Any

import httpx2
from httpx_aiohttp.httpx2 import Httpx2AiohttpClient


class Exchange:
    """One request on the wire: the seconds it has to open its connection, and the response once there is one."""

    def __init__(self, connect_timeout_s: float) -> None:
        self.connect_timeout_s = connect_timeout_s
        self.response: httpx2.Response | None = None


exchange: ContextVar[Exchange] = ContextVar("exchange")


class HandoverClient(Httpx2AiohttpClient):
    """Hands the response over to whoever set ``exchange``, who reads and closes it.

    The SDK is told of a success without a body; of anything else it gets the response, to make an error of it.
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
