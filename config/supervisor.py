"""Several processes in one terminal: started in order, their output side by side, ended together.

Knows processes, signals and sockets. Knows nothing of what the processes do.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# How long a process may take to end after SIGTERM, in seconds; longer than the web server's own
# waits for requests and for running answers together.
GRACE_S = 20.0
_READY_POLL_S = 0.1
# Longest line of output that is relayed whole, in bytes.
_LINE_LIMIT = 2**24
_COLOURS = (36, 33, 32, 35, 34, 31)
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

Address = str | tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Child:
    """One process. ``command`` runs without a shell, with ``env`` on top of our own environment.

    The next child starts when ``address`` (a unix socket's path, or host and port) takes
    connections, or at once if there is none; after a ``once`` child, when that has ended well.
    """

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    address: Address | None = None
    once: bool = False


def _end_with_parent() -> None:
    """Have the kernel send SIGTERM if the supervisor is killed outright and can't do it itself."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


async def _takes_connections(address: Address) -> bool:
    connect = asyncio.open_unix_connection(address) if isinstance(address, str) else asyncio.open_connection(*address)
    try:
        _, writer = await connect
    except OSError:
        return False
    writer.close()
    return True


def _how_it_ended(returncode: int) -> str:
    return f"killed by {signal.Signals(-returncode).name}" if returncode < 0 else f"exit code {returncode}"


class Supervisor:
    """Runs ``children`` until one of them ends or a signal asks for the end, then ends all of them."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children
        self._width = max(len(child.name) for child in children)
        self._running: list[asyncio.subprocess.Process] = []
        self._relays: list[asyncio.Task[None]] = []
        self._watches: list[asyncio.Task[None]] = []

    async def run(self, announcement: str) -> int:
        """Start all, write ``announcement`` once every address takes connections, wait for the end, stop all.

        Returns 0 after SIGINT, SIGTERM or SIGHUP, 1 when a child ended by itself or nobody reads our
        output any more. A second signal kills what is still running.
        """
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)
        try:
            for index, child in enumerate(self._children):
                await self._start(child, colour=_COLOURS[index % len(_COLOURS)])
            if not self._end.done():
                self._write(announcement)
            return await self._end
        finally:
            # Last started, first ended: nobody loses the server that it still talks to.
            for process in reversed(self._running):
                await self._stop(process)
            await asyncio.gather(*self._watches, *self._relays)

    def _on_signal(self) -> None:
        if self._end.done():
            for process in self._running:
                _kill_group(process)
        else:
            self._end.set_result(0)

    async def _start(self, child: Child, *, colour: int) -> None:
        if self._end.done():
            return
        process = await asyncio.create_subprocess_exec(
            *child.command,
            env={**os.environ, **child.env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_LINE_LIMIT,
            # A session of its own: Ctrl-C reaches the supervisor alone, which ends all in order.
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        self._running.append(process)
        self._relays.append(asyncio.create_task(self._relay(process, child.name, colour)))
        watch = asyncio.create_task(self._watch(process, child))
        self._watches.append(watch)
        if child.once:
            await asyncio.wait((watch, self._end), return_when=asyncio.FIRST_COMPLETED)
        while child.address and not self._end.done() and not await _takes_connections(child.address):
            await asyncio.sleep(_READY_POLL_S)

    async def _watch(self, process: asyncio.subprocess.Process, child: Child) -> None:
        returncode = await process.wait()
        if self._end.done() or (child.once and returncode == 0):
            return
        self._write(f"{child.name} ended ({_how_it_ended(returncode)}); ending the rest.\n")
        self._end.set_result(1)

    async def _relay(self, process: asyncio.subprocess.Process, name: str, colour: int) -> None:
        prefix = f"{name:<{self._width}} | "
        if sys.stdout.isatty():
            prefix = f"\033[{colour}m{prefix}\033[0m"
        assert process.stdout is not None  # noqa: S101 - it was started with a pipe
        async for line in process.stdout:
            self._write(prefix + line.decode(errors="replace").rstrip("\n") + "\n")

    def _write(self, text: str) -> None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            # The terminal or the pipe is gone. What the children still say goes nowhere, so that none waits for it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not self._end.done():
                self._end.set_result(1)

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), GRACE_S)
        # The child's own children, if any outlived it.
        _kill_group(process)
        await process.wait()


def _kill_group(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
