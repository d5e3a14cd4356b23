import math
import random

import pytest

from rollout.sparklines import sparkline
from rollout.weeks import change_between, student_quantile


@pytest.mark.parametrize(("degrees", "quantile"), [(3, 3.182), (6, 2.447), (10, 2.228), (30, 2.042)])
def test_students_quantiles_are_those_of_the_tables(degrees, quantile):
    assert student_quantile(0.975, degrees) == pytest.approx(quantile, rel=0.003)


def test_fewer_than_three_degrees_are_refused():
    with pytest.raises(ValueError, match="3 degrees"):
        student_quantile(0.975, 2)


def test_a_change_by_hand():
    before = [(10.0, 10.0), (20.0, 10.0), (10.0, 10.0), (20.0, 10.0)]
    after = [(20.0, 10.0), (30.0, 10.0), (30.0, 10.0), (20.0, 10.0)]

    change = change_between(before, after)

    # Ratios are 1.5 and 2.5; the residuals of the four pairs are 0, 0, .25 and -.25.
    assert change is not None
    assert change.difference == pytest.approx(1.0)
    margin = student_quantile(0.975, 3) * math.sqrt(4 / 3 * 0.125)
    assert (change.low, change.high) == pytest.approx((1 - margin, 1 + margin))


def test_days_without_counts_are_left_out_and_too_few_say_nothing():
    day, nothing = (5.0, 10.0), (0.0, 0.0)

    assert change_between([day] * 4 + [nothing] * 3, [day] * 7) is not None
    assert change_between([day] * 3 + [nothing] * 4, [day] * 7) is None
    assert change_between([day] * 7, [nothing] * 4 + [day] * 3) is None


def test_weeks_of_different_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        change_between([(1.0, 1.0)] * 7, [(1.0, 1.0)] * 6)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    dice = random.Random(3)

    def week(level: float) -> list[tuple[float, float]]:
        counts = [dice.randrange(50, 150) for _day in range(7)]
        return [(n * (level + weekday + dice.gauss(0, 4)), n) for weekday, n in enumerate(counts)]

    changes = [change_between(week(100), week(103)) for _run in range(600)]

    held = sum(change is not None and change.low <= 3 <= change.high for change in changes)
    assert 0.91 <= held / 600 <= 0.985


def test_a_sparkline_goes_from_zero_to_the_greatest_and_marks_what_is_not_known():
    assert sparkline([0, 7, None, 3.5]) == "▁█·▅"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([-1, 0, 1]) == "▁▅█"
    assert sparkline([None, None]) == sparkline([]) == ""
