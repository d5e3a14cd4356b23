"""``make bench-streams``: chat answers that stream at once through one web process, 50 to 2,000 of them.

The web process has one core (the first); the slow vendor, the people, PostgreSQL and Redis share the other. Each line
is a web process of its own. Starts are spread over the length of an answer, as they are where so many stream all the
time, so that streaming is measured and not a crowd at the door. Writes the part "streams" of the benchmarks' page.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import report
from benchmarks.running import (
    ROOT,
    Process,
    core_seconds,
    cpu_seconds,
    manage,
    memory_kb,
    process,
    sluice_environment,
)
from benchmarks.streams import script

UPSTREAM, WEB = 9110, 9111
PLATEAU_S = 20
# Streams at once, tokens a second each, seconds over which they begin.
LINES = [(50, 20.0, 10), (125, 20.0, 20), (250, 20.0, 40), (500, 20.0, 60), (1000, 1.0, 60), (2000, 1.0, 120)]
Sample = tuple[float, float, int, float]
Figures = dict[str, Any]


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="one line: streams,tokens a second,seconds over which they begin")
    parser.add_argument("--print", action="store_true", help="write no files")
    parser.add_argument("--profile", type=Path, help="where py-spy writes a profile of the time when all stream")
    parser.add_argument("--py-spy", default="py-spy")
    options = parser.parse_args()
    lines = LINES
    if options.only:
        streams, rate, over = options.only.split(",")
        lines = [(int(streams), float(rate), int(over))]
    with ExitStack() as running:
        home = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="sluice-bench-")))
        home.chmod(0o755)
        vendor = [sys.executable, "-m", "benchmarks.streams.upstream", "--port", str(UPSTREAM)]
        running.enter_context(process(vendor, port=UPSTREAM, core=1))
        environment = running.enter_context(sluice_environment(home, upstream=UPSTREAM))
        # The vendor speaks one wire: everybody gets the baseline.
        manage(["rollout", "set-traffic", "0"], environment)
        found = [_measure(line, environment, options) for line in lines]
    text = table(found)
    sys.stdout.write(text)
    if not options.print:
        report.write("streams", found, text)


def _measure(line: tuple[int, float, int], environment: dict[str, str], options: argparse.Namespace) -> Figures:
    streams, rate, over = line
    tokens = round((over + PLATEAU_S) * rate)
    command = [sys.executable, "-m", "config.web", "--port", str(WEB)]
    with process(command, port=WEB, core=0, env=environment) as web:
        # What is imported and opened once is no stream's.
        _load(10, ["--tokens", "20", "--rate", "20", "--over", "1"], environment)
        before = memory_kb(web)
        samples: list[Sample] = []
        ended = threading.Event()
        watcher = threading.Thread(target=_watch, args=(web, samples, ended))
        watcher.start()
        profiler = _profile(web, options, after=over + 3) if options.profile else None
        asked = ["--tokens", str(tokens), "--rate", str(rate), "--over", str(over)]
        found = _load(streams, asked, environment)
        ended.set()
        watcher.join()
        if profiler is not None:
            profiler.wait()
    begin, end = found.pop("plateau")
    inside = [sample for sample in samples if begin <= sample[0] <= end]
    if len(inside) < 2:
        raise RuntimeError(f"There was no time when all streamed: {len(found['wrong'])} failed, {found['wrong'][:5]}")
    cpu_s, span_s = inside[-1][1] - inside[0][1], inside[-1][0] - inside[0][0]
    others_s = inside[-1][3] - inside[0][3] - cpu_s
    words = found.pop("words") * span_s / max(0.1, end - begin)
    found |= {
        "streams": streams,
        "tokens_a_second": rate,
        "starts_over_s": over,
        "tokens": tokens,
        "stored": _stored(environment, tokens),
        "cpu_percent": round(100 * cpu_s / span_s),
        "others_percent": round(100 * others_s / span_s),
        "cpu_us_a_token": round(1e6 * cpu_s / max(1, words)),
        "kb_a_stream": round((max(sample[2] for sample in inside) - before) / streams),
        "memory_mb": max(sample[2] for sample in samples) >> 10,
    }
    sys.stderr.write(f"{json.dumps(found)[:1500]}\n")
    return found


def _load(streams: int, asked: list[str], environment: dict[str, str]) -> Figures:
    guests = [sys.executable, "-m", "benchmarks.streams.guests", str(streams + 1)]
    made = subprocess.run(guests, env=environment, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    command = ["taskset", "-c", "1", sys.executable, "-m", "benchmarks.streams.load", f"http://127.0.0.1:{WEB}", *asked]
    out = subprocess.run(command, input=made, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    found: Figures = json.loads(out)
    return found


def _watch(web: Process, samples: list[Sample], ended: threading.Event) -> None:
    while not ended.wait(0.5):
        samples.append((time.monotonic(), cpu_seconds(web), memory_kb(web), core_seconds(0)))


def _profile(web: Process, options: argparse.Namespace, *, after: int) -> "subprocess.Popen[bytes]":
    record = f"record -p {web.pid} -d 12 -r 100 --nonblocking -f raw -o {options.profile}"
    command = ["taskset", "-c", "1", "sh", "-c", f"sleep {after}; exec {options.py_spy} {record}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def _stored(environment: dict[str, str], tokens: int) -> int:
    """How many replies are stored as the vendor said them."""
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        replies = connection.execute("SELECT text FROM chat_message WHERE role = 'assistant' AND state = 'complete'")
        texts = [text for (text,) in replies if len(script.words(text)) == tokens]
    return sum(text == script.text(script.words(text)[0][0], tokens) for text in texts)


def table(found: list[Figures]) -> str:
    """The figures as Markdown."""
    lines = [
        "| streams | tokens/s each | starts over | whole and in order | stored | TTFT added p50 / p95 / p99, ms "
        "| CPU (others on the core) | CPU µs a token | kB a stream | chat page p50 / p99, ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        added, page = row["added_ms"], row["page_ms"]
        cells = [row["streams"], f"{row['tokens_a_second']:g}", f"{row['starts_over_s']} s", row["complete"]]
        cells += [
            row["stored"],
            f"{added['p50']} / {added['p95']} / {added['p99']}",
            f"{row['cpu_percent']} % ({row['others_percent']} %)",
        ]
        cells += [row["cpu_us_a_token"], row["kb_a_stream"], f"{page['p50']} / {page['p99']}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
