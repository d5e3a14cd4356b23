"""A small site that looks like Sluice to a simulated person, and misbehaves as a test wishes."""

import json
import uuid
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs

BLOCKS = 'id: {seq}\nevent: blocks\ndata: {{"start": 0, "blocks": ["<p>Hello</p>"]}}\n\n'
TOKEN = "t" * 32


class Site:
    """``refuse`` answers that status (and JSON, if any) to messages; ``cut`` breaks that many streams off first.

    ``state`` and ``html`` are what the streams' end tells. ``requests`` holds what came: (method, path, headers, form).
    """

    def __init__(self, *, refuse: tuple[int, Any] | None = None, cut: int = 0, state: str = "complete", html: str = ""):
        self.refuse = refuse
        self.cut = cut
        self.state = state
        self.html = html
        self.requests: list[tuple[str, str, dict[str, str], dict[str, str]]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        form = {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
        self.requests.append((scope["method"], scope["path"], headers, form))
        if scope["path"].endswith("/events"):
            await self._stream(headers, send)
        elif scope["path"] == "/messages":
            await self._take(headers, send)
        elif scope["path"] == "/accounts/signup/" and scope["method"] == "POST":
            await _answer(send, 302, {}, location="/")
        else:
            await _answer(send, 200, {})

    async def _take(self, headers: dict[str, str], send: Any) -> None:
        cookies = SimpleCookie(headers.get("cookie", ""))
        if "csrftoken" not in cookies or headers.get("x-csrftoken") != cookies["csrftoken"].value:
            await _answer(send, 403, "csrf")
        elif self.refuse:
            await _answer(send, *self.refuse)
        else:
            await _answer(send, 201, {"conversation": {"id": str(uuid.uuid4())}, "reply": str(uuid.uuid4())})

    async def _stream(self, headers: dict[str, str], send: Any) -> None:
        seen = int(headers.get("last-event-id", "0"))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        events = BLOCKS.format(seq=seen + 1)
        if self.cut:
            self.cut -= 1
            await send({"type": "http.response.body", "body": events.encode(), "more_body": True})
            # uvicorn closes the connection of an app that fails in mid-response.
            raise ConnectionResetError
        done = json.dumps({"state": self.state, "html": self.html})
        events += f"event: done\ndata: {done}\n\n"
        await send({"type": "http.response.body", "body": events.encode()})


async def _answer(send: Any, status: int, content: Any, *, location: str = "") -> None:
    body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
    kind = b"text/html" if isinstance(content, str) else b"application/json"
    headers = [(b"content-type", kind), (b"set-cookie", f"csrftoken={TOKEN}; Path=/".encode())]
    if location:
        headers.append((b"location", location.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
