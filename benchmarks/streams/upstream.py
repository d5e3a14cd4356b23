"""A vendor that takes its time: ``python -m benchmarks.streams.upstream --port 9110``.

Speaks OpenAI's wire. The question says how: "answer 17: 1000 tokens, 20 a second, after 0.2 s". Each token is a write
of its own, at its own moment; what ``script`` has for that answer.
"""

import argparse
import asyncio
import json
import re

from benchmarks.streams import script

ASKED = re.compile(rb"answer (\d+): (\d+) tokens, ([\d.]+) a second, after ([\d.]+) s")
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def question(answer: int, *, tokens: int, per_second: float, first_s: float) -> str:
    """What to ask it."""
    return f"answer {answer}: {tokens} tokens, {per_second} a second, after {first_s} s"


def _event(document: dict[str, object]) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5.4-2026"}
    data = b"data: " + json.dumps({**head, **document}).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def _delta(delta: dict[str, str], reason: str | None = None) -> bytes:
    return _event({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


class Vendor(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._out = transport
        self._in = b""

    def data_received(self, data: bytes) -> None:
        """Answer a request that is whole."""
        self._in += data
        end = self._in.find(b"\r\n\r\n")
        head = self._in[:end].lower()
        place = head.find(b"content-length:")
        length = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
        if end < 0 or len(self._in) < end + 4 + length:
            return
        body, self._in = self._in[end + 4 : end + 4 + length], self._in[end + 4 + length :]
        asked = ASKED.search(body)
        if asked is None:
            self._write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            return
        self._answer, self._tokens, self._step = int(asked[1]), int(asked[2]), 1 / float(asked[3])
        self._begin = asyncio.get_running_loop().time() + float(asked[4])
        self._write(_HEAD + _delta({"role": "assistant", "content": ""}))
        self._later(0)

    def _later(self, number: int) -> None:
        when = self._begin + number * self._step
        asyncio.get_running_loop().call_at(when, self._say, number)

    def _say(self, number: int) -> None:
        if self._out.is_closing():
            return
        if number < self._tokens:
            self._write(_delta({"content": script.token(self._answer, number)}))
            self._later(number + 1)
            return
        usage = {"prompt_tokens": 9, "completion_tokens": self._tokens, "total_tokens": 9 + self._tokens}
        end = b"data: [DONE]\n\n"
        self._write(_delta({}, "stop") + _event({"choices": [], "usage": usage}))
        self._write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(end), end))

    def _write(self, data: bytes) -> None:
        self._out.write(data)  # type: ignore[attr-defined]


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Vendor, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    """Serve until SIGTERM."""
    import uvloop

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9110)
    uvloop.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
