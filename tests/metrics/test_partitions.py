"""Partitions of calls by day: what PostgreSQL does with them, and that no figure notices."""

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

import psycopg
import pytest
from django.db import connection, transaction
from django.utils import timezone

from metrics import partitions, people, prometheus, reading, retention, services
from metrics.failures import recent_failures
from metrics.models import ModelCall
from metrics.partitions import TableBusy, make_coming_partitions, make_partitions
from metrics.people import count_people
from metrics.retention import delete_old_calls
from metrics.rollup import roll_up
from tests.conftest import DATABASE
from tests.metrics.factories import NOW, ModelCallFactory
from tests.metrics.partition_steps import DAYS, MIDNIGHT, day, fetch, names, partitions_back_to, places
from tests.metrics.rollup_steps import NAME, mixed, rebuilt, stored

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(DATABASE != "postgres", reason="SQLite has no partitions"),
]

T = TypeVar("T")


def elsewhere(work: Callable[[], T]) -> T:
    """Do it on another connection, and wait for it."""

    def run() -> T:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


@pytest.fixture
def days(request: pytest.FixtureRequest) -> Iterator[None]:
    """Partitions of the days up to ``NOW``."""
    request.getfixturevalue("transactional_db" if "transactional_db" in request.fixturenames else "db")
    with partitions_back_to(DAYS):
        yield


# --- where calls lie ---


@pytest.mark.usefixtures("days")
def test_a_call_lies_in_its_day():
    late = ModelCallFactory(started_at=MIDNIGHT - timedelta(microseconds=1))
    early = ModelCallFactory(started_at=MIDNIGHT)
    lost = ModelCallFactory(started_at=NOW - timedelta(days=400))

    assert places() == {late.pk: day(1), early.pk: day(0), lost.pk: "metrics_modelcall_default"}


def test_calls_that_came_before_their_partition_move_into_it():
    call = ModelCallFactory(started_at=NOW)
    other = ModelCallFactory(started_at=NOW - timedelta(days=1))
    assert set(places().values()) == {"metrics_modelcall_default"}
    row = ModelCall.objects.filter(pk=call.pk).values()

    before = row.get()
    assert make_partitions(since=NOW, until=NOW + timedelta(minutes=1)) == 1

    assert places() == {call.pk: day(0), other.pk: "metrics_modelcall_default"}
    assert row.get() == before
    assert make_partitions(since=NOW, until=NOW + timedelta(minutes=1)) == 0


def test_today_and_the_coming_week_have_partitions_from_the_first_migration_on():
    today = f"metrics_modelcall_{timezone.now():%Y%m%d}"

    assert today in names()
    assert partitions.days_ahead(now=timezone.now()) >= partitions.DAYS_AHEAD - 1


@pytest.mark.usefixtures("days")
def test_statements_touch_only_the_partitions_they_need():
    call = ModelCallFactory(running=True, started_at=NOW - timedelta(days=2))
    ended = services.CallEnd(outcome="ok", ended_at=NOW)

    assert touched(lambda: services.close_call(call.pk, ended, started_at=call.started_at)) == {day(2)}
    since, until = MIDNIGHT - timedelta(days=3), MIDNIGHT - timedelta(days=1)
    window: dict[str, Any] = {"rollout": NAME, "arm": "baseline", "reason": "percentage"}
    assert touched(lambda: people.people_between(**window, since=since, until=until)) == {day(3), day(2)}
    ModelCallFactory.create_batch(2, failed=True, started_at=NOW - timedelta(minutes=1))
    newest: dict[str, Any] = {"rollout": NAME, "since": NOW - timedelta(days=30), "now": NOW, "limit": 2}
    assert touched(lambda: recent_failures(**newest)) & set(map(day, range(2, DAYS))) == set()
    roll_up(now=NOW)
    ModelCallFactory(started_at=NOW - timedelta(days=4))
    assert {day(4)} == set().union(
        *(
            relations(sql)
            for sql in statements(lambda: roll_up(now=NOW))
            if sql.startswith("UPDATE") and "counted" in sql
        )
    )


