"""Slices of ten days hold what their days do, or are not used."""

from datetime import datetime, timedelta

import pytest

from metrics import reading
from metrics.health import Health
from metrics.models import RollupState, Slice
from metrics.rebuild import rebuild_rollups
from metrics.rollup import roll_up
from metrics.slices import Grain, floor
from metrics.sums import Sums
from tests.metrics.factories import NOW, ModelCallFactory

pytestmark = pytest.mark.django_db

NAME = "gemini-flash-lite"
TENS = Slice.objects.filter(grain=Grain.TEN_DAYS)


def call(days: int, **facts: object) -> None:
    moment = NOW - timedelta(days=days, minutes=10)
    ModelCallFactory(started_at=moment, ended_at=moment + timedelta(seconds=2), unit=f"of day {days}", **facts)


def calls_of_a_month() -> None:
    for days in range(0, 33, 3):
        call(days, candidate=days % 2 == 0)
    roll_up(now=NOW)


def of_a_month() -> Health:
    return reading.health(rollout=NAME, since=NOW - timedelta(days=30), until=NOW)


def starts() -> set[datetime]:
    return set(TENS.values_list("start", flat=True))


def test_they_hold_what_their_days_do():
    calls_of_a_month()

    assert len(starts()) >= 4
    for part in TENS:
        days = Slice.objects.filter(
            rollout=part.rollout,
            arm=part.arm,
            reason=part.reason,
            grain=Grain.DAY,
            start__gte=part.start,
            start__lt=part.start + Grain.TEN_DAYS.length,
        )
        added = Sums()
        for day in days:
            added.merge_json(day.sums)
        assert part.sums == added.to_json()


def test_a_month_is_read_of_them_and_is_the_same_without():
    calls_of_a_month()
    with_them = of_a_month()
    saved = reading.UpTo(rollout=NAME, until=NOW).saved_usd()
    TENS.filter(start=floor(NOW - timedelta(days=15), Grain.TEN_DAYS)).update(sums={})
    assert of_a_month() != with_them

    # A worker of the version before has added something, and knows nothing of them.
    RollupState.objects.update(changed_at=NOW + timedelta(seconds=1))

    assert of_a_month() == with_them
    assert reading.UpTo(rollout=NAME, until=NOW).saved_usd() == saved


def test_where_they_do_not_hold_the_next_roll_up_makes_them_anew_with_or_without_a_call():
    calls_of_a_month()
    for call_comes in (False, True):
        TENS.delete()
        RollupState.objects.update(tens_as_of=None)
        if call_comes:
            call(1)

        roll_up(now=NOW + timedelta(minutes=1 + call_comes))

        state = RollupState.objects.get()
        assert state.tens_as_of == state.changed_at
        requests = sum(part.sums["requests"] for part in TENS)
        assert requests == sum(part.sums["requests"] for part in Slice.objects.filter(grain=Grain.DAY))


def test_while_all_is_made_anew_days_are_read():
    calls_of_a_month()
    before = of_a_month()
    seen: list[Health] = []

    def clock() -> datetime:
        if RollupState.objects.filter(rebuilding_until__isnull=False, tens_as_of__isnull=True).exists():
            seen.append(of_a_month())
        return NOW

    rebuild_rollups(clock=clock)

    assert seen
    assert all(health == before for health in seen)
    assert of_a_month() == before
