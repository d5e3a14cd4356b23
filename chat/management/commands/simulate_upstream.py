"""Starts the simulated vendors, or changes how the ones that run behave.

Knows where the running simulator is noted (``var/upstream.json``). Knows nothing of how it answers.
"""

import json
import os
import signal
import socket
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import httpx2
import uvicorn
from django.core.management.base import BaseCommand, CommandError

from config.paths import VAR_DIR
from simulator.behaviour import Behaviours
from simulator.upstream import Upstream

NOTE = VAR_DIR / "upstream.json"
DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8100


class Command(BaseCommand):
    help = (
        "Starts an upstream that speaks OpenAI's and Gemini's wire protocols, and notes it in var/upstream.json. "
        "Where one already runs, changes its behaviour by the options given and ends."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", help=f"where to listen, {DEFAULT_HOST} unless given")
        parser.add_argument("--port", type=int, help=f"{DEFAULT_PORT} unless given; 0 for any free one")
        parser.add_argument("--seed", type=int, help="makes answers and failures repeatable")
        for vendor in ("openai", "gemini"):
            parser.add_argument(
                f"--{vendor}-error-rate", type=float, metavar="RATE", help="share of requests that fail, 0 to 1"
            )
            parser.add_argument(f"--{vendor}-ttft-ms", type=float, metavar="MS", help="median wait for the first token")
        parser.add_argument("--error-status", type=int, metavar="STATUS", help="the HTTP status of failures")

    def handle(self, *args: Any, **options: Any) -> None:
        changes = _changes(options)
        try:
            wanted = Behaviours().changed(changes)
        except ValueError as problem:
            raise CommandError(str(problem)) from None
        url = _running_url()
        if url is None:
            self._start(wanted, options)
        else:
            self._change(url, changes, options)

    def _change(self, url: str, changes: dict[str, dict[str, float]], options: dict[str, Any]) -> None:
        running = httpx2.URL(url)
        if options["host"] not in (None, running.host) or options["port"] not in (None, running.port):
            raise CommandError(f"A simulator already runs, at {url}: end it first to start one elsewhere.")
        if options["seed"] is not None:
            raise CommandError(f"A simulator already runs, at {url}: --seed counts at its start alone.")
        try:
            response = httpx2.put(f"{url}/_simulator/behaviour", json=changes, trust_env=False).raise_for_status()
        except httpx2.HTTPError as problem:
            raise CommandError(f"The simulator at {url} did not take the change: {problem}") from problem
        self.stdout.write(f"A simulator already runs at {url}. It now behaves like this:")
        self._tell(Behaviours().changed(response.json()))

    def _start(self, behaviours: Behaviours, options: dict[str, Any]) -> None:
        host = DEFAULT_HOST if options["host"] is None else options["host"]
        port = DEFAULT_PORT if options["port"] is None else options["port"]
        app = Upstream(behaviours, seed=options["seed"])
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
        )
        with _listening(host, port) as listener:
            signal.signal(signal.SIGINT, _leave)
            signal.signal(signal.SIGTERM, _leave)
            with _noted(_url(listener)) as url:
                self.stdout.write(f"The simulated vendors answer at {url}:")
                self._tell(behaviours)
                self.stdout.flush()
                _Server(config).run(sockets=[listener])

    def _tell(self, behaviours: Behaviours) -> None:
        for vendor, name in (("openai", "OpenAI"), ("gemini", "Gemini")):
            ways = behaviours.of(vendor)
            self.stdout.write(
                f"  {name}: {ways.error_rate:.1%} of requests fail with HTTP {ways.error_status}, "
                f"first token after about {ways.ttft_ms:.0f} ms, then {ways.tokens_per_s:.0f} tokens a second"
            )


class _Server(uvicorn.Server):
    """A server that hangs up on its clients when it ends: nobody waits for a simulator."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.close()
        await super().shutdown(sockets)


def _changes(options: dict[str, Any]) -> dict[str, dict[str, float]]:
    """What was asked for, as the simulator's control endpoint takes it."""
    given = {
        vendor: {
            "error_rate": options[f"{vendor}_error_rate"],
            "ttft_ms": options[f"{vendor}_ttft_ms"],
            "error_status": options["error_status"],
        }
        for vendor in ("openai", "gemini")
    }
    return {
        vendor: {name: value for name, value in part.items() if value is not None} for vendor, part in given.items()
    }


def _running_url() -> str | None:
    """The URL of the simulator that is noted, if it answers."""
    try:
        url: str = json.loads(NOTE.read_text())["url"]
        running = httpx2.get(f"{url}/_simulator/behaviour", timeout=2, trust_env=False).is_success
    except (FileNotFoundError, ValueError, KeyError, TypeError, httpx2.HTTPError, httpx2.InvalidURL):
        return None
    return url if running else None


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket: from here on a client that knows the URL is answered, as soon as the server is up."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise CommandError(f"Can't listen on port {port} of {host} ({reason}): choose another with --port.") from None
    with listener:
        # asyncio sets this by itself only on sockets that it makes; without it small chunks wait 40 ms for each other.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


@contextmanager
def _noted(url: str) -> Iterator[str]:
    """Keep ``{"url", "pid"}`` in var/upstream.json meanwhile."""
    NOTE.parent.mkdir(mode=0o700, exist_ok=True)
    draft = NOTE.with_suffix(".draft")
    draft.write_text(json.dumps({"url": url, "pid": os.getpid()}))
    draft.replace(NOTE)
    try:
        yield url
    finally:
        NOTE.unlink(missing_ok=True)


def _url(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    # uvicorn passes the signal on once it has stopped; the way out leads through what `with` blocks tidy up.
    sys.exit(0)
