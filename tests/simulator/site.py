"""A small site that looks like Sluice to a simulated person, and misbehaves as a test wishes."""

import asyncio
import json
import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from simulator.people import Answer
from simulator.people_crowd import Crowd
from tests.services import live

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


@contextmanager
def serving(site: Site) -> Iterator[str]:
    """The site behind a real HTTP server; gives its URL."""
    with live.serving(site, live.reserve_port()) as url:
        yield url


def chat(
    url: str, *, turns: list[int], size: int = 1, rate_share: float = 0.0, seed: int = 1, **changes: Any
) -> tuple[list[Answer], Crowd]:
    """Have ``size`` people write at ``url`` in the order of ``turns``; gives what they saw, and them."""
    answers: list[Answer] = []

    async def run() -> Crowd:
        async with Crowd(url, size=size, rng=random.Random(seed), **changes) as crowd:
            await crowd.chat(turns, model="chat-model", rate_share=rate_share, concurrency=4, on_answer=answers.append)
            return crowd

    return answers, asyncio.run(run())
