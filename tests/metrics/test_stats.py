import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.stats import (
    ArmPair,
    Clusters,
    design_effect,
    e_value_margin,
    log_e_value,
    log_normal_cdf,
    log_srm_e_value,
    logarithm,
    mixture_rho,
    pooled_difference,
)

# ln Φ to 12 digits, from the continued fraction of Mills' ratio in high precision.
KNOWN = {
    0.0: -0.693147180560,
    -1.0: -1.841021645009,
    -10.0: -53.231285151239,
    -40.0: -804.608442013754,
    3.0: -0.001350809964748,
}


@pytest.mark.parametrize(("x", "expected"), KNOWN.items())
def test_the_normal_distribution_holds_far_out(x, expected):
    assert log_normal_cdf(x) == pytest.approx(expected, rel=1e-9)


def test_the_two_ways_to_its_tail_meet():
    assert log_normal_cdf(-30.0 + 1e-9) == pytest.approx(log_normal_cdf(-30.0 - 1e-9), rel=1e-9)


@given(st.floats(-1e6, 1e6), st.floats(1e-12, 1e6), st.floats(1e-6, 1e6))
def test_evidence_is_always_a_number(theta, variance, rho):
    assert math.isfinite(log_e_value(theta, variance, rho))


@given(st.floats(0.001, 1), st.floats(1e-6, 1))
def test_evidence_grows_with_the_estimate_and_an_interval_is_where_it_is_enough(distance, variance):
    rho = mixture_rho(distance, 0.05)
    margin = e_value_margin(variance, rho, 0.05)

    assert log_e_value(margin * 1.001, variance, rho) > math.log(20) > log_e_value(margin * 0.999, variance, rho)


@pytest.mark.parametrize("given_values", [(math.nan, 1, 1), (math.inf, 1, 1), (0, 0, 1), (0, -1, 1), (0, 1, 0)])
def test_evidence_of_no_number_is_refused(given_values):
    with pytest.raises(ValueError, match="e-value"):
        log_e_value(*given_values)


def test_a_wrong_split_shows_and_a_right_one_does_not():
    assert log_srm_e_value(1000, 1000, 0.5) < 0
    assert log_srm_e_value(900, 1100, 0.5) > math.log(100)
    assert log_srm_e_value(50, 950, 0.05) < 0
    assert log_srm_e_value(500, 0, 1.0) == log_srm_e_value(0, 500, 0.0) == 0


def test_a_drift_that_both_arms_share_is_no_difference():
    slow = Clusters([300.0] * 40, [3] * 40)
    quick = Clusters([100.0] * 40, [1] * 40)
    stages = [
        ArmPair(baseline=slow, candidate=Clusters([100.0 + g % 2 for g in range(40)], [1] * 40)),
        ArmPair(
            baseline=Clusters([10.0] * 40, [1] * 40), candidate=Clusters([30.0 + g % 2 for g in range(40)], [3] * 40)
        ),
    ]

    found = pooled_difference(stages)
    assert found is not None
    assert abs(found.estimate) < 1
    assert pooled_difference([ArmPair(baseline=quick, candidate=Clusters([0.0] * 40, [0] * 40))]) is None


def test_the_difference_of_ratios_of_one_stage_is_what_the_formula_says():
    baseline = Clusters([2.0, 6.0, 4.0], [2, 2, 2])
    candidate = Clusters([9.0, 3.0, 0.0], [3, 3, 0])

    found = pooled_difference([ArmPair(baseline=baseline, candidate=candidate)])

    assert found is not None
    assert found.estimate == pytest.approx(2 - 2)
    assert found.variance_baseline == pytest.approx(3 / 2 * ((2 / 6) ** 2 + (2 / 6) ** 2))
    assert found.variance_candidate == pytest.approx(2 * 2 * (3 / 6) ** 2)


def test_a_ratio_of_nothing_has_no_logarithm():
    arm = Clusters([0.0, 0.0], [2, 2])
    assert pooled_difference([ArmPair(baseline=arm, candidate=arm)], logarithm) is None


def test_people_who_fail_together_count_as_fewer():
    alone = Clusters([1.0] * 50, [10] * 50)
    together = Clusters([10.0] * 5 + [0.0] * 45, [10] * 50)

    assert design_effect([alone]) == 1
    assert design_effect([together]) > 5
