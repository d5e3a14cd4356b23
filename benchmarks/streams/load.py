"""People who each ask once and read the answer as it comes: ``python -m benchmarks.streams.load URL < guests.json``.

Each posts a message to the chat page's endpoint and then follows the reply's events, on a connection of its own, as
the page's script does. What is shown must begin with the answer's first word and go on without a gap, and may only
grow. Prints JSON: what failed, milliseconds from the post to the first visible word, less the vendor's own delay
(*added*), how long another guest waits for the chat page meanwhile, and the span of time when all answers were
streaming (on the monotonic clock) with the words that came to be seen within it.
"""

import argparse
import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from benchmarks.streams import script
from benchmarks.streams.upstream import question

_CSRF = "a" * 32
PAGE_EVERY_S = 0.5


@dataclass
class Page:
    """One answer as its page shows it: the words of each block."""

    answer: int
    blocks: list[list[tuple[int, int]]] = field(default_factory=list)
    seen: int = 0
    events: int = 0
    posted: float = 0.0
    first: float = 0.0
    ended: float = 0.0
    wrong: str = ""

    def show(self, start: int, blocks: list[str]) -> None:
        """Take in a ``blocks`` event."""
        self.events += 1
        self.blocks[start:] = [script.words(html) for html in blocks]
        count = sum(map(len, self.blocks))
        if count < self.seen:
            self.wrong = self.wrong or f"shrank from {self.seen} to {count}"
        # What is new at the end, by its numbers: what was before is checked whole at the end.
        if count and self.blocks[-1] and self.blocks[-1][-1] != (self.answer, count - 1):
            self.wrong = self.wrong or f"{self.blocks[-1][-1]} is the {count}th word"
        self.seen = count
        if count and not self.first:
            self.first = time.monotonic()

    def end(self, html: str, state: str, tokens: int) -> None:
        """Take in the ``done`` event."""
        self.ended = time.monotonic()
        whole = [(self.answer, number) for number in range(tokens)]
        if [word for block in self.blocks for word in block] != whole[: self.seen]:
            self.wrong = self.wrong or "not in order"
        if state != "complete" or script.words(html) != whole:
            self.wrong = self.wrong or f"{state} with {len(script.words(html))} of {tokens} words"


class Visitor:
    """One guest's connection."""

    def __init__(self, url: str, session: str) -> None:
        self._parts = urlsplit(url)
        self._cookies = f"sessionid={session}; csrftoken={_CSRF}"

    async def __aenter__(self) -> "Visitor":
        self._in, self._out = await asyncio.open_connection(self._parts.hostname, self._parts.port, limit=1 << 20)
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._out.close()

    async def ask(self, method: str, path: str, body: bytes = b"", accept: str = "*/*") -> bytes:
        """Send it; the answer's head. Raises RuntimeError unless it is a 2xx."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._parts.netloc}", f"Cookie: {self._cookies}"]
        lines += [f"Accept: {accept}", f"X-CSRFToken: {_CSRF}", f"Content-Length: {len(body)}"]
        lines += ["Content-Type: application/x-www-form-urlencoded", "", ""]
        self._out.write("\r\n".join(lines).encode() + body)
        head = (await self._in.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 2"):
            raise RuntimeError(head.split(b"\r\n", 1)[0].decode())
        return head

    async def body(self, head: bytes) -> bytes:
        """The rest of an answer."""
        if b"transfer-encoding: chunked" in head:
            return b"".join([piece async for piece in self.pieces()])
        return await self._in.readexactly(int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]))

    async def pieces(self) -> Any:
        """A chunked body."""
        while size := int(await self._in.readuntil(b"\r\n"), 16):
            yield (await self._in.readexactly(size + 2))[:-2]
        await self._in.readexactly(2)


async def _converse(page: Page, url: str, session: str, options: argparse.Namespace) -> None:
    asked = question(page.answer, tokens=options.tokens, per_second=options.rate, first_s=options.first)
    form = urlencode({"text": asked, "model": "chat-model", "client_id": uuid4()}).encode()
    try:
        async with Visitor(url, session) as visitor:
            page.posted = time.monotonic()
            head = await visitor.ask("POST", "/messages", form, "application/json")
            reply = json.loads(await visitor.body(head))["reply"]
            await visitor.ask("GET", f"/answers/{reply}/events", accept="text/event-stream")
            pending = b""
            async for piece in visitor.pieces():
                *events, pending = (pending + piece).split(b"\n\n")
                for event in events:
                    _take(page, event, options.tokens)
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        page.wrong = page.wrong or f"{type(error).__name__}: {error}"
    if not page.ended:
        page.wrong, page.ended = page.wrong or "no end", time.monotonic()


def _take(page: Page, event: bytes, tokens: int) -> None:
    fields = dict(line.split(b": ", 1) for line in event.split(b"\n") if b": " in line)
    if fields.get(b"event") == b"blocks":
        page.show(**json.loads(fields[b"data"]))
    elif fields.get(b"event") == b"done":
        page.end(tokens=tokens, **json.loads(fields[b"data"]))


async def _look_at_pages(url: str, session: str, taken: list[tuple[float, float]]) -> None:
    while True:
        await asyncio.sleep(PAGE_EVERY_S)
        began = time.monotonic()
        async with Visitor(url, session) as visitor:
            await visitor.body(await visitor.ask("GET", "/"))
        taken.append((began, 1000 * (time.monotonic() - began)))


async def _load(options: argparse.Namespace, sessions: list[str]) -> dict[str, Any]:
    pages = [Page(answer) for answer in range(len(sessions) - 1)]
    looks: list[tuple[float, float]] = []
    looker = asyncio.create_task(_look_at_pages(options.url, sessions[-1], looks))
    people = []
    for page, session in zip(pages, sessions, strict=False):
        people.append(asyncio.create_task(_converse(page, options.url, session, options)))
        await asyncio.sleep(options.over / len(pages))
    begin = time.monotonic() + 2 + options.first
    counts: list[tuple[float, int]] = []

    async def count() -> None:
        while True:
            counts.append((time.monotonic(), sum(page.seen for page in pages)))
            await asyncio.sleep(0.5)

    counter = asyncio.create_task(count())
    await asyncio.gather(*people)
    counter.cancel()
    looker.cancel()
    end = min(page.ended for page in pages)
    inside = [entry for entry in counts if begin <= entry[0] <= end - 0.5] or counts[:1]
    added = [1000 * (page.first - page.posted - options.first) for page in pages if page.first]
    return {
        "wrong": [f"{page.answer}: {page.wrong}" for page in pages if page.wrong],
        "complete": sum(not page.wrong for page in pages),
        "events": sum(page.events for page in pages),
        "added_ms": percentiles(added),
        "page_ms": percentiles([ms for when, ms in looks if begin <= when <= end] or [0.0]),
        "plateau": [inside[0][0], inside[-1][0]],
        "words": inside[-1][1] - inside[0][1],
    }


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p95, p99 and the greatest."""
    ordered = sorted(values)
    last = len(ordered) - 1
    named = {f"p{share}": ordered[min(last, len(ordered) * share // 100)] for share in (50, 95, 99)}
    return {name: round(value, 1) for name, value in {**named, "max": ordered[last]}.items()}


def main() -> None:
    """Print the figures."""
    import uvloop

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="tokens a second")
    parser.add_argument("--first", type=float, default=0.5, help="seconds to the vendor's first token")
    parser.add_argument("--over", type=float, default=25, help="seconds over which the people begin")
    options = parser.parse_args()
    print(json.dumps(uvloop.run(_load(options, json.load(sys.stdin)))))


if __name__ == "__main__":
    main()
