"""Slices of six hours and ten days hold what the shorter ones in them do, or are not used."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from metrics import reading, rollup
from metrics.health import Health
from metrics.models import MADE_OF_OTHERS, RollupState, Slice
from metrics.rebuild import rebuild_rollups
from metrics.rollup import roll_up
from metrics.slices import Grain
from metrics.sums import Sums
from tests.metrics.factories import NOW, ModelCallFactory

pytestmark = pytest.mark.django_db

NAME = "gemini-flash-lite"
SHORTER = {Grain.SIX_HOURS: Grain.HOUR, Grain.TEN_DAYS: Grain.DAY}
made = pytest.mark.parametrize("grain", list(MADE_OF_OTHERS))
# Such that its edges are made up of hours, slices of six and days.
UNTIL = NOW - timedelta(hours=1)


def call(days: int, **facts: object) -> None:
    moment = NOW - timedelta(days=days, hours=days, minutes=10)
    ModelCallFactory(started_at=moment, ended_at=moment + timedelta(seconds=2), unit=f"of day {days}", **facts)


def calls_of_a_month() -> None:
    for days in range(33):
        call(days, candidate=days % 2 == 0)
    # In the slices of six hours that a month begins with.
    ModelCallFactory(started_at=UNTIL - timedelta(days=29, hours=21))
    roll_up(now=NOW)


def of_a_month() -> Health:
    return reading.health(rollout=NAME, since=UNTIL - timedelta(days=30), until=UNTIL)


def stored(grain: Grain) -> dict[tuple[object, ...], dict[str, Any]]:
    parts = Slice.objects.filter(grain=grain)
    return {(part.rollout, part.start, part.arm, part.reason): part.sums for part in parts}


@made
def test_they_hold_what_those_in_them_do(grain):
    calls_of_a_month()

    assert len(stored(grain)) >= 6
    for (rollout, start, arm, reason), sums in stored(grain).items():
        shorter = Slice.objects.filter(
            rollout=rollout,
            arm=arm,
            reason=reason,
            grain=SHORTER[grain],
            start__gte=start,
            start__lt=start + grain.length,
        )
        added = Sums()
        for part in shorter:
            added.merge_json(part.sums)
        assert sums == added.to_json()


@made
def test_a_month_is_read_of_them_and_is_the_same_without(grain):
    calls_of_a_month()
    with_them = of_a_month()
    saved = reading.UpTo(rollout=NAME, until=UNTIL - timedelta(days=1)).saved_usd()
    Slice.objects.filter(grain=grain).update(sums={})
    assert of_a_month() != with_them

    # A worker that knows nothing of them has added something.
    RollupState.objects.update(changed_at=NOW + timedelta(seconds=1))

    assert of_a_month() == with_them
    assert reading.UpTo(rollout=NAME, until=UNTIL - timedelta(days=1)).saved_usd() == saved


@made
def test_those_that_hold_are_used_where_others_do_not(grain):
    calls_of_a_month()
    with_them = of_a_month()
    for other in set(MADE_OF_OTHERS) - {grain}:
        Slice.objects.filter(grain=other).update(sums={})
        RollupState.objects.update(**{MADE_OF_OTHERS[other]: NOW - timedelta(days=1)})

    assert of_a_month() == with_them


@made
@pytest.mark.parametrize("at_once", [1, 500])
def test_where_they_do_not_hold_the_next_roll_up_makes_them_anew_with_or_without_a_call(grain, at_once, monkeypatch):
    monkeypatch.setattr(rollup, "SLICES_AT_ONCE", at_once)
    calls_of_a_month()
    before = stored(grain)
    for call_comes in (False, True):
        Slice.objects.filter(grain=grain).delete()
        RollupState.objects.update(**{MADE_OF_OTHERS[grain]: None})
        if call_comes:
            call(1)

        roll_up(now=NOW + timedelta(minutes=1 + call_comes))

        state = RollupState.objects.get()
        assert {getattr(state, mark) for mark in MADE_OF_OTHERS.values()} == {state.changed_at}
        if call_comes:
            counted = [sum(sums["requests"] for sums in stored(each).values()) for each in (grain, Grain.HOUR)]
            assert counted == [35, 35]
        else:
            assert stored(grain) == before


def test_while_all_is_made_anew_hours_and_days_are_read():
    calls_of_a_month()
    before = of_a_month()
    seen: list[Health] = []

    def clock() -> datetime:
        unknown = {f"{mark}__isnull": True for mark in MADE_OF_OTHERS.values()}
        if RollupState.objects.filter(rebuilding_until__isnull=False, **unknown).exists():
            seen.append(of_a_month())
        return NOW

    rebuild_rollups(clock=clock)

    assert seen
    assert all(health == before for health in seen)
    assert of_a_month() == before
