"""Clusters side by side: nothing is lost on the way in, out, or together."""

import struct
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from hypothesis import given
from hypothesis import strategies as st

from metrics.arms import BINS, NUMBERS, ArmSums, Packed, pack, total_beyond
from metrics.fold import Fold, side_by_side
from metrics.models import ArmSum, ModelCall, RollupState
from metrics.rollup import newest_windows, roll_up, rows
from metrics.sums import CLUSTERS, ClusterSums
from tests.metrics.factories import NOW
from tests.metrics.rollup_steps import mixed, stored

SIDE_BY_SIDE = "0008_arms_side_by_side"

_counts = st.dictionaries(st.integers(0, 300).map(str), st.integers(1, 2**31 - 1), max_size=5)
_sums = st.builds(
    ClusterSums,
    **{name: st.integers(0, 2**70) for name in NUMBERS},
    **dict.fromkeys(BINS, _counts),
)
_clusters = st.dictionaries(st.integers(0, CLUSTERS - 1), _sums, max_size=4)


def as_stored(arm: ArmSums) -> tuple[Any, ...]:
    return (arm.to_json(), *(pack(arm.bins[name]) for name in BINS))


@given(_clusters)
def test_what_is_put_side_by_side_is_found_in_its_place(clusters):
    arm = ArmSums.of(clusters)

    for name in NUMBERS:
        assert list(arm.each(name)) == [getattr(clusters.get(place, ClusterSums()), name) for place in range(CLUSTERS)]
        assert arm.total(name) == sum(getattr(sums, name) for sums in clusters.values())
    for name in BINS:
        found = Packed(pack(arm.bins[name]))
        for place in range(CLUSTERS):
            counts = {str(number): row[place] for number, row in found.items() if row[place]}
            assert counts == getattr(clusters.get(place, ClusterSums()), name)


@given(_clusters, _clusters)
def test_arms_merge_as_their_clusters_do_and_what_is_taken_away_is_gone(first, second):
    arm, before = ArmSums.of(first), as_stored(ArmSums.of(first))

    arm.merge(ArmSums.of(second))
    for name in NUMBERS:
        assert arm.total(name) == ArmSums.of(first).total(name) + ArmSums.of(second).total(name)

    arm.merge(ArmSums.of(second), -1)
    assert as_stored(arm) == before


_row = st.lists(st.integers(0, 2**28), min_size=CLUSTERS, max_size=CLUSTERS)


@given(st.dictionaries(st.integers(-3, 12), _row, max_size=6), st.integers(-5, 14))
def test_bins_are_added_up_as_whole_numbers_to_what_they_are_one_by_one(bins, number):
    by_hand = [sum(row[place] for bin_, row in bins.items() if bin_ > number) for place in range(CLUSTERS)]

    assert list(total_beyond(bins, number)) == by_hand
    assert list(total_beyond(Packed(pack(bins)), number)) == by_hand


def test_nothing_is_stored_of_nothing():
    arm = ArmSums.of({3: ClusterSums(n=1, ttft_bins={"100": 1})})
    arm.merge(ArmSums.of({3: ClusterSums(n=1, ttft_bins={"100": 1})}), -1)

    assert as_stored(arm) == ({}, b"", b"")
    assert Packed(b"") == {}


def test_a_count_that_has_no_room_is_an_error_and_not_another_number():
    with pytest.raises(struct.error):
        pack({100: [2**31] * CLUSTERS})


# --- rows of a cluster each, as they were before ---


@pytest.mark.django_db
def test_rows_of_a_cluster_each_are_carried_over_to_the_last_digit_and_back():
    mixed(60)
    roll_up(now=NOW)
    expected = stored()["ArmSum"]
    fold = Fold(windows=newest_windows())
    fold.add(rows(ModelCall.objects.all()))
    for key, first in fold.first.items():
        fold.move_first(key, old=None, new=first)
    assert len(side_by_side(fold.clusters)) == ArmSum.objects.count() == 4
    before = [{**key._asdict(), "sums": sums.to_json()} for key, sums in fold.clusters.items()]
    older("ClusterSum").objects.bulk_create(older("ClusterSum")(**row) for row in before)
    ArmSum.objects.all().delete()
    migration = import_module(f"metrics.migrations.{SIDE_BY_SIDE}")
    apps = SimpleNamespace(get_model=lambda _app, name: ArmSum if name == "ArmSum" else older(name))

    migration.put_side_by_side(apps, None)
    assert stored()["ArmSum"] == expected
    # To the version before, a rebuild is at work; to this one, none is.
    assert older("RollupState").objects.get().paused_until.year == 9999
    assert RollupState.objects.get().rebuilding_until is None

    migration.put_apart(apps, None)
    back = older("ClusterSum").objects.values(*before[0])
    assert sorted(back, key=place) == sorted(before, key=place)
    assert older("RollupState").objects.get().paused_until is None


@cache
def older(name: str) -> Any:
    """A model as the version before knows it."""
    return (
        MigrationLoader(connection)
        .project_state(("metrics", SIDE_BY_SIDE), at_end=False)
        .apps.get_model("metrics", name)
    )


def place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["scope"], row["arm"], row["cluster"]
