from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.decisions import ArmFigures, Criteria, Decision, decide

CRITERIA = Criteria(latency_target_ms=140, min_cost_reduction=20, max_error_increase=2, min_sample=100)
BASELINE = ArmFigures(judged=1000, errors=10, ttft_mean_ms=400)
# Equal to the baseline, and at every limit.
CANDIDATE = ArmFigures(judged=100, errors=3, ttft_mean_ms=400, cost_reduction=20)
NOBODY = ArmFigures(judged=0, errors=0, ttft_mean_ms=None)


def decision(candidate: ArmFigures = CANDIDATE, baseline: ArmFigures = BASELINE) -> Decision:
    return decide(candidate=candidate, baseline=baseline, criteria=CRITERIA)


def missing(found: Decision) -> list[tuple[str, int, int]]:
    return [(item.what, item.have, item.need) for item in found.missing]


def test_a_candidate_that_meets_every_criterion_exactly_goes():
    assert decision().verdict == "GO"
    assert decision().failed == ()


@pytest.mark.parametrize(
    ("change", "verdict", "failed"),
    [
        ({"ttft_mean_ms": 400.1}, "HOLD", ("latency",)),
        ({"cost_reduction": 19.9}, "HOLD", ("cost",)),
        ({"cost_reduction": -300.0}, "HOLD", ("cost",)),
        ({"errors": 4}, "ROLLBACK", ("stability",)),
        ({"errors": 4, "ttft_mean_ms": 500.0}, "ROLLBACK", ("latency", "stability")),
    ],
)
def test_one_step_beyond_a_limit_is_enough(change, verdict, failed):
    found = decision(replace(CANDIDATE, **change))

    assert found.verdict == verdict
    assert found.failed == failed


def test_the_values_are_shown_against_what_they_are_held_to():
    found = {criterion.name: (criterion.value, criterion.target) for criterion in decision().criteria}

    assert found == {"latency": (400, 400), "cost": (20, 20), "stability": (2, 2)}


def test_without_baseline_traffic_the_target_and_no_errors_are_what_counts():
    assert decision(replace(CANDIDATE, ttft_mean_ms=140, errors=2), NOBODY).verdict == "GO"
    assert decision(replace(CANDIDATE, ttft_mean_ms=141, errors=2), NOBODY).verdict == "HOLD"
    assert decision(replace(CANDIDATE, ttft_mean_ms=140, errors=3), NOBODY).verdict == "ROLLBACK"


def test_a_small_sample_decides_nothing_however_bad_it_looks():
    found = decision(replace(CANDIDATE, judged=99, errors=99), replace(BASELINE, judged=7))

    assert found.verdict == "NOT_ENOUGH_DATA"
    assert missing(found) == [("candidate_requests", 99, 100), ("baseline_requests", 7, 100)]


def test_what_is_not_known_is_named():
    unknown = replace(CANDIDATE, ttft_mean_ms=None, cost_reduction=None)
    found = decision(unknown, replace(BASELINE, ttft_mean_ms=None))

    assert found.verdict == "NOT_ENOUGH_DATA"
    assert [what for what, _have, _need in missing(found)] == [
        "candidate_latency",
        "baseline_latency",
        "candidate_cost",
    ]
    assert [criterion.passed for criterion in found.criteria] == [None, None, True]


def test_a_candidate_that_only_fails_is_rolled_back_although_nothing_else_is_known_of_it():
    dead = ArmFigures(judged=100, errors=100, ttft_mean_ms=None, cost_reduction=None)

    assert decision(dead).verdict == "ROLLBACK"


arms = st.builds(
    ArmFigures,
    judged=st.integers(0, 300),
    errors=st.integers(0, 300),
    ttft_mean_ms=st.none() | st.floats(1, 1000),
    cost_reduction=st.none() | st.floats(-100, 100),
).filter(lambda arm: arm.errors <= arm.judged)


@given(candidate=arms, baseline=arms)
def test_go_needs_every_criterion_and_both_samples(candidate, baseline):
    found = decision(candidate, baseline)

    if found.verdict == "GO":
        assert all(criterion.passed for criterion in found.criteria)
        assert candidate.judged >= 100
        assert baseline.judged == 0 or baseline.judged >= 100
    assert (found.verdict == "NOT_ENOUGH_DATA") is bool(found.missing)


@given(candidate=arms, baseline=arms)
def test_more_errors_never_turn_a_stop_into_a_go(candidate, baseline):
    worse = replace(candidate, errors=candidate.judged)

    if decision(candidate, baseline).verdict == "ROLLBACK":
        assert decision(worse, baseline).verdict == "ROLLBACK"
