"""What an upstream can do wrong, by the name of the model that is asked for.

A model's name may end in a number: how many good tokens come first, or the HTTP status. The names' first
letters are the rows of the table of faults to survive. Knows no sockets: a ``Reply`` writes.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from tests.services.dialects import Dialect

TOKENS = ("Water ", "the ", "roots, ", "not ", "the ", "leaves.")
INPUT_TOKENS, OUTPUT_TOKENS = 12, 6
# Answered well on a connection that is kept, and torn down when it is asked for once more on that.
KEPT = "kept"
ARGUMENTS = '{"city": "Zürich", "days": 3}'
# What no one but the upstream ever says; must not be seen anywhere else.
SECRET_WORDS = "upstream-internal-words"
HTML = f"<html><body><h1>{SECRET_WORDS}</h1></body></html>".encode()
# One line each of what line splitters, decoders and databases stumble over; joined it is one text.
UNICODE = (
    "Zürich 🌍 ",
    "line\u2028separator\u2029 ",
    "next\u0085line\x0b ",
    "nul\x00byte ",
    "bidi \u202eabc\u202c",
    "\r\nend",
)


class Reply(Protocol):
    """Writes one HTTP response, rightly or wrongly."""

    async def whole(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        """A response at once: ``body`` as it is where it is bytes, else as JSON."""

    async def start(self) -> None:
        """The head of an event stream."""

    async def send(self, *events: bytes) -> None:
        """More of the stream, each event in a write of its own."""

    async def end(self) -> None:
        """The stream's proper end."""

    def reset(self) -> None:
        """Tear the connection down (RST)."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What a fault may know: the vendor, the key that was sent, the model's number, and another origin's URL."""

    dialect: Dialect
    key: str
    number: int | None
    elsewhere: str

    def tokens(self, default: int = 0) -> list[bytes]:
        """The good tokens that come first."""
        count = default if self.number is None else self.number
        return [self.dialect.text(token) for token in TOKENS[:count]]

    def call(self, number: int, arguments: str = ARGUMENTS) -> list[bytes]:
        """A tool call."""
        return self.dialect.call(number, "weather", arguments)

    def ending(self, reason: str = "stop") -> list[bytes]:
        """What follows the text of a good answer."""
        return [self.dialect.finish(reason), self.dialect.usage(INPUT_TOKENS, OUTPUT_TOKENS), self.dialect.done()]


Fault = Callable[[Reply, Ask], Awaitable[None]]


def find(model: str) -> tuple[Fault, int | None] | None:
    """The fault that ``model`` stands for, and its number; ``None`` for a name that there is not."""
    if model in FAULTS:
        return FAULTS[model], None
    match = re.fullmatch(r"(.+)-(\d+)", model)
    return (FAULTS[match[1]], int(match[2])) if match and match[1] in FAULTS else None


def _status(default: int, message: str = SECRET_WORDS, **headers: str) -> Fault:
    async def fault(reply: Reply, ask: Ask) -> None:
        status = ask.number or default
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        await reply.whole(status, ask.dialect.error(status, message), sent)

    return fault


def _body(status: int, body: object) -> Fault:
    async def fault(reply: Reply, ask: Ask) -> None:
        await reply.whole(status, body)

    return fault


def _events(make: Callable[[Ask], Iterable[bytes]]) -> Fault:
    """A stream of these events, properly ended."""

    async def fault(reply: Reply, ask: Ask) -> None:
        await reply.start()
        await reply.send(*make(ask))
        await reply.end()

    return fault


def _then_for_ever(make: Callable[[Ask], bytes], *, pause_s: float) -> Fault:
    """The good tokens, then one and the same event again and again."""

    async def fault(reply: Reply, ask: Ask) -> None:
        await reply.start()
        await reply.send(*ask.tokens())
        while True:
            await reply.send(make(ask))
            await asyncio.sleep(pause_s)

    return fault


def _usage(*counts: tuple[object, object]) -> Fault:
    """A whole answer with these usage events, or none."""
    return _events(
        lambda ask: [
            *ask.tokens(2),
            ask.dialect.finish("stop"),
            *(ask.dialect.usage(*count) for count in counts),
            ask.dialect.done(),
        ]
    )


async def _echo_key(reply: Reply, ask: Ask) -> None:
    await reply.whole(401, ask.dialect.error(401, f"Incorrect API key provided: {ask.key}. {SECRET_WORDS}"))


async def _quota(reply: Reply, ask: Ask) -> None:
    await reply.whole(429, ask.dialect.quota())


async def _cut(reply: Reply, ask: Ask) -> None:
    await reply.start()
    await reply.send(*ask.tokens())


async def _cut_call(reply: Reply, ask: Ask) -> None:
    await reply.start()
    await reply.send(*ask.call(0)[:2])


async def _reset(reply: Reply, ask: Ask) -> None:
    await _cut(reply, ask)
    # What was sent gets read first: a reset throws away what still lies in the client's buffer.
    await asyncio.sleep(0.1)
    reply.reset()


