"""An installation of several processes on the test's own database and Redis."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
from django.db import connection

from tests.services import live

START_DEADLINE_S = 120


@contextmanager
def running_stack(
    home: Path, *, web: int, worker: int = 0, beat: int = 0, environment: Mapping[str, str] | None = None
) -> Iterator[list[str]]:
    """Run so many processes of each kind until the block ends; gives the URLs of the web processes, which answer.

    Workers and beats say what they have to say to files in ``home``. Beats are in a hurry: see ``tests.services.beat``.
    """
    told = {
        **os.environ,
        "DATABASE_URL": url_of(connection.settings_dict),
        "DATABASE_POOL_SIZE": "4",
        **(environment or {}),
    }
    listeners = [live.reserve_port() for _ in range(web)]
    commands: list[tuple[str, ...]] = [
        (f"web-{number}", "tests.services.web", str(listener.fileno())) for number, listener in enumerate(listeners)
    ]
    for number in range(worker):
        named = ("--hostname", f"worker-{number}@%h", "--concurrency", "2", "--loglevel", "WARNING")
        commands.append((f"worker-{number}", "celery", "-A", "config", "worker", *named))
    for number in range(beat):
        commands.append((f"beat-{number}", "tests.services.beat", "--schedule", str(home / f"schedule-{number}")))
    with ExitStack() as waiting, ExitStack() as ending:
        handed_over = [waiting.enter_context(listener).fileno() for listener in listeners]
        for name, module, *arguments in commands:
            log = waiting.enter_context((home / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=told,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=handed_over,
            )
            waiting.callback(process.wait)
            ending.callback(process.terminate)
        urls = [live.url_of(listener) for listener in listeners]
        deadline = time.monotonic() + START_DEADLINE_S
        for url in urls:
            while not _answers(url):
                assert time.monotonic() < deadline, "a web process did not start"
                time.sleep(0.1)
        yield urls


def url_of(known: Mapping[str, Any]) -> str:
    """Of a database of the suite's, as Django has it in its settings; for another process."""
    if known["ENGINE"].endswith("sqlite3"):
        return f"sqlite:///{known['NAME']}"
    # A throwaway server on a socket of its own: no password, no port.
    return f"postgres://{known['USER']}@{quote(known['HOST'], safe='')}/{known['NAME']}"


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/", timeout=10, trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False
