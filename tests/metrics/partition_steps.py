"""Where calls lie, as PostgreSQL says it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import connection

from metrics import partitions
from tests.metrics.factories import NOW

MIDNIGHT = NOW.replace(hour=0)
DAYS = 6


def fetch(statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def names() -> set[str]:
    return {partition.name for partition in partitions.partitions()}


def day(back: int) -> str:
    return f"metrics_modelcall_{MIDNIGHT - timedelta(days=back):%Y%m%d}"


def places() -> dict[Any, str]:
    """Where each call lies."""
    return dict(fetch("SELECT id, tableoid::regclass::text FROM metrics_modelcall"))


@contextmanager
def partitions_back_to(back: int) -> Iterator[None]:
    """Those of the days up to ``NOW``. Tables outlive a flush: all that were made go at the end."""
    before = names()
    partitions.make_partitions(since=NOW - timedelta(days=back), until=NOW)
    yield
    with connection.cursor() as cursor:
        for name in names() - before:
            cursor.execute(f"DROP TABLE {name}")
