"""The decision over whole rollouts of made-up people, a few of each kind. ``tests.simulation.table`` runs thousands."""

import pytest

from tests.simulation.people import World, run

RUNS = 5


def verdicts(world: World, *, calls: int = 10_000) -> list[set[str]]:
    return [set(run(world, seed, calls=calls, looks=60).first) for seed in range(RUNS)]


@pytest.mark.parametrize(
    "world",
    [World(errors=0.03), World(slower=1.1), World(cost=0.8)],
    ids=["errors at the margin", "latency at the margin", "cost at the margin"],
)
def test_at_a_margin_neither_go_nor_rollback_is_likely(world):
    found = verdicts(world)

    # Each comes in fewer than one run of twenty; two of five would be that by a chance of one in five hundred.
    assert sum("GO" in each for each in found) <= 1
    assert sum("ROLLBACK" in each for each in found) <= 1


def test_an_equal_and_cheaper_candidate_is_never_turned_back():
    found = verdicts(World(), calls=20_000)

    assert sum("ROLLBACK" in each for each in found) <= 1
    assert sum("GO" in each for each in found) >= 3


@pytest.mark.parametrize("world", [World(errors=0.08), World(slower=1.5), World(errors=0.4)])
def test_harm_is_found(world):
    assert all("ROLLBACK" in each for each in verdicts(world))


def test_a_ramp_in_which_both_arms_drift_is_no_harm():
    found = verdicts(World(stages=(5.0, 15.0, 35.0), drift=1.5), calls=20_000)

    assert sum("ROLLBACK" in each for each in found) <= 1


def test_people_who_come_to_the_wrong_arm_are_noticed():
    assert all(run(World(share=40.0), seed, calls=6000, looks=20).srm_people for seed in range(RUNS))
