"""The decision, on streams of made-up people. The long runs are in ``test_decisions_simulated``."""

import doctest
import math
import random
from dataclasses import replace
from typing import Any

import pytest

from rollout import decisions
from rollout.decisions import Config, Decider, Decision
from rollout.evidence import Arm, ArmName, Measure, Snapshot, StageSums, Stream


def stream(
    calls: int = 12_000,
    *,
    people: int = 1500,
    percent: float = 50,
    errors: float = 0.01,
    slower: float = 1.0,
    cost: float = 0.1,
    stars: float = 0.0,
    rated: float = 0.05,
    seed: int = 1,
) -> Stream:
    """Both arms fail once in a hundred, first words take 140 ms at the median; what is given is the candidate's."""
    dice, made = random.Random(seed), Stream()
    made.begin_stage(percent=percent)
    for _ in range(calls):
        person = dice.randrange(people)
        candidate = (person * 7919 % 10_000) / 100 < percent
        failed = dice.random() < (errors if candidate else 0.01)
        ms = max(1, round(140 * (slower if candidate else 1) * dice.lognormvariate(0, 0.6)))
        rating = (
            min(5, max(1, round(dice.gauss(4 - (stars if candidate else 0), 0.8)))) if dice.random() < rated else None
        )
        made.add(
            person=str(person),
            arm="candidate" if candidate else "baseline",
            error=failed,
            ttft_ms=None if failed else ms,
            latency_ms=None if failed else 8 * ms,
            cost=(cost if candidate else 1.0) * dice.lognormvariate(0, 0.3),
            rating=rating,
        )
    return made


def decide(made: Stream, **config: Any) -> Decision:
    return Decider(Config(**config)).decide(made.snapshot())


def states(decision: Decision) -> dict[str, str]:
    return {criterion.name: criterion.state for criterion in decision.criteria}


def test_the_example_in_the_docstring_is_true():
    assert doctest.testmod(decisions).attempted >= 4
    assert doctest.testmod(decisions).failed == 0


def test_an_equal_and_cheaper_candidate_goes_on():
    found = decide(stream(20_000))

    assert found.verdict == "GO"
    assert set(states(found).values()) == {"inside"}
    errors = found.criteria[0]
    assert errors.estimate is not None
    assert errors.low is not None
    assert errors.high is not None
    assert errors.low < errors.estimate < errors.high < errors.margin == 2


@pytest.mark.parametrize(
    ("harm", "named"),
    [({"errors": 0.4}, "errors"), ({"slower": 2.0}, "latency"), ({"stars": 1.5, "rated": 0.5}, "satisfaction")],
)
def test_harm_rolls_back_and_says_where(harm, named):
    found = decide(stream(6000, **harm))

    assert found.verdict == "ROLLBACK"
    assert states(found)[named] == "harm"


def test_a_candidate_that_only_fails_has_no_latency_and_is_rolled_back():
    found = decide(stream(400, errors=1.0))

    assert found.verdict == "ROLLBACK"
    assert states(found)["latency"] == "not_measured"


def test_worse_but_not_beyond_the_margin_holds():
    assert decide(stream(20_000, slower=1.07)).verdict == "HOLD"


def test_too_little_saved_never_goes():
    found = decide(stream(20_000, cost=0.95))

    assert states(found)["cost"] == "harm"
    assert found.verdict in ("HOLD", "ROLLBACK")


def test_what_is_missing_is_said_in_numbers():
    none = Decider(Config(min_sample=100)).decide(Snapshot())
    assert none.verdict == "NOT_ENOUGH_DATA"
    assert {item.what: (item.have, item.need) for item in none.missing} == {
        "candidate_requests": (0, 100),
        "candidate_people": (0, 20),
        "baseline_requests": (0, 100),
        "baseline_people": (0, 20),
    }

    early = Decider(Config()).decide(replace(stream(400).snapshot(), candidate_per_day=500.0, baseline_per_day=500.0))
    assert early.verdict == "NOT_ENOUGH_DATA"
    latency = early.criteria[1]
    assert latency.state == "unproven"
    assert latency.more_calls is not None
    assert latency.days == pytest.approx(latency.more_calls / 1000)


def test_nothing_is_decided_below_twenty_people():
    found = decide(stream(5000, people=25, errors=0.5))

    assert found.verdict == "NOT_ENOUGH_DATA"
    assert set(states(found).values()) <= {"not_measured", "waived"}


