"""``python -m tests.simulation.table --runs 1000``: how often, and how soon, each decision comes, as a table."""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulation.people import World, percentiles, run, shares

WORLDS: dict[str, World] = {
    "equal and cheaper": World(),
    "equal, 10 % of people": World(stages=(10.0,)),
    "equal, σ 1.2": World(sigma=1.2),
    "errors at the margin (1 → 3 %)": World(errors=0.03),
    "errors at the margin, 10 % of people": World(errors=0.03, stages=(10.0,)),
    "latency at the margin (+10 %)": World(slower=1.1),
    "latency at the margin, σ 1.2": World(slower=1.1, sigma=1.2),
    "cost at the margin (20 % saved)": World(cost=0.8),
    "satisfaction at the margin (−0.2)": World(stars=0.2, rated=0.3),
    "errors 1 → 6 %": World(errors=0.06),
    "latency +30 %": World(slower=1.3),
    "errors 1 → 40 %": World(errors=0.4),
    "errors 1 → 8 % from half-way on": World(errors=0.08, late=0.5),
    "people split 45/55, not 50/50": World(share=45.0),
    "ramp 5 → 15 → 35 %, both arms drift ×1.5 a stage": World(stages=(5.0, 15.0, 35.0), drift=1.5),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    options = parser.parse_args()
    head = ("people and candidate", "GO", "HOLD", "ROLLBACK", "ROLLBACK after calls", "HOLD after", "SRM after people")
    print(f"| {' | '.join(head)} |")  # noqa: T201
    print("|---|---|---|---|---|---|---|")  # noqa: T201
    with ProcessPoolExecutor(options.jobs) as pool:
        for name, world in WORLDS.items():
            if options.only in name:
                runs = list(pool.map(partial(run, world), range(options.runs), chunksize=4))
                found = shares(runs)
                parts = [f"{100 * found[verdict] / len(runs):.1f} %" for verdict in ("GO", "HOLD", "ROLLBACK")]
                for verdict in ("ROLLBACK", "HOLD"):
                    parts.append(
                        percentiles([each.first[verdict] for each in runs if verdict in each.first], len(runs))
                    )
                parts.append(percentiles([each.srm_people for each in runs if each.srm_people], len(runs)))
                print(f"| {name} | {' | '.join(parts)} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
