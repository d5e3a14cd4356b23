"""Where figures lie on a tile's line: in order, on the line, the margin's bad side to the right place."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.criteria import PerArm
from rollout.decisions import Criterion
from rollout.tiles import line_of

NONE = PerArm(candidate=0, baseline=0)
figures = st.floats(-1000, 1000, allow_nan=False)


def criterion(estimate: float | None, low: float | None, high: float | None, margin: float, name="errors") -> Criterion:
    return Criterion(
        name=name,
        state="unproven",
        margin=margin,
        requests=NONE,
        people=NONE,
        estimate=estimate,
        low=low,
        high=high,
    )


@given(st.tuples(figures, figures, figures).map(sorted), figures, st.sampled_from(["errors", "cost"]))
def test_everything_lies_on_the_line_and_in_its_order(three, margin, name):
    low, estimate, high = three

    line = line_of(criterion(estimate, low, high, margin, name))

    assert line is not None
    places = {0.0: line.zero, margin: line.margin, estimate: line.estimate}
    assert all(0 <= place <= 100 for place in [*places.values(), line.low, line.high])
    assert line.low <= line.estimate <= line.high
    assert all(places[left] <= places[right] for left, right in pairwise(sorted(places)))


def test_beyond_the_margin_is_right_of_it_and_left_of_it_where_more_is_better():
    dearer, failing = line_of(criterion(30, 25, 35, 20, "cost")), line_of(criterion(1, 0.5, 1.5, 2))

    assert dearer is not None
    assert failing is not None
    assert dearer.beyond == (0, dearer.margin)
    assert failing.beyond[0] == failing.margin
    assert sum(failing.beyond) == pytest.approx(100)
    assert dearer.estimate > dearer.margin
    assert failing.estimate < failing.margin


def test_an_interval_far_beyond_is_cut_so_that_the_rest_can_be_read():
    line = line_of(criterion(0.5, -5000, 5000, 2))

    assert line is not None
    assert (line.low, line.high) == (0, 100)
    assert line.margin - line.zero > 10


def test_what_is_not_measured_has_no_line():
    assert line_of(criterion(None, None, None, 2)) is None
