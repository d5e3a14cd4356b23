"""``make bench``: the door beside its peers, in one run. Writes the part "door" of the benchmarks' page.

What is measured runs on one core (the first), the fake vendor and the load on the other. Sluice has PostgreSQL and
Redis and records every call durably; the peers record nothing. A peer that is not given is left out: ``--litellm DIR``
is a virtual environment with ``litellm[proxy]``, ``--portkey DIR`` a folder with ``@portkey-ai/gateway``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.running import ROOT, Process, cpu_seconds, manage, memory_kb, process, sluice_environment

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
        vendor = [sys.executable, "-m", "benchmarks.door.upstream"]
        running.enter_context(process(vendor, port=PORTS["upstream"], core=1))
        results = {"floor": _measure("upstream", None, options, key="none")}
        for name, serve in (
            ("sluice", partial(_sluice, share=0)),
            ("sluice to gemini", partial(_sluice, share=100)),
            ("litellm", _litellm),
            ("portkey", _portkey),
        ):
            product = name.split()[0]
            if options.only in ("", product) and (product == "sluice" or getattr(options, product)):
                with serve(home, options) as (started, key, headers):
                    results[name] = _measure(product, started, options, key=key, headers=headers)
    text = _table(results)
    sys.stdout.write(text)
    if not options.print:
        report.write("door", results, text)


Served = tuple[Process, str, list[str]]


@contextmanager
def _sluice(home: Path, options: argparse.Namespace, *, share: int) -> Iterator[Served]:
    """All who ask have the same arm: 0 % the baseline, which is OpenAI's, 100 % the candidate, which is Gemini's."""
    with sluice_environment(home, upstream=PORTS["upstream"]) as environment:
        manage(["rollout", "set-traffic", str(share), "--yes", "--reason", "benchmark"], environment)
        key = manage(["create_api_key", "admin", "bench"], environment)
        command = [sys.executable, "-m", "config.web", "--port", str(PORTS["sluice"])]
        with process(command, port=PORTS["sluice"], core=0, env=environment) as started:
            yield started, key, []


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
    with process([*command, "--num_workers", "1"], port=PORTS["litellm"], core=0, env=environment) as started:
        yield started, "sk-bench", []


@contextmanager
def _portkey(home: Path, options: argparse.Namespace) -> Iterator[Served]:
    script = options.portkey / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    command = ["node", str(script), f"--port={PORTS['portkey']}", "--headless"]
    host = f"x-portkey-custom-host: http://127.0.0.1:{PORTS['upstream']}/v1"
    environment = {**os.environ, "NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
    with process(command, port=PORTS["portkey"], core=0, env=environment) as started:
        yield started, "none", ["x-portkey-provider: openai", host]


def _measure(
    name: str,
    started: Process | None,
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
            before = cpu_seconds(started)
            out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
            figures = json.loads(out)
            # The load warms up for a second of its time.
            spent = cpu_seconds(started) - before
            share = options.seconds / (options.seconds + 1)
            figures |= {
                "stream": stream,
                "in_flight": in_flight,
                "memory_mb": memory_kb(started) >> 10 if started else None,
            }
            figures["cpu_ms"] = round(1000 * spent * share / max(1, figures["requests"]), 2) if started else None
            found.append(figures)
            sys.stderr.write(f"{name} {'stream' if stream else 'whole'} {in_flight}: {figures['per_second']}/s\n")
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