def touched(work: Callable[[], Any]) -> set[str]:
    return set().union(*(relations(sql) for sql in statements(work) if "metrics_modelcall" in sql))


def statements(work: Callable[[], Any]) -> list[str]:
    """With their values; of one that is sent with many, each."""
    sent: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        cursor = psycopg.ClientCursor(context["connection"].connection)
        sent.extend(cursor.mogrify(sql, values) for values in (params if many else [params]))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        work()
    return sent


def relations(sql: str) -> set[str]:
    def walk(node: dict[str, Any]) -> Iterator[str]:
        # The update itself names the table as a whole.
        if "Relation Name" in node and node["Node Type"] != "ModifyTable":
            yield node["Relation Name"]
        for child in node.get("Plans", ()):
            yield from walk(child)

    ((plan,),) = fetch(f"EXPLAIN (FORMAT JSON) {sql}")
    (whole,) = json.loads(plan) if isinstance(plan, str) else plan
    return set(walk(whole["Plan"]))


# --- old days ---


@pytest.mark.usefixtures("days")
def test_old_days_are_dropped_and_no_figure_changes(monkeypatch):
    monkeypatch.setattr(retention, "CHUNK", 7)
    mixed(150)
    in_default = ModelCallFactory(started_at=NOW - timedelta(days=60), unit="gone", rating=2)
    roll_up(now=NOW)
    count_people(now=NOW)
    before = stored()
    seen, evidence, totals = figures()
    batches = statements(lambda: delete_old_calls(now=NOW, days=2))

    assert names() & {day(back) for back in range(DAYS + 1)} == {day(0), day(1), day(2)}
    deletes = [sql for sql in batches if sql.startswith("DELETE") and "modelcall" in sql]
    assert len(deletes) == 1
    assert in_default.pk.hex in deletes[0]
    assert ModelCall.objects.earliest("started_at").started_at >= MIDNIGHT - timedelta(days=2)

    assert figures() == (seen, evidence, totals)
    assert {name: stored()[name] for name in ("FirstSeen", "Window")} == {
        name: before[name] for name in ("FirstSeen", "Window")
    }
    remembered = stored()
    assert rebuilt() == remembered
    assert figures() == (seen, evidence, totals)


def figures() -> tuple[Any, Any, Any]:
    """Status, evidence of a decision, and counters: all that is read; but not the window, which holds calls alone."""
    health = reading.health(rollout=NAME, since=NOW - timedelta(days=90), until=NOW)
    evidence = reading.evidence(rollout=NAME, run=1).stretches
    return (health.baseline, health.candidate), evidence, sorted(map(repr, reading.call_totals()))


@pytest.mark.usefixtures("days")
def test_a_crash_between_adding_up_and_dropping_changes_nothing(monkeypatch):
    mixed(150)
    roll_up(now=NOW)
    before, there, calls = stored(), names(), set(places())

    def crash(_partition: partitions.Partition) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(partitions, "drop", crash)
        with pytest.raises(ZeroDivisionError):
            delete_old_calls(now=NOW, days=2)
    assert (stored(), names(), set(places())) == (before, there, calls)

    seen = figures()
    assert delete_old_calls(now=NOW, days=2) > 0
    assert figures() == seen
    assert rebuilt() == stored()


