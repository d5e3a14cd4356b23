"""``make bench-route``: the pure part of a route beside its peers, and the steps within it.

``--peers DIR`` is a virtual environment: ``python3 -m venv DIR && DIR/bin/pip install -r benchmarks/peers.txt``, which
``make`` does. Each round times every one of them once, in a process of its own, so that all meet the same machine;
the table has the medians. Writes the part "route" of the benchmarks' page.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.route_peers import PEERS, PEOPLE, PERCENT, time_a_person
from rollout.bucketing import bucket, in_candidate
from rollout.layers import Layer, assign

ROUNDS = 7
SALT = "0123456789abcdef"
ONE = [Layer(rollout="flag", salt=SALT, percent=Decimal(PERCENT), everyone=None, priority=100)]
THREE = [
    *ONE,
    Layer(rollout="second", salt="fedcba9876543210", percent=Decimal(20), everyone=None, priority=101),
    Layer(rollout="third", salt="00112233445566ff", percent=Decimal(50), everyone=None, priority=102),
]
OURS: dict[str, Callable[[str], bool]] = {
    "Sluice, `assign`": lambda person: assign(ONE, unit=person).arm == "candidate",
    "Sluice, `assign` of three rollouts": lambda person: assign(THREE, unit=person).arm == "candidate",
    "Sluice, `in_candidate` alone": lambda person: in_candidate(
        rollout="flag", salt=SALT, unit=person, percent=ONE[0].percent
    ),
    "Sluice, `bucket` alone": lambda person: bucket(rollout="flag", salt=SALT, unit=person) < PERCENT,
}
Figures = dict[str, dict[str, Any]]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--print", action="store_true", help="write no files")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        json.dump(time_a_person(OURS[options.measure]), sys.stdout)
        return
    peers = Path(__file__).with_name("route_peers.py")
    commands = {name: [sys.executable, "-m", "benchmarks.time_route", "--measure", name] for name in OURS}
    if options.peers:
        commands |= {name: [str(options.peers / "bin" / "python"), str(peers), name] for name in PEERS}
    found = _in_turns(commands)
    text = _table(found)
    sys.stdout.write(text)
    if not options.print:
        # Needs the tests' packages, which a look at the figures does without.
        from benchmarks import report

        report.write("route", found, text)


def _in_turns(commands: dict[str, list[str]]) -> Figures:
    taken: dict[str, list[list[float]]] = {name: [] for name in commands}
    for _round in range(ROUNDS):
        for name, command in commands.items():
            told = subprocess.run(command, check=True, capture_output=True).stdout
            taken[name].append(json.loads(told))
    return {
        name: {"us": round(statistics.median(us for us, _share in rounds), 2), "share": rounds[0][1]}
        for name, rounds in taken.items()
    }


def _table(found: Figures) -> str:
    lines = [f"| what | µs a person | of {len(PEOPLE)} people |", "|---|---|---|"]
    lines += [f"| {name} | {row['us']} | {row['share']:.1%} |" for name, row in found.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
