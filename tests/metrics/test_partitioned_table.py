"""A table that has calls already becomes one of partitions, and no call moves that need not."""

import importlib
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from metrics import partitions, retention
from metrics.models import ModelCall
from metrics.partitions import make_coming_partitions, make_partitions
from metrics.retention import delete_old_calls
from metrics.rollup import roll_up
from tests.conftest import DATABASE
from tests.metrics.factories import NOW, ModelCallFactory
from tests.metrics.partition_steps import fetch, names, places

pytestmark = pytest.mark.skipif(DATABASE != "postgres", reason="SQLite has no partitions")


@pytest.fixture
def older_table(db: None) -> None:
    """A table of calls as it was before there were partitions, in a schema in front of the real one."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA older; SET LOCAL search_path = older, public")
    with connection.schema_editor() as editor:
        editor.create_model(ModelCall)


def migrate() -> None:
    migration: Any = importlib.import_module("metrics.migrations.0006_partitions_of_calls")
    with connection.schema_editor() as editor:
        migration.partition(None, editor)


INDEX_FILES = """
SELECT pg_relation_filenode(indexrelid) FROM pg_index WHERE indrelid = '{table}'::regclass ORDER BY 1
"""


@pytest.mark.usefixtures("older_table")
def test_a_table_with_calls_becomes_a_partition_as_it_is():
    now = timezone.now()
    ModelCallFactory.create_batch(3, started_at=now - timedelta(days=3))
    ModelCallFactory(running=True, started_at=now)
    ahead = ModelCallFactory(started_at=now + timedelta(days=2))
    before = list(ModelCall.objects.order_by("id").values())
    file = fetch("SELECT pg_relation_filenode('metrics_modelcall')")
    index_files = fetch(INDEX_FILES.format(table="metrics_modelcall"))

    migrate()

    assert list(ModelCall.objects.order_by("id").values()) == before
    assert fetch("SELECT pg_relation_filenode('metrics_modelcall_before')") == file
    assert fetch(INDEX_FILES.format(table="metrics_modelcall_before")) == index_files
    assert Counter(places().values()) == {"metrics_modelcall_before": 4, "metrics_modelcall_default": 1}

    migrate()
    assert make_coming_partitions(now=now) == partitions.DAYS_AHEAD
    assert places()[ahead.pk] == f"metrics_modelcall_{ahead.started_at:%Y%m%d}"
    assert list(ModelCall.objects.order_by("id").values()) == before


@pytest.mark.usefixtures("older_table")
def test_indexes_and_checks_are_those_of_the_model_in_every_partition():
    ModelCallFactory()
    migrate()
    make_partitions(since=timezone.now(), until=timezone.now() + timedelta(days=1))

    with connection.cursor() as cursor:
        found = {
            name: connection.introspection.get_constraints(cursor, name)
            for name in ("metrics_modelcall", "metrics_modelcall_default", *names())
        }
    assert len(found) == 4
    kinds = {name: Counter(kind(constraint) for constraint in of.values()) for name, of in found.items()}
    keys = {"primary": 1, "unique": 1}
    assert all(
        of == {**kinds["metrics_modelcall"], **keys} for name, of in kinds.items() if name != "metrics_modelcall"
    )
    wanted = {index.name for index in ModelCall._meta.indexes}
    assert wanted <= set(found["metrics_modelcall"])
    assert {"rating_from_1_to_5", "ended_calls_have_an_outcome"} <= set(found["metrics_modelcall_default"])


def kind(constraint: Any) -> str:
    return next(name for name in ("primary_key", "unique", "index", "check") if constraint[name]).removesuffix("_key")


@pytest.mark.usefixtures("older_table")
def test_what_was_there_before_goes_in_batches_and_its_table_last(monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    ModelCallFactory.create_batch(3, started_at=timezone.now() - timedelta(days=3))
    migrate()
    roll_up(now=NOW)
    later = timezone.now() + timedelta(days=10)

    assert delete_old_calls(now=later, days=2) == 3
    assert "metrics_modelcall_before" in names()
    assert delete_old_calls(now=later, days=2) == 0
    assert "metrics_modelcall_before" not in names()
