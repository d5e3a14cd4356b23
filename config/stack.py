"""All of Sluice in one terminal: ``make run`` and ``make demo`` are ``python -m config.stack``.

Knows which processes there are, their order and their addresses. Knows no Django: the set-up that
needs it runs in a process of its own, ``config.prepare``.
"""

import argparse
import asyncio
import fcntl
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from config.env_file import ensure_secret_key, read_environment
from config.paths import BASE_DIR, VAR_DIR, redis_socket
from config.redis_server import make_private_folder
from config.supervisor import Child, Supervisor

HOST = "127.0.0.1"
_SIMULATOR_PORTS = range(8100, 8200)
_PYTHON = (sys.executable, "-u")
_MANAGE = (*_PYTHON, "manage.py")


class StackError(Exception):
    """Sluice can't start; the message is one line for the terminal."""


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def web_port(environment: Mapping[str, str]) -> int:
    """``PORT`` or 8000; StackError if it is no port number or taken."""
    text = environment.get("PORT") or "8000"
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise StackError(f"PORT must be a number from 1 to 65535, not {text!r}.")
    if not is_free(int(text)):
        raise StackError(f"Port {text} is taken or not allowed. Choose another one: PORT=9000 make run")
    return int(text)


def unset_providers(environment: Mapping[str, str]) -> list[str]:
    """Providers with neither a key nor a base URL: the simulator stands in for them."""
    return [
        name
        for name in ("OPENAI", "GEMINI")
        if not environment.get(f"{name}_API_KEY") and not environment.get(f"{name}_BASE_URL")
    ]


def simulator_environment(providers: Iterable[str], port: int) -> dict[str, str]:
    """What sends ``providers`` to a simulator on ``port``, through the settings that a vendor's URL takes."""
    paths = {"OPENAI": "/v1", "GEMINI": ""}
    variables = {}
    for name in providers:
        variables[f"{name}_BASE_URL"] = f"http://{HOST}:{port}{paths[name]}"
        variables[f"{name}_API_KEY"] = "simulator"
    return variables


def children(*, environment: Mapping[str, str], port: int, demo: bool) -> list[Child]:
    """The processes of this checkout, in the order in which they start."""
    simulated = unset_providers(environment)
    simulator_port = next((p for p in _SIMULATOR_PORTS if p != port and is_free(p)), None)
    if simulated and simulator_port is None:
        raise StackError(f"No port is free for the simulator in {_SIMULATOR_PORTS[0]}–{_SIMULATOR_PORTS[-1]}.")
    # Whoever presses Ctrl-C waits for it.
    env = {"DRAIN_S": "5"} | (simulator_environment(simulated, simulator_port) if simulator_port else {})

    def child(name: str, *command: str, address: str | tuple[str, int] | None = None, once: bool = False) -> Child:
        return Child(name=name, command=command, env=env, address=address, once=once)

    stack = []
    if not environment.get("REDIS_URL"):
        stack.append(child("redis", *_PYTHON, "-m", "config.redis_server", address=str(redis_socket())))
    stack.append(child("setup", *_PYTHON, "-m", "config.prepare", *(["--demo"] if demo else []), once=True))
    if simulated:
        command = (*_MANAGE, "simulate_upstream", "--port", str(simulator_port))
        stack.append(child("upstream", *command, address=(HOST, simulator_port or 0)))
    # Celery warns at length when root runs it, as containers do.
    quiet = ("-W", "ignore:You're running the worker with superuser privileges")
    celery = ("-m", "celery", "--quiet", "-A", "config")
    stack.append(child("worker", *_PYTHON, *quiet, *celery, "worker", "--concurrency", "2", "--loglevel", "WARNING"))
    schedule = ("--schedule", str(VAR_DIR / "celerybeat-schedule"), "--pidfile=")
    stack.append(child("beat", *_PYTHON, *celery, "beat", *schedule, "--loglevel", "WARNING"))
    web = ("-m", "config.web", "--host", HOST, "--port", str(port))
    stack.append(child("web", *_PYTHON, *web, address=(HOST, port)))
    if demo:
        url = f"http://{HOST}:{port}"
        stack.append(child("traffic", *_MANAGE, "simulate_traffic", "--forever", "--trickle", "--url", url))
    return stack


def announcement(*, port: int, simulated: Iterable[str]) -> str:
    """What to open, in words for the terminal."""
    url = f"http://{HOST}:{port}"
    lines = [
        "",
        "Sluice is running:",
        f"  Chat      {url}/",
        f"  Admin     {url}/admin/  (user admin, password in var/admin-password)",
        f"  Status    {url}/api/gemini-rollout-status",
        f"  API docs  {url}/api/docs/",
    ]
    lines += [f"  {name}_API_KEY is not set: a simulator answers in the vendor's place." for name in simulated]
    return "\n".join([*lines, "Ctrl-C ends everything.", "", ""])


def lock_checkout(folder: Path) -> IO[str]:
    """Hold ``folder`` until the returned file is closed; StackError if another stack holds it.

    Two stacks would take the socket and the database from under each other. The kernel lets go of
    the lock with the process, however that ends.
    """
    file = (folder / "stack.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise StackError("Sluice runs from this checkout already. End it there first.") from None
    return file


def _run(*, demo: bool) -> int:
    make_private_folder(VAR_DIR)
    with lock_checkout(VAR_DIR):
        env_file = BASE_DIR / ".env"
        if ensure_secret_key(env_file, BASE_DIR / ".env.example", os.environ):
            sys.stdout.write("Wrote a fresh SECRET_KEY to .env\n")
        environment = read_environment(env_file, os.environ)
        if sys.stdout.isatty() and environment.get("LOG_FORMAT", "auto") == "auto":
            # The processes write into our pipe and can't see the terminal behind it.
            os.environ["LOG_FORMAT"] = "text"
        port = web_port(environment)
        supervisor = Supervisor(children(environment=environment, port=port, demo=demo))
        return asyncio.run(supervisor.run(announcement(port=port, simulated=unset_providers(environment))))


def main() -> None:
    """Run until Ctrl-C (exit code 0) or until a process ends by itself (1)."""
    parser = argparse.ArgumentParser(prog="python -m config.stack", description="Run all of Sluice here.")
    parser.add_argument("--demo", action="store_true", help="with two weeks of history and people who chat")
    arguments = parser.parse_args()
    os.chdir(BASE_DIR)
    try:
        sys.exit(_run(demo=arguments.demo))
    except (StackError, OSError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
