"""Made-up people and their calls, for decisions to be tried on. Pure: everything comes from the seed."""

import math
import random
from collections import Counter
from dataclasses import dataclass

from rollout.decisions import Config, Decider
from rollout.evidence import ArmName, Stream


@dataclass(frozen=True, kw_only=True)
class World:
    """How the candidate differs from the baseline, and how people behave.

    ``stages`` are percentages, each over an equal part of the calls; ``drift`` multiplies both arms' latency and errors
    from one stage to the next. ``late`` begins the candidate's harm after this share of the calls. ``share`` is the
    true percentage of people where it is not the stage's.
    """

    errors: float = 0.01
    slower: float = 1.0
    slower_tail: float = 1.0
    cost: float = 0.2
    stars: float = 0.0
    stages: tuple[float, ...] = (50.0,)
    share: float | None = None
    late: float = 0.0
    drift: float = 1.0
    sigma: float = 0.6
    rated: float = 0.1


PEOPLE = 2700
CALLS = 20_000
LOOKS = 240
BASE_ERRORS = 0.01
# How much people differ from each other: in how often they come, in their latency, in how often they fail.
KEENNESS = 1.6
# Nobody asks more than this many times what the least keen do: one robot with most of the calls proves nothing.
MOST_KEEN = 50.0
PERSON_LATENCY = 0.25
PERSON_ERRORS = 0.5


@dataclass(frozen=True, kw_only=True)
class Run:
    """After how many calls each verdict came first; the split's alarm after how many people.

    What would have come after a rollback or an alarm is not known: there a rollout ends.
    """

    first: dict[str, int]
    srm_people: int | None


def run(world: World, seed: int, *, calls: int = CALLS, looks: int = LOOKS) -> Run:
    """One rollout, looked at again and again."""
    dice = random.Random(seed)
    people = [
        (
            f"{number}",
            dice.random() * 100,
            dice.gauss(0, PERSON_LATENCY),
            dice.lognormvariate(-(PERSON_ERRORS**2) / 2, PERSON_ERRORS),
        )
        for number in range(PEOPLE)
    ]
    asked = dice.choices(people, [min(MOST_KEEN, dice.paretovariate(KEENNESS)) for _ in people], k=calls)
    stream, decider, peak = Stream(), Decider(Config()), 0.0
    first: dict[str, int] = {}
    seen: set[str] = set()
    srm_people = None
    each, per_stage = calls // looks, math.ceil(calls / len(world.stages))
    for number, (person, place, latency, fails) in enumerate(asked):
        stage = number // per_stage
        if number % per_stage == 0:
            stream.begin_stage(percent=world.stages[stage])
        share = world.stages[stage] if world.share is None else world.share
        arm: ArmName = "candidate" if place < share else "baseline"
        _add(stream, world, dice, person, arm, latency, fails, harmed=number >= world.late * calls, stage=stage)
        seen.add(person)
        if (number + 1) % each == 0:
            found = decider.decide(stream.snapshot(srm_peak=peak))
            peak = found.srm_peak
            first.setdefault(found.verdict, number + 1)
            if found.srm:
                srm_people = len(seen)
            if found.srm or found.verdict == "ROLLBACK":
                break
    return Run(first=first, srm_people=srm_people)


def _add(
    stream: Stream,
    world: World,
    dice: random.Random,
    person: str,
    arm: ArmName,
    latency: float,
    fails: float,
    *,
    harmed: bool,
    stage: int,
) -> None:
    other = arm == "candidate" and harmed
    drift = world.drift**stage
    failed = dice.random() < (world.errors if other else BASE_ERRORS) * fails * drift
    noise = dice.gauss(0, world.sigma)
    ms = 140 * drift * math.exp(latency + noise) * (world.slower if other else 1)
    if other and noise > world.sigma:
        ms *= world.slower_tail
    rating = None
    if dice.random() < world.rated:
        rating = round(min(5, max(1, dice.gauss(3.5 - (world.stars if other else 0), 0.9))))
    stream.add(
        person=person,
        arm=arm,
        error=failed,
        ttft_ms=None if failed else max(1, round(ms)),
        latency_ms=None,
        cost=(world.cost if arm == "candidate" else 1.0) * dice.lognormvariate(0, 0.8),
        rating=rating,
    )


def percentiles(values: list[int], runs: int) -> str:
    """After how many calls half, four fifths and 95 % of all runs had got there; a dash where they did not."""
    ordered = sorted(values)
    return "/".join(
        f"{ordered[math.ceil(share * runs) - 1]:,}" if math.ceil(share * runs) <= len(ordered) else "–"
        for share in (0.5, 0.8, 0.95)
    )


def shares(runs: list[Run]) -> Counter[str]:
    """How many runs ever came to each verdict."""
    return Counter(verdict for each in runs for verdict in each.first)
