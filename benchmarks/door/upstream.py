"""A vendor that answers at once, on both wires: ``python -m benchmarks.door.upstream --port 9100``.

Says the same words each time, whole or as a stream of 64 pieces; knows just enough HTTP/1.1 for that. It is the floor
of every measurement, so it does as little as can be.
"""

import argparse
import asyncio
import json

TOKENS = 64
_USAGE = {"prompt_tokens": 9, "completion_tokens": TOKENS, "total_tokens": 9 + TOKENS}
_HEAD = {"id": "chatcmpl-1", "created": 1, "model": "gpt-5.4-2026"}


def _event(document: object) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def _openai_pieces() -> list[bytes]:
    def chunk(delta: object, reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return _event({**_HEAD, "object": "chat.completion.chunk", "choices": [choice]})

    usage = {**_HEAD, "object": "chat.completion.chunk", "choices": [], "usage": _USAGE}
    words = [chunk({"content": f"word{number} "}, None) for number in range(TOKENS)]
    return [
        chunk({"role": "assistant", "content": ""}, None),
        *words,
        chunk({}, "stop"),
        _event(usage),
        b"data: [DONE]\n\n",
    ]


def _gemini_pieces() -> list[bytes]:
    def chunk(text: str, **more: object) -> dict[str, object]:
        return {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **more}

    usage = {"promptTokenCount": 9, "candidatesTokenCount": TOKENS, "totalTokenCount": 9 + TOKENS}
    words = [_event({"candidates": [chunk(f"word{number} ")], "modelVersion": "gemini-x"}) for number in range(TOKENS)]
    return [
        *words,
        _event({"candidates": [chunk("", finishReason="STOP")], "usageMetadata": usage, "modelVersion": "gemini-x"}),
    ]


def _whole() -> bytes:
    message = {"role": "assistant", "content": "".join(f"word{number} " for number in range(TOKENS))}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _USAGE}).encode()


def _plain(kind: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (kind, len(body), body)


def _chunked(pieces: list[bytes]) -> list[bytes]:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return [head, *(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces), b"0\r\n\r\n"]


class Vendor(asyncio.Protocol):
    """One connection; requests come one after the other."""

    whole = _plain(b"application/json", _whole())
    openai = _chunked(_openai_pieces())
    gemini = _chunked(_gemini_pieces())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._out = transport
        self._in = b""

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self._in += data
        while (end := self._in.find(b"\r\n\r\n")) >= 0:
            head = self._in[:end].lower()
            place = head.find(b"content-length:")
            length = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
            if len(self._in) < end + 4 + length:
                return
            body, self._in = self._in[end + 4 : end + 4 + length], self._in[end + 4 + length :]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if b"generatecontent" in head:
            pieces = self.gemini
        elif b'"stream":true' in body.replace(b": ", b":"):
            pieces = self.openai
        else:
            self._out.write(self.whole)  # type: ignore[attr-defined]
            return
        # One write each, as a model's tokens come.
        for piece in pieces:
            self._out.write(piece)  # type: ignore[attr-defined]


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Vendor, "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9100)
    options = parser.parse_args()
    try:
        import uvloop

        uvloop.run(_serve(options.port))
    except ImportError:
        asyncio.run(_serve(options.port))


if __name__ == "__main__":
    main()
