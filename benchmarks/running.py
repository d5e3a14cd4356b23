"""What the benchmarks run and look at: processes on a core, Sluice with PostgreSQL and Redis, CPU and memory."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests.services import postgres
from tests.services.redis import throwaway_redis

ROOT = Path(__file__).resolve().parent.parent
Process = subprocess.Popen[bytes]


@contextmanager
def process(command: list[str], *, port: int, core: int | None, env: dict[str, str] | None = None) -> Iterator[Process]:
    """Run it on that core, or on any, from when it answers HTTP on ``port``; its children are its own to end."""
    pinned = [*([] if core is None else ["taskset", "-c", str(core)]), *command]
    started = subprocess.Popen(pinned, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not _is_up(port):
            if started.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[:4]} did not start")
            time.sleep(0.2)
        yield started
    finally:
        started.terminate()
        started.wait(30)


def _is_up(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=2):
            return True
    except HTTPError:
        return True
    except (URLError, OSError):
        return False


@contextmanager
def sluice_environment(home: Path, *, upstream: int) -> Iterator[dict[str, str]]:
    """The environment of a Sluice whose database is made and whose vendors are at port ``upstream``."""
    with ExitStack() as running:
        running.enter_context(postgres.throwaway_postgres(home / "postgres", is_durable=True))
        running.enter_context(throwaway_redis(home / "redis.sock"))
        environment = {
            **os.environ,
            "SECRET_KEY": "for-benchmarks-alone-and-long-enough",
            "DATABASE_URL": postgres.database_url(home / "postgres"),
            "REDIS_URL": f"unix://{home / 'redis.sock'}",
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream}/v1",
            "GEMINI_API_KEY": "none",
            "GEMINI_BASE_URL": f"http://127.0.0.1:{upstream}",
            "LOG_LEVEL": "WARNING",
            "ADMIN_PASSWORD": "for-benchmarks-alone",
        }
        for step in (["migrate", "-v0"], ["collectstatic", "--noinput", "-v0"], ["ensure_admin"]):
            manage(step, environment)
        yield environment


def manage(step: list[str], environment: dict[str, str]) -> str:
    """What ``manage.py`` says to it."""
    command = [sys.executable, "manage.py", *step]
    done = subprocess.run(command, env=environment, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return done.stdout.decode().strip()


def cpu_seconds(started: Process) -> float:
    """Of the process and its children, so far."""
    total = 0
    for pid in _family(started):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def core_seconds(core: int) -> float:
    """How long that core has worked, for whomever."""
    lines = Path("/proc/stat").read_text().splitlines()
    user, nice, system, *_rest = next(line for line in lines if line.startswith(f"cpu{core} ")).split()[1:]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def memory_kb(started: Process) -> int:
    """Resident, of the process and its children."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in _family(started))
    return pages * os.sysconf("SC_PAGE_SIZE") >> 10


def _family(started: Process) -> list[int]:
    family, waiting = [], [started.pid]
    while waiting:
        pid = waiting.pop()
        family.append(pid)
        waiting += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return family


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), "")
    packages = {name: version(name) for name in ("django", "openai", "uvicorn")}
    return {"cpu": model, "cores": str(os.cpu_count()), "python": platform.python_version(), **packages}