@pytest.mark.usefixtures("days")
@pytest.mark.parametrize("waiting", ["running", "ended", "rated"])
def test_a_day_stays_whole_until_all_its_calls_are_counted(waiting):
    old = NOW - timedelta(days=4)
    counted = ModelCallFactory.create_batch(2, started_at=old)
    roll_up(now=NOW)
    if waiting == "rated":
        services.rate(counted[0].answer_id, 2, "slow")
    else:
        late = ModelCallFactory(running=waiting == "running", started_at=old)

    assert delete_old_calls(now=NOW, days=2) == 0
    assert day(4) in names()
    assert day(3) not in names()

    if waiting == "running":
        services.close_call(late.pk, services.CallEnd(outcome="ok", ended_at=NOW), started_at=old)
    roll_up(now=NOW)
    seen = figures()
    assert delete_old_calls(now=NOW, days=2) == ModelCall.objects.count() + (2 if waiting == "rated" else 3)
    assert day(4) not in names()
    assert figures() == seen
    assert rebuilt() == stored()


# --- more than one at it ---


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("transactional_db", "days")
def test_a_rating_that_comes_while_a_day_is_added_up_is_not_lost(monkeypatch):
    call = ModelCallFactory(started_at=NOW - timedelta(days=4))
    roll_up(now=NOW)
    keep = retention._keep_sums

    def rated_meanwhile(calls: Any) -> None:
        keep(calls)
        elsewhere(lambda: services.rate(call.answer_id, 1, "slow"))

    with monkeypatch.context() as slow:
        slow.setattr(retention, "_keep_sums", rated_meanwhile)
        assert delete_old_calls(now=NOW, days=2) == 0
    assert day(4) in names()

    roll_up(now=NOW)
    assert delete_old_calls(now=NOW, days=2) == 1
    health = reading.health(rollout=NAME, since=NOW - timedelta(days=9), until=NOW)
    assert health.baseline.ratings_by_star == {"1": 1}
    assert rebuilt() == stored()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("transactional_db", "days")
def test_a_long_reader_is_not_waited_for(caplog):
    ModelCallFactory(started_at=NOW - timedelta(days=4))
    roll_up(now=NOW)
    caplog.set_level(logging.INFO, "metrics")

    with transaction.atomic():
        assert ModelCall.objects.exists()
        assert elsewhere(lambda: delete_old_calls(now=NOW, days=2)) == 0
        assert day(4) in names()
    assert "the table is busy" in caplog.text

    assert delete_old_calls(now=NOW, days=2) == 1
    assert day(4) not in names()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("transactional_db", "days")
def test_a_long_writer_is_not_waited_for_and_a_missing_tomorrow_is_said(caplog):
    with transaction.atomic():
        ModelCallFactory()
        tomorrow = NOW + timedelta(days=1)
        with pytest.raises(TableBusy):
            elsewhere(lambda: make_partitions(since=tomorrow, until=tomorrow + timedelta(days=1)))
        assert elsewhere(lambda: make_coming_partitions(now=NOW)) == 0
    assert "Tomorrow's calls have no partition" in caplog.text
    assert days_ahead_told() == 0

    caplog.clear()
    assert make_coming_partitions(now=NOW) > 0
    assert not caplog.records
    assert days_ahead_told() >= partitions.DAYS_AHEAD - 1


def days_ahead_told() -> float:
    (told,) = [family for family in prometheus.families(now=NOW) if family.name == "sluice_partition_days_ahead"]
    return float(told.samples[0].value)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("transactional_db", "days")
def test_workers_at_once_make_each_partition_once_and_drop_each_day_once():
    mixed(150)
    roll_up(now=NOW)
    seen, old = figures(), ModelCall.objects.filter(started_at__lt=MIDNIGHT - timedelta(days=2)).count()
    coming = NOW + timedelta(days=400)

    def work(number: int) -> int:
        if number % 2:
            return elsewhere(lambda: delete_old_calls(now=NOW, days=2))
        return 1000 * elsewhere(lambda: make_partitions(since=coming, until=coming + timedelta(days=1)))

    with ThreadPoolExecutor(6) as pool:
        done = sum(pool.map(work, range(6)))

    made = make_partitions(since=coming, until=coming + timedelta(days=1))
    assert done + 1000 * made + delete_old_calls(now=NOW, days=2) == 2000 + old
    assert figures() == seen
    assert rebuilt() == stored()