async def _close(reply: Reply, ask: Ask) -> None:
    reply.reset()


async def _hang(reply: Reply, ask: Ask) -> None:
    await asyncio.Event().wait()


async def _stall(reply: Reply, ask: Ask) -> None:
    await _cut(reply, ask)
    await asyncio.Event().wait()


async def _policy(reply: Reply, ask: Ask) -> None:
    refused = ask.dialect.policy()
    if refused is None:
        await FAULTS["p27-blocked"](reply, ask)
    else:
        await reply.whole(*refused)


async def _unicode(reply: Reply, ask: Ask) -> None:
    events = b"".join([*map(ask.dialect.text, UNICODE), *ask.ending()]).replace(b"\r\n\r\n", b"\n\n")
    await reply.start()
    crlf = events.replace(b"\n\n", b"\r\n\r\n")
    # Three bytes a write: characters and line ends are torn apart.
    await reply.send(*(crlf[at : at + 3] for at in range(0, len(crlf), 3)))
    await reply.end()


async def _redirect(reply: Reply, ask: Ask) -> None:
    await reply.whole(307, b"", {"location": f"{ask.elsewhere}/elsewhere"})


_good = _events(lambda ask: [*ask.tokens(len(TOKENS)), *ask.ending()])

FAULTS: dict[str, Fault] = {
    "ok": _good,
    KEPT: _good,
    "closes": _close,
    "p04-401-echo": _echo_key,
    "p05": _status(403),
    "p06": _status(404),
    "p08": _status(429, retry_after="1"),
    "p09-day": _status(429, retry_after="86400"),
    "p09-date": _status(429, retry_after="Fri, 31 Dec 2100 23:59:59 GMT"),
    "p09-garbage": _status(429, retry_after="soon"),
    "p10-quota": _quota,
    "p11": _status(500),
    "p12-html": _body(500, HTML),
    "p12-empty": _body(503, b""),
    "p13-html": _body(200, HTML),
    "p13-null": _body(200, None),
    "p13-list": _body(200, [SECRET_WORDS]),
    "p13-bad-json": _body(200, b'{"choices": ['),
    "p14-empty": _events(lambda ask: []),
    "p14-done": _events(lambda ask: [ask.dialect.done()]),
    "p14-no-choices": _events(lambda ask: [ask.dialect.nothing(), ask.dialect.done()]),
    "p15-empty-text": _events(lambda ask: ask.ending()),
    "p16-cut": _cut,
    "p16-reset": _reset,
    "p17-no-finish": _events(lambda ask: [*ask.tokens(2), ask.dialect.done()]),
    "p18-bad-json": _events(lambda ask: [*ask.tokens(1), b'data: {"choices": [{\n\n', *ask.ending()]),
    "p18-not-utf8": _events(
        lambda ask: [*ask.tokens(1), ask.dialect.text("broken").replace(b"broken", b"\xff\xfe"), *ask.ending()]
    ),
    "p19-inband-error": _events(
        lambda ask: [*ask.tokens(), b"data: " + json.dumps(ask.dialect.error(503, SECRET_WORDS)).encode() + b"\n\n"]
    ),
    "p20-hang": _hang,
    "p21-stall": _stall,
    "p22-drip": _then_for_ever(lambda ask: ask.dialect.text("drip "), pause_s=0.2),
    "p23-comments": _then_for_ever(lambda ask: b": keep-alive\n\n", pause_s=0.05),
    "p24-endless": _then_for_ever(lambda ask: ask.dialect.text("and so on " * 100), pause_s=0.001),
    "p26-filter": _events(lambda ask: [*ask.tokens(), *ask.ending("filter")]),
    "p27-blocked": _events(lambda ask: [ask.dialect.blocked(), ask.dialect.usage(INPUT_TOKENS, 0), ask.dialect.done()]),
    "p27-policy": _policy,
    "p28-unknown-finish": _events(lambda ask: [*ask.tokens(2), *ask.ending("unknown")]),
    "p28-length": _events(lambda ask: [*ask.tokens(), *ask.ending("length")]),
    "p29-no-usage": _usage(),
    "p29-bad-usage": _usage(("many", "a few")),
    "p29-negative-usage": _usage((-5, -1)),
    "p29-huge-usage": _usage((2**63, 2**63)),
    "p30-two-usages": _usage((1, 1), (INPUT_TOKENS, OUTPUT_TOKENS)),
    "p30-text-after-finish": _events(lambda ask: [*ask.tokens(2), ask.ending()[0], *ask.tokens(3), *ask.ending()[1:]]),
    "p31-unicode": _unicode,
    "p32-redirect": _redirect,
    "p33-calls": _events(lambda ask: [*ask.call(0), *ask.call(1), *ask.ending("calls")]),
    "p33-broken-arguments": _events(lambda ask: [*ask.call(0, '{"city": "Zür'), *ask.ending("calls")]),
    "p33-cut-call": _cut_call,
}
