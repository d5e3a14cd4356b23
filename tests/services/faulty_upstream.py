"""An upstream that misbehaves, over a real socket: which fault it has is chosen by the model's name.

Knows HTTP/1.1 as far as the two SDKs speak it, and who closed a connection. The faults are in ``faults``,
the vendors' words in ``dialects``.
"""

import asyncio
import contextlib
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.services import faults
from tests.services.dialects import Dialect, Gemini, OpenAI

HOST = "127.0.0.1"
GEMINI_PATH = re.compile(r"/v1beta/models/(.+):streamGenerateContent")
# Long enough that what is written before is read apart from what is written after.
BETWEEN_S = 0.02
RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request. ``hung_up`` is set when the client closes the connection before we do."""

    path: str
    headers: Mapping[str, str]
    body: Any
    model: str
    hung_up: threading.Event = field(default_factory=threading.Event)


class FaultyUpstream:
    """The running server, as a test sees it: its ``url``, without a slash at the end, and what came in so far."""

    def __init__(self) -> None:
        self.url = ""
        self.elsewhere = ""
        self.requests: list[Received] = []
        self._arrived = threading.Condition()
        self._connections: set[asyncio.Task[None]] = set()
        self._bugs: list[Exception] = []

    def wait_for_request(self, timeout_s: float = 10) -> Received:
        """The newest request, waiting for the first; TimeoutError where none comes."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: self.requests, timeout_s):
                raise TimeoutError("no request came")
            return self.requests[-1]

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        """Answer on two free ports, two origins, until ``stop``."""
        async with (
            await asyncio.start_server(self._connected, HOST, 0) as server,
            await asyncio.start_server(self._connected, HOST, 0) as other,
        ):
            self.url, self.elsewhere = (f"http://{HOST}:{each.sockets[0].getsockname()[1]}" for each in (server, other))
            ready.set()
            await stop.wait()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections)
        if self._bugs:
            raise ExceptionGroup("the faulty upstream has faults that nobody asked for", self._bugs)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._exchange(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except Exception as bug:  # noqa: BLE001
            self._bugs.append(bug)
        finally:
            writer.close()
            self._connections.remove(task)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = await self._receive(reader)
        reply = HttpReply(writer)
        if received.model == faults.KEPT:
            reply.connection = "keep-alive"
            await self._answer(received, reply)
            await self._receive(reader)
            # As a server does whose own time for an idle connection ran out while the request was under way.
            reply.reset()
            return
        work = asyncio.create_task(self._answer(received, reply))
        gone = asyncio.create_task(_hung_up(reader))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            else:
                received.hung_up.set()
        except ConnectionError:
            received.hung_up.set()
        finally:
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _receive(self, reader: asyncio.StreamReader) -> Received:
        received = await _read(reader)
        with self._arrived:
            self.requests.append(received)
            self._arrived.notify_all()
        return received

    async def _answer(self, received: Received, reply: "HttpReply") -> None:
        fault = faults.find(received.model)
        if fault is None:
            await reply.whole(501, {"error": f"there is no fault named {received.model!r}"})
            return
        misbehave, number = fault
        dialect: Dialect = Gemini() if GEMINI_PATH.fullmatch(received.path) else OpenAI()
        key = dialect.key(received.headers)
        await misbehave(reply, faults.Ask(dialect=dialect, key=key, number=number, elsewhere=self.elsewhere))


class HttpReply:
    """A ``faults.Reply`` on one connection, and what it says will become of that."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.connection = "close"

    async def whole(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        content_type = "text/html" if content.startswith(b"<") else "application/json"
        self._head(status, {"content-type": content_type, "content-length": str(len(content)), **(headers or {})})
        # A body may come in more than one piece.
        for part in (content[: len(content) // 2], content[len(content) // 2 :]):
            self._writer.write(part)
            await self._writer.drain()
            await asyncio.sleep(BETWEEN_S)

    async def start(self) -> None:
        self._head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        await self._writer.drain()

    async def send(self, *events: bytes) -> None:
        for event in filter(None, events):
            self._writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await self._writer.drain()
            # Lets the client read what was written apart from what follows.
            await asyncio.sleep(0)

    async def end(self) -> None:
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    def reset(self) -> None:
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._writer.transport.abort()

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [
            f"HTTP/1.1 {status} Whatever",
            f"connection: {self.connection}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self._writer.write("\r\n".join([*lines, "", ""]).encode())


@contextlib.contextmanager
def faulty_upstream() -> Iterator[FaultyUpstream]:
    """Run one in a thread of its own."""
    upstream = FaultyUpstream()
    ready, stop = threading.Event(), asyncio.Event()
    with (
        asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner,
        ThreadPoolExecutor(1, "faulty-upstream") as thread,
    ):
        running = thread.submit(runner.run, upstream.serve(ready, stop))
        assert ready.wait(timeout=10)
        try:
            yield upstream
        finally:
            runner.get_loop().call_soon_threadsafe(stop.set)
            running.result()


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request_line, *lines = head.strip().split("\r\n")
    path = request_line.split(" ")[1].partition("?")[0]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = json.loads(await reader.readexactly(int(headers.get("content-length", "0"))) or b"{}")
    gemini = GEMINI_PATH.fullmatch(path)
    return Received(path=path, headers=headers, body=body, model=gemini[1] if gemini else body.get("model", ""))


async def _hung_up(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(1024):
            pass
