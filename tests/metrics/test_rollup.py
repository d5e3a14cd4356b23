"""The roll-ups: exactly once, whatever happens, and the same when made anew."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metrics import reading, services
from metrics.models import ArmSum, FirstSeen, ModelCall, RollupState, Slice
from metrics.people import count_people
from metrics.rebuild import rebuild_rollups
from metrics.retention import delete_old_calls
from metrics.rollup import WINDOW_REQUESTS, roll_up
from metrics.slices import Grain
from metrics.sums import ERROR_OUTCOMES
from tests.metrics.factories import NOW, ModelCallFactory
from tests.metrics.rollup_steps import NAME, mixed, rebuilt, stored


@pytest.mark.django_db
def test_all_that_waits_is_counted_once():
    ModelCallFactory.create_batch(3, candidate=True)

    assert roll_up(now=NOW) == 3
    assert roll_up(now=NOW) == 0
    found = reading.health(rollout=NAME, since=NOW - timedelta(hours=1), until=NOW)
    assert (found.candidate.requests, found.candidate.people, found.as_of) == (3, 3, NOW)


@pytest.mark.django_db
def test_a_call_that_ends_late_is_counted_where_it_began():
    call = ModelCallFactory(running=True, unit="ada", started_at=NOW - timedelta(hours=3))
    ModelCallFactory(unit="ada", started_at=NOW - timedelta(hours=1))
    roll_up(now=NOW)
    count_people(now=NOW)
    first = FirstSeen.objects.get()
    assert first.started_at == NOW - timedelta(hours=1)

    end = services.CallEnd(outcome="ok", ended_at=NOW, ttft_ms=50, latency_ms=99)
    services.close_call(call.pk, end, started_at=call.started_at)
    roll_up(now=NOW)
    count_people(now=NOW)

    hours = reading.series(rollout=NAME, since=NOW - timedelta(hours=4), until=NOW, grain=Grain.HOUR)
    assert [(point.start, point.baseline.requests, point.baseline.people) for point in hours] == [
        (NOW - timedelta(hours=3), 1, 1),
        (NOW - timedelta(hours=1), 1, 1),
    ]
    assert FirstSeen.objects.get().started_at == NOW - timedelta(hours=3)
    found = reading.health(rollout=NAME, since=NOW - timedelta(hours=5), until=NOW)
    assert (found.baseline.requests, found.baseline.people) == (2, 1)


@pytest.mark.django_db
def test_people_are_counted_once_in_a_window_in_an_arm_and_in_a_run():
    for minutes in (200, 100, 50, 20, 10):
        ModelCallFactory(unit="ada", started_at=NOW - timedelta(minutes=minutes))
    ModelCallFactory(unit="bob", started_at=NOW - timedelta(minutes=100))
    ModelCallFactory(unit="ada", candidate=True, stretch=2, started_at=NOW - timedelta(minutes=5))
    roll_up(now=NOW)

    def people(minutes: int) -> tuple[int | None, int | None]:
        found = reading.health(rollout=NAME, since=NOW - timedelta(minutes=minutes), until=NOW)
        return found.baseline.people, found.candidate.people

    assert people(240) == (2, 1)
    assert people(60) == (1, 1)
    assert people(5) == (0, 1)
    past = reading.health(rollout=NAME, since=NOW - timedelta(minutes=240), until=NOW - timedelta(minutes=60))
    assert (past.baseline.people, past.candidate.people) == (2, 0)
    # Ada moved to the candidate later; where she was first is what the split is judged by.
    by_arm: Counter[tuple[int, str]] = Counter()
    for row in ArmSum.objects.filter(scope="stretch"):
        by_arm[row.stretch, row.arm] += sum(row.sums.get("people", ()))
    assert by_arm == {(1, "baseline"): 2, (2, "candidate"): 0}


@pytest.mark.django_db
def test_a_rating_that_changes_later_is_exchanged():
    call = ModelCallFactory(candidate=True)
    roll_up(now=NOW)
    for rating, mean in ((5, 5), (2, 2), (None, None)):
        services.rate(call.answer_id, rating)
        roll_up(now=NOW)
        found = reading.health(rollout=NAME, since=NOW - timedelta(hours=1), until=NOW)
        assert found.candidate.rating_mean == mean
    assert found.candidate.ratings_by_star == {}


@pytest.mark.django_db
def test_a_reason_that_changes_later_is_exchanged():
    call = ModelCallFactory(candidate=True, rating=1)
    roll_up(now=NOW)
    for rating, reason in ((1, "slow"), (1, "style"), (3, "style"), (3, ""), (2, "slow"), (5, ""), (None, "")):
        services.rate(call.answer_id, rating, reason)
        roll_up(now=NOW)
        found = reading.health(rollout=NAME, since=NOW - timedelta(hours=1), until=NOW)
        assert found.candidate.rating_reasons == ({reason: 1} if reason else {})
        assert found.candidate.ratings == (rating is not None)
    count_people(now=NOW)
    assert rebuilt() == stored()


# --- windows ---


@pytest.mark.django_db
def test_evidence_starts_anew_with_each_stretch_and_each_two_thousand_requests(monkeypatch):
    monkeypatch.setattr("metrics.rollup.WINDOW_REQUESTS", 20)
    ModelCallFactory.create_batch(19)
    roll_up(now=NOW)
    assert reading.evidence(rollout=NAME, run=1).window_number == 0

    ModelCallFactory.create_batch(2, candidate=True)
    roll_up(now=NOW)
    found = reading.evidence(rollout=NAME, run=1)
    assert (found.window_number, total(found.window)) == (1, 0)

    later = NOW + timedelta(minutes=1)
    ModelCallFactory.create_batch(3, started_at=later)
    ModelCallFactory()  # began before the window did
    roll_up(now=later)
    found = reading.evidence(rollout=NAME, run=1)
    assert (found.window_number, total(found.window), [total(stretch) for stretch in found.stretches]) == (1, 3, [25])

    ModelCallFactory.create_batch(4, stretch=2, percent=Decimal(15), started_at=later)
    roll_up(now=later)
    found = reading.evidence(rollout=NAME, run=1)
    assert (found.window_number, total(found.window), [total(stretch) for stretch in found.stretches]) == (
        2,
        4,
        [25, 4],
    )
    assert [stretch.percent for stretch in found.stretches] == [5, 15]

    count_people(now=NOW)
    assert rebuilt() == stored()
    assert WINDOW_REQUESTS == 2000


def total(sums: Any) -> int:
    return int(sums.baseline.total("n") + sums.candidate.total("n"))


@pytest.mark.django_db
def test_a_new_run_knows_nothing_of_the_one_before():
    ModelCallFactory.create_batch(3, unit="ada")
    ModelCallFactory(run=2, stretch=2, unit="ada")
    roll_up(now=NOW)

    found = reading.evidence(rollout=NAME, run=2)
    assert [(stretch.stretch, total(stretch)) for stretch in found.stretches] == [(2, 1)]
    assert found.stretches[0].baseline.total("people") == 1


@pytest.mark.django_db
def test_a_late_call_of_a_stretch_that_is_over_leaves_the_present_one_its_window():
    late = ModelCallFactory(running=True, stretch=2, percent=Decimal(15), started_at=NOW - timedelta(minutes=3))
    ModelCallFactory(stretch=3, percent=Decimal(25), started_at=NOW - timedelta(minutes=2))
    roll_up(now=NOW)
    services.close_call(late.pk, services.CallEnd(outcome="ok", ended_at=NOW), started_at=late.started_at)
    roll_up(now=NOW)
    ModelCallFactory.create_batch(2, stretch=3, percent=Decimal(25), started_at=NOW + timedelta(seconds=1))
    roll_up(now=NOW + timedelta(minutes=1))

    found = reading.evidence(rollout=NAME, run=1)

    assert found.window is not None
    assert (found.window.stretch, found.window.baseline.total("n")) == (3, 2)
    assert [(each.stretch, each.baseline.total("n")) for each in found.stretches] == [(2, 1), (3, 3)]


# --- old calls ---


@pytest.mark.django_db
def test_old_calls_go_and_nothing_that_they_add_up_to():
    calls = mixed(60)
    ModelCallFactory.create_batch(3, started_at=NOW - timedelta(days=10), unit="gone", rating=2)
    waiting = ModelCallFactory(running=True, started_at=NOW - timedelta(days=10))
    roll_up(now=NOW)
    count_people(now=NOW)
    before = stored()
    week: dict[str, Any] = {"rollout": NAME, "since": NOW - timedelta(days=20), "until": NOW}
    seen = reading.health(**week)

    deleted = delete_old_calls(now=NOW, days=1)

    kept = [call for call in calls if call.started_at >= NOW.replace(hour=0) - timedelta(days=1)]
    assert deleted == 63 - len(kept) > 3
    assert set(ModelCall.objects.values_list("pk", flat=True)) == {call.pk for call in kept} | {waiting.pk}
    after = reading.health(**week)
    assert (after.baseline.sums, after.candidate.sums) == (seen.baseline.sums, seen.candidate.sums)
    fine = {"grain": Grain.FIVE_MINUTES.value}
    assert not Slice.objects.filter(start__lt=NOW - timedelta(days=2), **fine).exists()
    assert stored()["FirstSeen"] == before["FirstSeen"]
    remembered = stored()

    assert rebuilt() == remembered
    assert delete_old_calls(now=NOW, days=1) == 0


@pytest.mark.django_db
def test_a_person_who_comes_back_after_long_counts_in_the_new_window_only():
    ModelCallFactory(unit="ada", started_at=NOW - timedelta(days=100))
    roll_up(now=NOW)
    delete_old_calls(now=NOW, days=90)

    ModelCallFactory(unit="ada")
    roll_up(now=NOW)

    found = reading.health(rollout=NAME, since=NOW - timedelta(days=90), until=NOW)
    assert (found.baseline.requests, found.baseline.people) == (1, 1)
    assert min(row.get("last_seen", 0) for row in Slice.objects.values_list("sums", flat=True)) >= 0


# --- any order of anything ---

RATINGS = [(None, ""), (1, ""), (1, "slow"), (1, "other"), (3, "slow"), (5, "")]
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.integers(0, 4), st.booleans(), st.integers(1, 3000), st.integers(1, 3)),
        st.tuples(st.just("close"), st.integers(0, 20), st.sampled_from(["ok", "error", "cancelled", "empty"])),
        st.tuples(st.just("rate"), st.integers(0, 20), st.sampled_from(RATINGS)),
        st.tuples(st.just("roll_up")),
        st.tuples(st.just("rebuild")),
        st.tuples(st.just("forget")),
    ),
    max_size=40,
)


@pytest.mark.django_db
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
def test_totals_never_drift_whatever_happens_in_whatever_order(actions):
    with transaction.atomic():
        try:
            opened: list[ModelCall] = []
            ever: Counter[tuple[str, str]] = Counter()
            rated: dict[UUID, tuple[str, int | None, str]] = {}
            for name, *given_values in actions:
                act(name, given_values, opened, ever, rated)
            for call in opened:
                close(call, "ok", ever)
            roll_up(now=NOW)
            count_people(now=NOW)

            found = reading.health(rollout=NAME, since=NOW - timedelta(days=4), until=NOW)
            for arm, health in (("baseline", found.baseline), ("candidate", found.candidate)):
                assert health.requests == sum(n for (of, _outcome), n in ever.items() if of == arm)
                assert health.errors == sum(
                    n for (of, outcome), n in ever.items() if of == arm and outcome in ERROR_OUTCOMES
                )
                given_here = [(rating, reason) for of, rating, reason in rated.values() if of == arm]
                assert health.ratings_by_star == Counter(str(rating) for rating, _reason in given_here if rating)
                assert health.rating_reasons == Counter(reason for _rating, reason in given_here if reason)
            assert stored() == rebuilt()
        finally:
            transaction.set_rollback(True)


def act(
    name: str,
    values: list[Any],
    opened: list[ModelCall],
    ever: "Counter[tuple[str, str]]",
    rated: dict[UUID, tuple[str, int | None, str]],
) -> None:
    if name == "open":
        person, candidate, minutes, stretch = values
        opened.append(
            ModelCallFactory(
                running=True,
                unit=f"u{person}",
                candidate=candidate,
                stretch=stretch,
                started_at=NOW - timedelta(minutes=minutes),
            )
        )
    elif name == "close" and opened:
        close(opened[values[0] % len(opened)], values[1], ever)
    elif name == "rate" and opened:
        call, (rating, reason) = opened[values[0] % len(opened)], values[1]
        services.rate(call.answer_id, rating, reason)
        # What is deleted stays as it was counted.
        if ModelCall.objects.filter(pk=call.pk).exists():
            rated[call.pk] = (call.arm, rating, reason)
    elif name == "roll_up":
        roll_up(now=NOW)
    elif name == "rebuild":
        rebuild_rollups(clock=lambda: NOW)
    elif name == "forget":
        delete_old_calls(now=NOW, days=1)


def close(call: ModelCall, outcome: str, ever: "Counter[tuple[str, str]]") -> None:
    text: dict[str, Any] = {"ttft_ms": 120, "latency_ms": 900} if outcome in ("ok", "cancelled") else {}
    cost: dict[str, Any] = (
        {"cost_usd": Decimal("0.000123456789"), "baseline_cost_usd": Decimal("0.001")} if text else {}
    )
    end = services.CallEnd(outcome=outcome, ended_at=NOW, **text, **cost)
    if services.close_call(call.pk, end, started_at=call.started_at):
        ever[call.arm, outcome] += 1


@pytest.mark.django_db
def test_who_comes_back_leaves_the_people_of_the_day_before_as_they_were():
    ModelCallFactory(unit="ada", started_at=NOW - timedelta(days=3))
    roll_up(now=NOW)
    assert count_people(now=NOW) == 2

    ModelCallFactory(unit="ada", started_at=NOW)
    roll_up(now=NOW + timedelta(minutes=1))

    days = reading.series(rollout=NAME, since=NOW - timedelta(days=4), until=NOW + timedelta(hours=1), grain=Grain.DAY)
    assert [day.baseline.people for day in days] == [1, 1]
    assert count_people(now=NOW) == 0


@pytest.mark.django_db
def test_each_batch_is_a_change_that_those_who_ask_can_see(monkeypatch):
    monkeypatch.setattr("metrics.rollup.BATCH", 2)
    ModelCallFactory.create_batch(3)

    seen = []
    for _ in range(2):
        roll_up(now=NOW, batches=1)
        seen.append(RollupState.objects.get().changed_at)

    assert None not in seen
    assert len(set(seen)) == 2
