"""Figures from a read replica: PostgreSQL's own, streaming; on SQLite a copy that stays as it is."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, connection, connections
from django.db.utils import load_backend

from metrics import reading, replica
from metrics.export import Export, pages
from metrics.models import ModelCall
from metrics.replica import MOST_LAG, from_replica
from metrics.rollup import roll_up
from rollout import services
from rollout.changes import Actor, change_rollout
from rollout.dashboard import DEFAULT_RANGE, RANGES, dashboard, fingerprint
from rollout.report_document import document_of
from tests.conftest import HOME, POSTGRES_HOME, ROOT
from tests.metrics.factories import NOW, ModelCallFactory
from tests.rollout.steps import NAME
from tests.services.postgres import streaming_replica
from tests.services.stack import url_of

pytestmark = pytest.mark.django_db(transaction=True)
IS_POSTGRES = settings.DATABASES["default"]["ENGINE"].endswith("postgresql")
SOON = NOW + timedelta(seconds=20)


class Replica:
    """``freeze`` makes it stand still, ``go_on`` take what has come since, ``stop`` answer nobody."""

    def __init__(self, running: ExitStack) -> None:
        self.stop = running.close

    def freeze(self) -> None:
        # In the midst of a lock, as when the primary cuts off a table's empty end, readers would wait for ever.
        while IS_POSTGRES and self._stops_in_a_lock():
            self.go_on()
            time.sleep(0.02)

    def _stops_in_a_lock(self) -> bool:
        self._ask("SELECT pg_wal_replay_pause()")
        while self._ask("SELECT pg_get_wal_replay_pause_state()") != "paused":
            time.sleep(0.01)
        return bool(self._ask("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"))

    def go_on(self) -> None:
        self._ask("SELECT pg_wal_replay_resume()")

    def _ask(self, sql: str) -> Any:
        with connections[replica.ALIAS].cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0]


@pytest.fixture
def replicate(transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    """Makes a replica that has what the database has by then, and the settings name it."""
    replica._pause.end()
    with ExitStack() as running:

        def make() -> Replica:
            copied = {**connection.settings_dict, "OPTIONS": {**connection.settings_dict["OPTIONS"]}}
            if IS_POSTGRES:
                home = HOME.with_name(f"{HOME.name}-replica")
                running.enter_context(streaming_replica(home, of=POSTGRES_HOME))
                copied["HOST"] = str(home)
                copied["OPTIONS"]["pool"] = {"min_size": 0, "max_size": 2, "timeout": 1}
            else:
                copied["NAME"] = str(tmp_path / "replica.sqlite3")
                with sqlite3.connect(copied["NAME"]) as copy:
                    connection.ensure_connection()
                    connection.connection.backup(copy)
                copy.close()
                # In a folder that is not there, no file is made.
                running.callback(lambda: copied.update(NAME=str(tmp_path / "nowhere" / "replica.sqlite3")))
            # Named in the settings alone, where the code looks: Django's tests let nobody use a database that they did
            # not know at their start, but for one that was made by hand.
            monkeypatch.setattr(settings, "DATABASES", {**settings.DATABASES, replica.ALIAS: copied})
            made = load_backend(copied["ENGINE"]).DatabaseWrapper(copied, replica.ALIAS)
            connections[replica.ALIAS] = made
            running.callback(_close, made)
            return Replica(running)

        yield make
    if replica.ALIAS in settings.DATABASES:
        _close(connections[replica.ALIAS])
        del connections[replica.ALIAS]


def _close(made: Any) -> None:
    made.close()
    if IS_POSTGRES:
        made.close_pool()


def calls(number: int, *, rolled_at: datetime) -> None:
    ModelCallFactory.create_batch(number, candidate=True)
    roll_up(now=rolled_at)


def shown() -> tuple[int, datetime | None]:
    """How many requests the dashboard shows, and as of when."""
    health = dashboard(NAME, RANGES[DEFAULT_RANGE], now=SOON).current.health
    return health.requests, health.as_of


def test_dashboards_reports_and_exports_show_the_replicas_figures_and_what_acts_the_primarys(replicate):
    calls(3, rolled_at=NOW)
    replicate().freeze()
    before = fingerprint(NAME, now=NOW)

    calls(1, rolled_at=SOON)

    assert shown() == (3, NOW)
    assert fingerprint(NAME, now=NOW) == before
    day = document_of("daily", NAME, NOW.date(), earlier=None)
    assert day["arms"]["candidate"]["requests"] == 3
    everything = Export(format="csv", since=None, until=SOON, rollout=None)
    assert [len(page) for page in pages(everything)] == [3]
    hours = services.trend(NAME, hours=2, now=SOON)
    assert sum(hour["candidate"]["requests"] for hour in hours) == 3

    status = services.status(NAME, now=SOON)
    assert (status.health.requests, status.health.as_of) == (4, SOON)
    assert reading.evidence(rollout=NAME, run=1).stretches[0].candidate.total("n") > 0


def test_the_replica_is_named_in_the_environment(replicate):
    calls(3, rolled_at=NOW)
    replicate().freeze()
    calls(1, rolled_at=SOON)
    urls = {"DATABASE_URL": connection.settings_dict, "DATABASE_REPLICA_URL": settings.DATABASES[replica.ALIAS]}
    environment = {**os.environ, **{name: url_of(known) for name, known in urls.items()}}

    command = [sys.executable, "manage.py", "export_calls", "--to", SOON.isoformat()]
    exported = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)

    assert exported.returncode == 0, exported.stderr
    assert len(exported.stdout.splitlines()) == 1 + 3


def test_how_a_rollout_is_set_is_never_old(replicate):
    calls(3, rolled_at=NOW)
    replicate().freeze()

    change_rollout(NAME, {"enabled": False}, actor=Actor(name="test", source="cli"))

    assert dashboard(NAME, RANGES[DEFAULT_RANGE], now=SOON).current.rollout.is_on is False


def test_a_replica_that_is_far_behind_is_not_read_and_the_log_says_so_once(replicate, caplog):
    calls(3, rolled_at=NOW)
    replicate().freeze()
    late = NOW + MOST_LAG + timedelta(seconds=1)

    calls(1, rolled_at=late)

    assert [shown(), shown()] == [(4, late), (4, late)]
    (told,) = said(caplog)
    assert "its figures stand as of" in told


def test_a_replica_that_is_gone_is_stood_in_for_and_the_log_says_so_once(replicate, caplog):
    calls(3, rolled_at=NOW)
    replicate().stop()

    assert [shown(), shown()] == [(3, NOW), (3, NOW)]
    assert said(caplog) == ["The primary is read in the read replica's place: it does not answer: OperationalError"]


def test_a_replica_that_fails_in_the_middle_is_stood_in_for(replicate, caplog):
    calls(3, rolled_at=NOW)
    replicate().freeze()
    calls(1, rolled_at=SOON)
    counted = []

    @from_replica
    def count() -> int:
        counted.append(ModelCall.objects.count())
        if counted == [3]:
            raise OperationalError("canceling statement due to conflict with recovery")
        return counted[-1]

    assert count() == 4
    assert counted == [3, 4]
    assert said(caplog) == ["The primary is read in the read replica's place: it failed: OperationalError"]


@pytest.mark.skipif(not IS_POSTGRES, reason="SQLite has no replicas: the copy that stands for one stays as it is")
def test_a_replica_takes_what_comes(replicate):
    calls(3, rolled_at=NOW)
    standby = replicate()
    standby.freeze()
    calls(1, rolled_at=SOON)
    assert shown() == (3, NOW)

    standby.go_on()

    deadline = time.monotonic() + 20
    while shown() == (3, NOW) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert shown() == (4, SOON)


def test_without_a_replica_the_primary_is_read(caplog):
    calls(3, rolled_at=NOW)

    assert shown() == (3, NOW)
    assert not said(caplog)


def test_what_is_written_is_written_to_the_primary(replicate):
    replicate().freeze()
    calls(3, rolled_at=NOW)

    @from_replica
    def write() -> Any:
        return ModelCallFactory()._state.db

    assert write() == "default"


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "metrics.replica"]
