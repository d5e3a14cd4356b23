"""How windows are made up of slices."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.slices import Cut, Grain, cover

DAY = datetime(2026, 11, 21, tzinfo=UTC)
FIVE = Grain.FIVE_MINUTES


def at(days: int = 0, hours: int = 0, minutes: int = 0) -> datetime:
    return DAY + timedelta(days=days, hours=hours, minutes=minutes)


@given(since=st.integers(0, 40 * 288), length=st.integers(0, 40 * 288))
def test_slices_add_up_to_the_window_each_five_minutes_once(since, length):
    start = DAY + since * FIVE.length
    end = start + length * FIVE.length
    # A walk up and down a line: what is added up to a moment, less what is taken away, is how often it was there.
    steps: dict[datetime, int] = {}
    for cut in cover(start, end):
        assert cut.start < cut.end
        steps[cut.start] = steps.get(cut.start, 0) + cut.sign
        steps[cut.end] = steps.get(cut.end, 0) - cut.sign
    assert {moment: step for moment, step in steps.items() if step} == ({start: 1, end: -1} if length else {})


@given(since=st.integers(0, 40 * 288), length=st.integers(0, 40 * 288))
def test_of_other_grains_it_is_made_up_without_those_that_are_not_to_be_had(since, length):
    start = DAY + since * FIVE.length
    cuts = cover(start, start + length * FIVE.length, {Grain.DAY, FIVE, Grain.HOUR})
    assert {cut.grain for cut in cuts} <= {FIVE, Grain.HOUR, Grain.DAY}
    assert sum(cut.sign * cut.slices * cut.grain for cut in cuts) == length * FIVE


@given(since=st.integers(0, 288), days=st.integers(0, 90), rest=st.integers(0, 288))
def test_edges_take_six_slices_of_five_minutes_three_hours_two_of_six_and_five_days_each_at_most(since, days, rest):
    start = DAY + since * FIVE.length
    cuts = cover(start, start + timedelta(days=days) + rest * FIVE.length)
    taken = {grain: sum(cut.slices for cut in cuts if cut.grain == grain) for grain in Grain}
    assert taken[Grain.FIVE_MINUTES] <= 12
    assert taken[Grain.HOUR] <= 6
    assert taken[Grain.SIX_HOURS] <= 4
    assert taken[Grain.DAY] <= 10


@pytest.mark.parametrize(
    ("since", "until", "cuts"),
    [
        (at(), at(), []),
        (at(minutes=5), at(minutes=20), [Cut(FIVE, at(minutes=5), at(minutes=20))]),
        (at(hours=22), at(1), [Cut(Grain.HOUR, at(hours=22), at(1))]),
        # In the middle of six hours: by the way that is the shorter one in the end.
        (
            at(hours=9),
            at(1),
            [
                Cut(Grain.HOUR, at(hours=6), at(hours=9), -1),
                Cut(Grain.SIX_HOURS, at(), at(hours=6), -1),
                Cut(Grain.DAY, at(), at(1)),
            ],
        ),
        (
            at(minutes=15),
            at(hours=23),
            [
                Cut(FIVE, at(), at(minutes=15), -1),
                Cut(Grain.DAY, at(), at(1)),
                Cut(Grain.HOUR, at(hours=23), at(1), -1),
            ],
        ),
    ],
)
def test_what_is_shorter_is_taken_away_from_what_is_longer(since, until, cuts):
    assert cover(since, until) == cuts
