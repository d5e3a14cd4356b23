"""What one person or application got is found by an index, also in tables that had calls before there was one."""

import importlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connection

from metrics.models import ModelCall
from metrics.partitions import make_partitions
from tests.conftest import DATABASE
from tests.metrics.factories import NOW, ModelCallFactory
from tests.metrics.partition_steps import day, fetch, partitions_back_to

pytestmark = [
    # Indexes beside writers are made in no transaction.
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(DATABASE != "postgres", reason="SQLite has no partitions"),
]

VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = '{0}'::regclass"
PARTS = """
SELECT indrelid::regclass::text, pg_get_indexdef(indexrelid)
FROM pg_inherits JOIN pg_index ON indexrelid = inhrelid WHERE inhparent = '{0}'::regclass
"""
INDEXES = {"call_by_unit": "(unit, started_at DESC)", "call_by_application": "(application, started_at DESC) WHERE"}


@pytest.fixture(autouse=True)
def days() -> Iterator[None]:
    """Partitions of two days."""
    with partitions_back_to(1):
        yield


def migrate(direction: str) -> None:
    migration: Any = importlib.import_module("metrics.migrations.0013_calls_by_unit_and_application")
    with connection.schema_editor(atomic=False) as editor:
        getattr(migration, direction)(apps, editor)


def test_each_partition_gets_its_part_and_a_try_that_broke_off_is_gone_on_with():
    migrate("remove")
    calls = [ModelCallFactory(started_at=NOW - timedelta(days=back)) for back in (0, 1, 400)]
    with connection.cursor() as cursor:
        cursor.execute("CREATE INDEX call_by_unit ON ONLY metrics_modelcall (unit, started_at DESC)")
        cursor.execute(f"CREATE INDEX {day(1)}_call_by_unit ON {day(1)} (arm)")
    assert fetch(VALID.format("call_by_unit")) == [(False,)]

    migrate("add")
    migrate("add")

    for name, columns in INDEXES.items():
        assert fetch(VALID.format(name)) == [(True,)]
        parts = dict(fetch(PARTS.format(name)))
        assert {day(0), day(1), "metrics_modelcall_default"} <= set(parts)
        assert all(columns in definition for definition in parts.values())
    assert set(ModelCall.objects.values_list("pk", flat=True)) == {call.pk for call in calls}


def test_a_partition_that_is_made_later_has_them_too():
    make_partitions(since=NOW + timedelta(days=1), until=NOW + timedelta(days=1, minutes=1))

    for name in INDEXES:
        assert day(-1) in dict(fetch(PARTS.format(name)))


def test_staffs_search_reads_no_more_than_it_finds(rf: Any):
    of_person, of_application = ModelCallFactory(unit="a" * 32), ModelCallFactory(application="sk-sluice-abcde")
    ModelCallFactory()
    site: Any = admin.site.get_model_admin(ModelCall)

    for term, call in (("a" * 32, of_person), ("sk-sluice-abcde", of_application)):
        found, _distinct = site.get_search_results(rf.get("/"), ModelCall.objects.all(), term)
        assert list(found) == [call]
        with connection.cursor() as cursor:
            # Of three calls, to read them all is the cheapest.
            cursor.execute("SET enable_seqscan = off")
            plan = found.explain()
            cursor.execute("RESET enable_seqscan")
        assert "Seq Scan" not in plan
        assert "unit_started_at" in plan or "call_by_unit" in plan
