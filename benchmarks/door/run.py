"""``make bench``: the door beside its peers, in one run. Writes the part "door" of the benchmarks' page.

What is measured runs on one core (the first), the fake vendor and the load on the other; with ``--processes 2`` there
are two of each product, which share both cores with the vendor, the load and Sluice's database. All stand there the
whole time and are measured by turns, so that all meet the same machine; a figure is the median of its rounds. Sluice
has PostgreSQL and Redis and records every call durably; the peers record nothing. A peer that is not given is left out:
``--litellm DIR`` is a virtual environment with ``litellm[proxy]``, ``--portkey DIR`` a folder with
``@portkey-ai/gateway`` and ``"overrides": {"@hono/node-server": "1.14.1"}``: with newer ones its streams are errors.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.running import ROOT, Process, cpu_seconds, manage, memory_kb, process, sluice_environment

PORTS = {"upstream": 9100, "sluice": 9101, "litellm": 9102, "portkey": 9103, "sluice to gemini": 9104}
# From a product's first process to its next one.
NEXT_PORT = 20
IN_FLIGHT = (1, 8, 32, 64)
Figures = dict[str, Any]


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--litellm", type=Path)
    parser.add_argument("--portkey", type=Path)
    parser.add_argument("--only", default="", help="one of sluice, litellm, portkey")
    parser.add_argument("--in-flight", type=int, nargs="*", default=list(IN_FLIGHT))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--print", action="store_true", help="write no files")
    options = parser.parse_args()
    with ExitStack() as running:
        home = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="sluice-bench-")))
        home.chmod(0o755)
        vendor = [sys.executable, "-m", "benchmarks.door.upstream"]
        running.enter_context(process(vendor, port=PORTS["upstream"], core=_core(1, options)))
        served: dict[str, Served] = {"floor": ([PORTS["upstream"]], [], "none", [])}
        for name, serve in (
            ("sluice", partial(_sluice, name="sluice", share=0)),
            ("sluice to gemini", partial(_sluice, name="sluice to gemini", share=100)),
            ("litellm", _litellm),
            ("portkey", _portkey),
        ):
            product = name.split()[0]
            if options.only in ("", product) and (product == "sluice" or getattr(options, product)):
                of_product = home / str(PORTS[name])
                of_product.mkdir(mode=0o755)
                served[name] = running.enter_context(serve(of_product, options))
        results = _measure(served, options)
    text = _table(results)
    sys.stdout.write(text)
    if not options.print:
        report.write("door" if options.processes == 1 else f"door of {options.processes} processes", results, text)


# Where it listens, its processes, a key, and headers to send.
Served = tuple[list[int], list[Process], str, list[str]]


def _core(core: int, options: argparse.Namespace) -> int | None:
    return core if options.processes == 1 else None


@contextmanager
def _several(
    command: Callable[[int], list[str]], first: int, options: argparse.Namespace, env: dict[str, str]
) -> Iterator[tuple[list[int], list[Process]]]:
    """So many processes of a product, each on a port of its own."""
    ports = [first + NEXT_PORT * number for number in range(options.processes)]
    with ExitStack() as running:
        core = _core(0, options)
        yield ports, [running.enter_context(process(command(port), port=port, core=core, env=env)) for port in ports]


@contextmanager
def _sluice(home: Path, options: argparse.Namespace, *, name: str, share: int) -> Iterator[Served]:
    """All who ask have the same arm: 0 % the baseline, which is OpenAI's, 100 % the candidate, which is Gemini's."""
    with sluice_environment(home, upstream=PORTS["upstream"]) as environment:
        manage(["rollout", "set-traffic", str(share), "--yes", "--reason", "benchmark"], environment)
        key = manage(["create_api_key", "admin", "bench"], environment)
        command = [sys.executable, "-m", "config.web", "--port"]
        with _several(lambda port: [*command, str(port)], PORTS[name], options, environment) as (ports, started):
            yield ports, started, key, []


@contextmanager
def _litellm(home: Path, options: argparse.Namespace) -> Iterator[Served]:
    """A worker for each core, as its documentation recommends, without its database and logs."""
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
    command += ["--num_workers", str(options.processes)]
    with process(command, port=PORTS["litellm"], core=_core(0, options), env=environment) as started:
        yield [PORTS["litellm"]], [started], "sk-bench", []


@contextmanager
def _portkey(home: Path, options: argparse.Namespace) -> Iterator[Served]:
    script = options.portkey / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    command = ["node", str(script), "--headless"]
    host = f"x-portkey-custom-host: http://127.0.0.1:{PORTS['upstream']}/v1"
    environment = {**os.environ, "NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
    with _several(lambda port: [*command, f"--port={port}"], PORTS["portkey"], options, environment) as (
        ports,
        started,
    ):
        yield ports, started, "none", ["x-portkey-provider: openai", host]


def _measure(served: dict[str, Served], options: argparse.Namespace) -> dict[str, list[Figures]]:
    results: dict[str, list[Figures]] = {name: [] for name in served}
    for stream in (False, True):
        for in_flight in options.in_flight:
            rounds: dict[str, list[Figures]] = {name: [] for name in served}
            for _round in range(options.rounds):
                for name, product in served.items():
                    rounds[name].append(_load(product, options, stream=stream, in_flight=in_flight))
            for name, taken in rounds.items():
                figures = {"stream": stream, "in_flight": in_flight, **_median(taken)}
                results[name].append(figures)
                sys.stderr.write(f"{name} {'stream' if stream else 'whole'} {in_flight}: {figures['per_second']}/s\n")
    return results


def _load(product: Served, options: argparse.Namespace, *, stream: bool, in_flight: int) -> Figures:
    ports, started, key, headers = product
    pinned = ["taskset", "-c", "1"] if options.processes == 1 else []
    command = [*pinned, sys.executable, "-m", "benchmarks.door.load"]
    command += [*(f"http://127.0.0.1:{port}/v1" for port in ports), "--key", key, "--in-flight", str(in_flight)]
    command += ["--seconds", str(options.seconds), *(["--stream"] if stream else [])]
    command += [part for header in headers for part in ("--header", header)]
    before = sum(map(cpu_seconds, started))
    figures: Figures = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    # The load warms up for a second of its time.
    spent = (sum(map(cpu_seconds, started)) - before) * options.seconds / (options.seconds + 1)
    figures["cpu_ms"] = round(1000 * spent / max(1, figures["requests"]), 2) if started else None
    figures["memory_mb"] = sum(map(memory_kb, started)) >> 10 if started else None
    return figures


def _median(taken: list[Figures]) -> Figures:
    """Figure by figure; what failed is added up."""
    found: Figures = {}
    for name, first in taken[0].items():
        values = [each[name] for each in taken]
        if isinstance(first, dict):
            found[name] = _median(values)
        elif name in ("requests", "errors"):
            found[name] = sum(values)
        elif isinstance(first, int | float):
            found[name] = round(statistics.median(values), 3)
        else:
            found[name] = next((value for value in values if value is not None), None)
    return found


def _table(results: Figures) -> str:
    floor = {(row["stream"], row["in_flight"]): row for row in results["floor"]}
    lines = [
        "| what | streamed | in flight | requests/s | added p50 | added p95 | added p99 | CPU ms a request | MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in results.items():
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
