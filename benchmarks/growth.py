"""``make bench-growth``: cost against load, as a table and ``docs/growth.svg``, from the figures that are stored.

Measures nothing: run ``make bench``, ``make bench-streams`` and ``benchmarks.time_reads`` before. ``--peers DIR`` is
the virtual environment of ``peers.txt``, for matplotlib.
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent / "docs"
READ = "status, 24 h"
Rows = list[dict[str, Any]]
# Calls stored and ms of ``READ``.
Reads = list[tuple[float, float]]


def main() -> None:
    """Write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--plot", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    stored = json.loads((DOCS / "benchmarks.json").read_text())
    calls, streams = stored["door"]["results"]["sluice"], stored["streams"]["results"]
    reads = [(of_size["calls"]["p50"], of_size[READ]["p50"]) for of_size in stored["reads"]["results"].values()]
    if options.plot:
        _plot(calls, reads, streams)
        return
    from benchmarks import report

    report.write("growth", "see the parts that it is drawn from", _table(calls, reads, streams))
    # As a file: the packages of the other environment are not ours, and ours not its.
    command = [str(options.peers / "bin" / "python"), __file__, "--peers", str(options.peers), "--plot"]
    subprocess.run(command, check=True)


def _table(calls: Rows, reads: Reads, streams: Rows) -> str:
    lines = ["| load | cost |", "|---|---|"]
    for row in calls:
        kind = "streamed" if row["stream"] else "whole"
        p50, p99 = row["ms"]["p50"], row["ms"]["p99"]
        lines.append(
            f"| {row['in_flight']} calls in flight, {kind} | {row['per_second']} a second, "
            f"{row['cpu_ms']} ms of CPU each, p50 {p50:.0f} ms, p99 {p99:.0f} ms |"
        )
    lines += [f"| {count:,.0f} calls stored | {ms:g} ms for a status of 24 hours |" for count, ms in reads]
    for row in streams:
        lines.append(
            f"| {row['streams']} answers streaming, {row['tokens_a_second']:g} tokens/s each | {row['cpu_percent']} % "
            f"of a core, {row['kb_a_stream']} kB each, first word {row['added_ms']['p99']} ms later (p99) |"
        )
    return "\n".join(lines) + "\n\n![Cost against load](growth.svg)\n"


def _plot(calls: Rows, reads: Reads, streams: Rows) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "sluice"
    from matplotlib import pyplot as plt

    figure, (door, stored, open_at_once) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for stream, name in ((False, "whole"), (True, "streamed")):
        rows = [row for row in calls if row["stream"] is stream]
        door.plot([row["in_flight"] for row in rows], [row["per_second"] for row in rows], "o-", label=name)
    door.set(title="Calls at /v1", xlabel="in flight", ylabel="a second, one core", xscale="log", ylim=(0, None))
    door.legend()
    stored.plot(*zip(*reads, strict=True), "o-")
    stored.set(title="Calls stored", xlabel="rows", ylabel="ms a status", xscale="log", ylim=(0, None))
    for rate in sorted({row["tokens_a_second"] for row in streams}, reverse=True):
        rows = [row for row in streams if row["tokens_a_second"] == rate]
        open_at_once.plot(
            [row["streams"] for row in rows],
            [row["cpu_percent"] for row in rows],
            "o-",
            label=f"{rate:g} tokens/s each",
        )
    open_at_once.set(title="Answers streaming", xlabel="at once", ylabel="% of one core", ylim=(0, 105))
    open_at_once.legend()
    figure.savefig(DOCS / "growth.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
