from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from metrics import reading, services
from metrics.models import CallTotal, ClusterSum, FirstSeen, LastSeen, ModelCall, RollupState, Slice, Window
from metrics.people import count_people
from metrics.rebuild import rebuild_rollups
from metrics.rollup import roll_up
from tests.metrics.factories import NOW, ModelCallFactory

pytestmark = pytest.mark.django_db

NAME = "gemini-flash-lite"
TABLES = (Slice, ClusterSum, CallTotal, FirstSeen, LastSeen, Window)


def stored() -> dict[str, list[Any]]:
    """Every roll-up as it is stored, without the rows' own ids; sums that are nothing count as none."""
    return {
        table.__name__: sorted(
            str(sorted((name, value) for name, value in row.items() if name != "id"))
            for row in table.objects.values()
            if row.get("sums") != {}
        )
        for table in TABLES
    }


def test_all_that_waits_is_counted_once():
    ModelCallFactory.create_batch(3, candidate=True)

    assert roll_up(now=NOW) == 3
    assert roll_up(now=NOW) == 0
    found = reading.health(rollout=NAME, since=NOW - timedelta(hours=1), until=NOW)
    assert (found.candidate.requests, found.candidate.people, found.as_of) == (3, 3, NOW)


def test_a_rebuild_gives_the_same_to_the_last_digit():
    for number in range(30):
        ModelCallFactory(
            candidate=number % 3 == 0,
            unit=f"u{number % 7}",
            started_at=NOW - timedelta(minutes=number * 47),
            rating=number % 6 or None,
            ttft_ms=100 + number,
        )
    roll_up(now=NOW)
    count_people(now=NOW)
    before = stored()

    assert rebuild_rollups(clock=lambda: NOW) == 30
    count_people(now=NOW)

    assert stored() == before
