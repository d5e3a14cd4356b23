"""``make bench``: the door beside its peers, in one run. Writes ``docs/benchmarks.json`` and ``docs/benchmarks.md``.

What is measured runs on one core (the first), the fake vendor and the load on the other. Sluice has PostgreSQL and
Redis and records every call durably; the peers record nothing. A peer that is not given is left out: ``--litellm DIR``
is a virtual environment with ``litellm[proxy]``, ``--portkey DIR`` a folder with ``@portkey-ai/gateway``.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent.parent
PORTS = {"upstream": 9100, "sluice": 9101, "litellm": 9102, "portkey": 9103}
IN_FLIGHT = (1, 8, 32, 64)
Figures = dict[str, Any]


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--litellm", type=Path)
    parser.add_argument("--portkey", type=Path)
    parser.add_argument("--only", default="", help="one of sluice, litellm, portkey")
    parser.add_argument("--in-flight", type=int, nargs="*", default=list(IN_FLIGHT))
    parser.add_argument("--print", action="store_true", help="write no files")
    options = parser.parse_args()
    with ExitStack() as running:
        home = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="sluice-bench-")))
        home.chmod(0o755)
        running.enter_context(_process([sys.executable, "-m", "benchmarks.door.upstream"], "upstream", core=1))
        results = {"floor": _measure("upstream", None, options, key="none")}
        for name, serve in (("sluice", _sluice), ("litellm", _litellm), ("portkey", _portkey)):
            if options.only in ("", name) and (name == "sluice" or getattr(options, name)):
                with serve(home, options) as (process, key, headers):
                    results[name] = _measure(name, process, options, key=key, headers=headers)
    report = {"date": datetime.now(UTC).date().isoformat(), "machine": _machine(), "results": results}
    text = _table(report)
    sys.stdout.write(text)
    if not options.print:
        (ROOT / "docs" / "benchmarks.json").write_text(json.dumps(report, indent=1) + "\n")
        (ROOT / "docs" / "benchmarks.md").write_text(text)


Served = tuple[subprocess.Popen[bytes], str, list[str]]


@contextmanager
def _sluice(home: Path, options: argparse.Namespace) -> Iterator[Served]:
    from tests.services import postgres
    from tests.services.redis import throwaway_redis

    with ExitStack() as running:
        running.enter_context(postgres.throwaway_postgres(home / "postgres"))
        running.enter_context(throwaway_redis(home / "redis.sock"))
        environment = {
            **os.environ,
            "SECRET_KEY": "for-benchmarks-alone-and-long-enough",
            "DATABASE_URL": postgres.database_url(home / "postgres"),
            "REDIS_URL": f"unix://{home / 'redis.sock'}",
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{PORTS['upstream']}/v1",
            "GEMINI_API_KEY": "none",
            "GEMINI_BASE_URL": f"http://127.0.0.1:{PORTS['upstream']}",
            "LOG_LEVEL": "WARNING",
            "ADMIN_PASSWORD": "for-benchmarks-alone",
        }
        manage = [sys.executable, "manage.py"]
        for step in (["migrate", "-v0"], ["collectstatic", "--noinput", "-v0"], ["ensure_admin"]):
            subprocess.run([*manage, *step], env=environment, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        made = subprocess.run(
            [*manage, "create_api_key", "admin", "bench"], env=environment, cwd=ROOT, check=True, capture_output=True
        )
        command = [sys.executable, "-m", "config.web", "--port", str(PORTS["sluice"])]
        process = running.enter_context(_process(command, "sluice", core=0, env=environment))
        yield process, made.stdout.decode().strip(), []


@contextmanager
def _litellm(home: Path, options: argparse.Namespace) -> Iterator[Served]:
    """One worker, as its documentation recommends for each core, without its database and logs."""
    config = home / "litellm.yaml"
    base = f"http://127.0.0.1:{PORTS['upstream']}/v1"
    config.write_text(
        "model_list:\n"
        "  - model_name: chat-model\n"
        f"    litellm_params: {{model: openai/gpt-5.4, api_base: '{base}', api_key: none}}\n"
        "litellm_settings: {request_timeout: 600, set_verbose: false, json_logs: true}\n"
        "general_settings: {master_key: sk-bench}\n"
    )
    command = [str(options.litellm / "bin" / "litellm"), "--config", str(config), "--port", str(PORTS["litellm"])]
    environment = {**os.environ, "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
    with _process([*command, "--num_workers", "1"], "litellm", core=0, env=environment) as process:
        yield process, "sk-bench", []


@contextmanager
def _portkey(home: Path, options: argparse.Namespace) -> Iterator[Served]:
    script = options.portkey / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    command = ["node", str(script), f"--port={PORTS['portkey']}", "--headless"]
    host = f"x-portkey-custom-host: http://127.0.0.1:{PORTS['upstream']}/v1"
    environment = {**os.environ, "NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
    with _process(command, "portkey", core=0, env=environment) as process:
        yield process, "none", ["x-portkey-provider: openai", host]


@contextmanager
def _process(
    command: list[str], name: str, *, core: int, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    pinned = ["taskset", "-c", str(core), *command]
    process = subprocess.Popen(pinned, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not _is_up(PORTS[name]):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start")
            time.sleep(0.2)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _is_up(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=2):
            return True
    except HTTPError:
        return True
    except (URLError, OSError):
        return False


def _measure(
    name: str,
    process: subprocess.Popen[bytes] | None,
    options: argparse.Namespace,
    *,
    key: str,
    headers: list[str] | None = None,
) -> list[Figures]:
    found = []
    for stream in (False, True):
        for in_flight in options.in_flight:
            command = ["taskset", "-c", "1", sys.executable, "-m", "benchmarks.door.load"]
            command += [f"http://127.0.0.1:{PORTS[name]}/v1", "--key", key, "--in-flight", str(in_flight)]
            command += ["--seconds", str(options.seconds), *(["--stream"] if stream else [])]
            command += [part for header in headers or [] for part in ("--header", header)]
            before = _cpu_seconds(process)
            out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
            figures = json.loads(out)
            # The load warms up for a second of its time.
            spent = _cpu_seconds(process) - before
            share = options.seconds / (options.seconds + 1)
            figures |= {"stream": stream, "in_flight": in_flight, "memory_mb": _memory_mb(process)}
            figures["cpu_ms"] = round(1000 * spent * share / max(1, figures["requests"]), 2) if process else None
            found.append(figures)
            sys.stderr.write(f"{name} {'stream' if stream else 'whole'} {in_flight}: {figures['per_second']}/s\n")
    return found


def _cpu_seconds(process: subprocess.Popen[bytes] | None) -> float:
    """Of the process and its children."""
    total = 0
    for pid in _family(process):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def _memory_mb(process: subprocess.Popen[bytes] | None) -> int | None:
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in _family(process))
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20 if process else None


def _family(process: subprocess.Popen[bytes] | None) -> list[int]:
    if process is None:
        return []
    family, waiting = [], [process.pid]
    while waiting:
        pid = waiting.pop()
        family.append(pid)
        waiting += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return family


def _machine() -> dict[str, str]:
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "",
    )
    packages = {name: version(name) for name in ("django", "openai", "uvicorn")}
    return {"cpu": model, "cores": str(os.cpu_count()), "python": platform.python_version(), **packages}


def _table(report: Figures) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in report["machine"].items())
    floor = {(row["stream"], row["in_flight"]): row for row in report["results"]["floor"]}
    lines = [
        "# Benchmarks of the door",
        "",
        f"`make bench` on {report['date']}: {machine}.",
        "One core for what is measured, the other for the load and the fake vendor, which is the floor.",
        "Sluice records each call durably in PostgreSQL; the peers record nothing.",
        "*Added* is over the fake vendor called directly, in ms.",
        "",
        "| what | streamed | in flight | requests/s | added p50 | added p95 | added p99 | CPU ms a request | MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in report["results"].items():
        for row in rows:
            base = floor[row["stream"], row["in_flight"]]["ms"]
            added = ["–" if name == "floor" else f"{row['ms'][p] - base[p]:.1f}" for p in ("p50", "p95", "p99")]
            cells = [name, "yes" if row["stream"] else "no", row["in_flight"], row["per_second"], *added]
            cells += ["–" if row[part] is None else row[part] for part in ("cpu_ms", "memory_mb")]
            failed = f" ({row['errors']} failed: {row['error']})" if row["errors"] else ""
            lines.append("| " + " | ".join(map(str, cells)) + f"{failed} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
