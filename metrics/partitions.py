"""The table of calls on PostgreSQL: one partition a UTC day, made ahead and dropped when old.

Part of metrics' services. Knows the catalogue and locks, nothing of what a call says. Elsewhere (SQLite) there are no
partitions, and nothing is done. A call whose day has none lands in the default partition, so that no insert ever fails
for want of one.

Sources: PostgreSQL's manual, "Table Partitioning" and "Explicit Locking".
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import OperationalError, connection, transaction
from django.db.models import Q

from metrics.slices import Grain, floor

DAYS_AHEAD = 7
# Whoever waits for a lock on the whole table makes all who come later wait behind it.
LOCK_TIMEOUT_MS = 500
_LOCK_NOT_AVAILABLE = "55P03"

logger = logging.getLogger(__name__)

_BOUNDS = """
SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class JOIN pg_inherits ON inhrelid = oid
WHERE inhparent = to_regclass('metrics_modelcall') ORDER BY relname
"""
_BOUND = re.compile(r"FROM \((?:MINVALUE|'(?P<since>[^']+)')\) TO \('(?P<until>[^']+)'\)")

# Each partition has keys of its own: one of the whole table would have to hold started_at, and then guards nothing.
_CREATE = """
CREATE TABLE {name} (LIKE metrics_modelcall INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING CONSTRAINTS);
ALTER TABLE {name} ADD PRIMARY KEY (id), ADD UNIQUE (answer_id, attempt)
"""
# Once nobody writes, no call is on its way into the default partition.
_ATTACH = """
LOCK TABLE ONLY metrics_modelcall IN SHARE ROW EXCLUSIVE MODE;
WITH moved AS (
    DELETE FROM metrics_modelcall_default WHERE started_at >= '{since}' AND started_at < '{until}' RETURNING *
)
INSERT INTO {name} SELECT * FROM moved;
ALTER TABLE metrics_modelcall ATTACH PARTITION {name} FOR VALUES FROM ('{since}') TO ('{until}')
"""


class TableBusy(Exception):
    """Somebody works on the table for longer than we may make others wait; try again later."""


@dataclass(frozen=True, kw_only=True)
class Partition:
    """The calls that started from ``since`` (``None``: from ever) on and before ``until``, UTC midnights."""

    name: str
    since: datetime | None
    until: datetime

    @property
    def condition(self) -> Q:
        """What is true of its calls, and lets PostgreSQL look into no other partition."""
        before = Q(started_at__lt=self.until)
        return before if self.since is None else before & Q(started_at__gte=self.since)


def is_partitioned() -> bool:
    """Not on SQLite, nor while migrations are not all there."""
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass('metrics_modelcall')")
        found = cursor.fetchone()
    return found is not None and bool(found[0])


def partitions() -> list[Partition]:
    """All but the default one, oldest first."""
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute(_BOUNDS)
        # One that is dropped at this moment has a name and no bound any more.
        found = [(name, _BOUND.search(bound or "")) for name, bound in cursor.fetchall()]
    known = [
        Partition(name=name, since=_moment(bound["since"]), until=datetime.fromisoformat(bound["until"]))
        for name, bound in found
        if bound is not None
    ]
    return sorted(known, key=lambda partition: partition.until)


def days_ahead(*, now: datetime) -> int:
    """How many of the coming UTC days have a partition, up to the first without; 0 is too late."""
    covered, days = partitions(), 0
    while _covering(covered, floor(now, Grain.DAY) + (days + 1) * Grain.DAY.length):
        days += 1
    return days


def make_partitions(*, since: datetime, until: datetime) -> int:
    """Make the partition of each UTC day from the one that holds ``since`` on to before ``until``, where it is missing.

    Calls of that day that are in the default partition move. Returns how many were made. Raises TableBusy, with those
    made that could be.
    """
    if not is_partitioned():
        return 0
    covered, made, day = partitions(), 0, floor(since, Grain.DAY)
    while day < until:
        made += not _covering(covered, day) and _make(day)
        day += Grain.DAY.length
    return made


def make_coming_partitions(*, now: datetime) -> int:
    """Make those of today and the coming week, and warn when tomorrow's is missing after all. Returns how many."""
    made = 0
    try:
        made = make_partitions(since=now, until=now + DAYS_AHEAD * Grain.DAY.length)
    except TableBusy:
        logger.info("The table of calls is busy: its coming partitions are made later")
    if is_partitioned() and not days_ahead(now=now):
        logger.warning("Tomorrow's calls have no partition: they will wait in the default one until it is made")
    return made


@contextmanager
def exclusively() -> Iterator[None]:
    """Hold the table against everybody, in the caller's transaction and to its end. Raises TableBusy.

    Does so only for what takes a moment: every answer begins with a call.
    """
    with _impatient(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE ONLY metrics_modelcall IN ACCESS EXCLUSIVE MODE")
        yield


def drop(partition: Partition) -> None:
    """Let a partition go with all its calls, inside ``exclusively``."""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {connection.ops.quote_name(partition.name)}")


def _make(day: datetime) -> bool:
    """False if another process has made it meanwhile."""
    names = {
        "name": f"metrics_modelcall_{day:%Y%m%d}",
        "since": day.isoformat(),
        "until": (day + Grain.DAY.length).isoformat(),
    }
    with transaction.atomic(), _impatient(), connection.cursor() as cursor:
        # One process at a time makes partitions; calls are written all the same.
        cursor.execute("LOCK TABLE ONLY metrics_modelcall IN SHARE UPDATE EXCLUSIVE MODE")
        if _covering(partitions(), day):
            return False
        cursor.execute(_CREATE.format(**names))
        cursor.execute(_ATTACH.format(**names))
    return True


@contextmanager
def _impatient() -> Iterator[None]:
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
        yield
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise TableBusy from error
        raise


def _covering(covered: list[Partition], day: datetime) -> bool:
    return any(part.until > day and (part.since is None or part.since <= day) for part in covered)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
