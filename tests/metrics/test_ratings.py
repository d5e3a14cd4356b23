"""Which reasons there are, and which ratings can have one."""

import pytest

from metrics.ratings import REASONS, go_together
from metrics.words import RATING_REASONS


def test_every_reason_has_words():
    assert tuple(RATING_REASONS) == REASONS


@pytest.mark.parametrize("rating", [None, 1, 2, 3, 4, 5])
def test_no_reason_goes_with_every_rating_and_a_reason_with_a_bad_one(rating: int | None):
    assert go_together(rating, "")
    assert all(go_together(rating, reason) == (rating in (1, 2, 3)) for reason in REASONS)


@pytest.mark.parametrize("reason", ["Slow", "slow ", "none", "\x00", "x" * 3000])
def test_a_reason_that_nobody_knows_goes_with_nothing(reason: str):
    assert not go_together(1, reason)
