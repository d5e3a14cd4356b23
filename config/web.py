"""The web process: ``python -m config.web --host 127.0.0.1 --port 8000`` is uvicorn with an orderly end.

uvicorn by itself waits for open streams first and tells the app afterwards; but an open stream here is
an answer that is being written, so the answers must be told first.
"""

import argparse
import asyncio
import gc
import socket
import sys

import uvicorn
from django.conf import settings

from config.asgi import application, drain

HOST = "127.0.0.1"
# For streams to send their last event after the answers have ended, in seconds.
STREAM_GRACE_S = 5
# For a connection without a request, in seconds. Longer than load balancers (60) and SDKs (5) keep one: were it us who
# close it, a request could be under way on it.
KEEPALIVE_S = 75
# How long a database thread may keep the event loop from going on. Python's own is 5 ms, and the loop lets go at
# each system call.
SWITCH_S = 0.0005
# New objects between two looks for those that only hold each other. Python's own 700 is a few answers' pieces.
NEW_OBJECTS = 20_000


class Server(uvicorn.Server):
    """Ends running answers while it waits for the streams that show them."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """And settle down."""
        await super().startup(sockets)
        settle_down()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain beside uvicorn's own shutdown."""
        await asyncio.gather(drain(), super().shutdown(sockets))


def settle_down() -> None:
    """What is loaded by now stays, and need not be looked through with each look for what can go."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)


def server(*, host: str, port: int) -> Server:
    """The server of one web process, not yet started."""
    return Server(
        uvicorn.Config(
            application,
            host=host,
            port=port,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEPALIVE_S,
            timeout_graceful_shutdown=round(settings.DRAIN_S) + STREAM_GRACE_S,
        )
    )


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="config.web", description="Serve Sluice over HTTP.")
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    serve(server(host=options.host, port=options.port))


def serve(web: Server, sockets: list[socket.socket] | None = None) -> None:
    """Run ``web`` until SIGINT or SIGTERM, on ``sockets`` where they are bound already."""
    sys.setswitchinterval(SWITCH_S)
    try:
        web.run(sockets)
    except KeyboardInterrupt:
        # uvicorn raises the signal again once it has ended in order.
        return


if __name__ == "__main__":
    main()
