"""ASGI apps behind a real HTTP server, in a thread of the test process."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import uvicorn

HOST = "127.0.0.1"
_START_DEADLINE_S = 30
_TICK_S = 0.01
# For requests that still run when a test ends. One that is cut off keeps its thread's database connection, and its
# body's file, until the garbage is collected.
_GRACE_S = 10


class _Server(uvicorn.Server):
    """Sees soon that it is to end: uvicorn's own looks ten times a second, and there is a server for each test."""

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            await asyncio.sleep(_TICK_S)


class Changeable:
    """An ASGI app that stands for another one, which can change while the server runs."""

    app: Any

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on."""
        await self.app(scope, receive, send)


def reserve_port() -> socket.socket:
    """A socket bound to a free port: the address is known, and nobody else's, before a server listens."""
    # asyncio turns Nagle's delay off only for sockets that say their protocol.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind((HOST, 0))
    return listener


def url_of(listener: socket.socket) -> str:
    """``http://127.0.0.1:port``, without a closing slash."""
    return f"http://{HOST}:{listener.getsockname()[1]}"


@contextmanager
def serving(app: Any, listener: socket.socket) -> Iterator[str]:
    """Serve ``app`` on ``listener``, which is closed at the end; gives the base URL.

    The app is told when the server starts and ends, and can finish its work.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        lifespan="auto",
        ws="none",
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    url = url_of(listener)
    server = _Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, name=f"uvicorn {url}")
    thread.start()
    try:
        deadline = time.monotonic() + _START_DEADLINE_S
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError(f"the server at {url} did not start")
            time.sleep(0.005)
        yield url
    finally:
        server.should_exit = True
        thread.join()