def test_a_split_that_is_wrong_holds_and_is_remembered():
    made = stream(20_000, percent=45)
    snapshot = made.snapshot()
    wrong = replace(snapshot, stages=[replace(snapshot.stages[0], percent=50.0)])

    found = Decider(Config()).decide(wrong)
    assert (found.srm, found.verdict) == (True, "HOLD")
    again = Decider(Config()).decide(replace(snapshot, srm_peak=found.srm_peak))
    assert (again.srm, again.verdict) == (True, "HOLD")


def test_harm_rolls_back_also_where_the_split_is_wrong():
    snapshot = stream(3000, errors=0.5).snapshot()

    assert Decider(Config()).decide(replace(snapshot, srm_peak=10.0)).verdict == "ROLLBACK"


def test_what_is_only_watched_decides_nothing():
    made = stream(20_000, errors=0.4)

    found = decide(made, watch_only=frozenset({"errors"}))
    assert states(found)["errors"] == "harm"
    assert found.verdict != "ROLLBACK"


def test_without_ratings_satisfaction_is_waived_and_seen_to_be():
    found = decide(stream(20_000, rated=0))

    assert (states(found)["satisfaction"], found.verdict) == ("waived", "GO")


def test_harm_that_begins_late_shows_in_the_window():
    made = stream(20_000)
    dice = random.Random(5)
    verdicts = []
    for number in range(4000):
        person = dice.randrange(1500)
        arm: ArmName = "candidate" if (person * 7919 % 10_000) / 100 < 50 else "baseline"
        failed = dice.random() < (0.12 if arm == "candidate" else 0.01)
        made.add(person=str(person), arm=arm, error=failed, ttft_ms=None if failed else 140, cost=0.1)
        if number % 100 == 99:
            verdicts.append(decide(made).verdict)
    assert "ROLLBACK" in verdicts


def test_a_stage_without_a_baseline_adds_nothing_and_says_so():
    made = stream(20_000)
    made.begin_stage(percent=100)
    for number in range(500):
        made.add(person=str(number % 1500), arm="candidate", ttft_ms=9000, cost=0.1)

    found = decide(made)
    assert found.no_concurrent_baseline
    assert found.criteria[1].estimate == decide(stream(20_000)).criteria[1].estimate


def test_without_any_baseline_a_target_holds_and_never_rolls_back():
    made = Stream()
    made.begin_stage(percent=100)
    for number in range(5000):
        made.add(person=str(number % 300), arm="candidate", ttft_ms=900 + number % 50, cost=0.1)

    found = decide(made)
    assert (found.slower_than_target, found.verdict) == (True, "HOLD")


def test_a_common_drift_over_a_ramp_is_no_harm():
    made, dice = Stream(), random.Random(3)
    for percent, ms in ((5, 100), (15, 200), (35, 400)):
        made.begin_stage(percent=percent)
        for _ in range(6000):
            person = dice.randrange(1500)
            candidate = (person * 7919 % 10_000) / 100 < percent
            made.add(
                person=str(person),
                arm="candidate" if candidate else "baseline",
                error=dice.random() < ms / 10_000,
                ttft_ms=round(ms * dice.lognormvariate(0, 0.5)) + 1,
                cost=0.1 if candidate else 1.0,
            )
    assert decide(made).verdict not in ("ROLLBACK", "HOLD")


def all_of(number: Any) -> list[Any]:
    """The same of every cluster."""
    return [number] * 128


@pytest.mark.parametrize(
    ("arm", "verdict"),
    [
        (Arm(n=all_of(100)), "NOT_ENOUGH_DATA"),
        (Arm(n=all_of(100), errors=all_of(100)), "NOT_ENOUGH_DATA"),
        (
            Arm(
                n=all_of(100),
                ttft=Measure(n=all_of(100), sum_log=all_of(100 * math.log(140)), bins={101: all_of(100)}),
            ),
            "NOT_ENOUGH_DATA",
        ),
        # It costs the same, for sure: nothing is saved.
        (
            Arm(
                n=all_of(100),
                cost_n=all_of(100),
                sum_cost=all_of(1.0),
                rating_n=all_of(100),
                rating_sum=all_of(500),
            ),
            "ROLLBACK",
        ),
    ],
)
def test_sums_without_any_spread_break_nothing(arm, verdict):
    stage = StageSums(percent=50, baseline=arm, candidate=arm, baseline_people=500, candidate_people=500)

    assert Decider(Config()).decide(Snapshot(stages=[stage], window=stage)).verdict == verdict


@pytest.mark.parametrize(
    "margins", [{"errors": 0}, {"latency": -1}, {"cost": 1}, {"satisfaction": math.nan}, {"alpha": 0.5}]
)
def test_margins_that_make_no_sense_are_refused(margins):
    with pytest.raises(ValueError, match="must"):
        Config(**margins)
