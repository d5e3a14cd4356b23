"""The few parts of ASGI that the simulator needs (https://asgi.readthedocs.io/en/latest/specs/www.html).

Knows requests and responses as messages. Knows no vendor.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from simulator.exchange import Request

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def live(receive: Receive, send: Send) -> None:
    """Follow the server's start and stop."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def read_request(scope: Scope, receive: Receive) -> Request | None:
    """The whole request, or ``None`` where the client left before its end."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=dict(parse_qsl(scope["query_string"].decode("latin-1"))),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
    )


async def hang_up(receive: Receive) -> None:
    """Wait until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_json(send: Send, status: int, body: Any) -> None:
    """Answer with ``body`` as JSON."""
    content = json.dumps(body, ensure_ascii=False).encode()
    await _start(send, status, "application/json; charset=utf-8", content_length=len(content))
    await send({"type": "http.response.body", "body": content})


async def stream_events(send: Send, events: Iterator[tuple[float, bytes]]) -> None:
    """Answer with server-sent events, each ``(seconds to wait before it, its bytes)``.

    Waits add up from the start, so that a busy machine slows the sender down but not the stream's pace.
    """
    await _start(send, 200, "text/event-stream; charset=utf-8")
    loop = asyncio.get_running_loop()
    due = loop.time()
    for wait_s, content in events:
        due += wait_s
        await asyncio.sleep(due - loop.time())
        await send({"type": "http.response.body", "body": content, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _start(send: Send, status: int, content_type: str, *, content_length: int | None = None) -> None:
    headers = [(b"content-type", content_type.encode())]
    if content_length is not None:
        headers.append((b"content-length", str(content_length).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
