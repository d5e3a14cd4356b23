"""The roll-ups, with more than one process at them, and one that dies."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection

from metrics import reading
from metrics.models import RollupState
from metrics.people import count_people
from metrics.rebuild import PAUSE, RebuildRefused, rebuild_rollups
from metrics.retention import delete_old_calls
from metrics.rollup import roll_up
from tests.metrics.factories import NOW, ModelCallFactory
from tests.metrics.rollup_steps import NAME, mixed, rebuilt, stored


@pytest.mark.django_db
def test_roll_ups_wait_for_a_rebuild_that_is_alive_and_not_for_a_dead_one():
    RollupState.objects.create(pk=1, rebuilding_until=NOW + PAUSE)
    ModelCallFactory()

    assert roll_up(now=NOW) == 0
    with pytest.raises(RebuildRefused):
        rebuild_rollups(clock=lambda: NOW)
    assert delete_old_calls(now=NOW + timedelta(days=100), days=2) == 0

    assert roll_up(now=NOW + PAUSE) == 1


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_count_each_call_once():
    mixed(60)

    def work(_number: int) -> int:
        try:
            return roll_up(now=NOW)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        counted = sum(pool.map(work, range(8)))
    counted += roll_up(now=NOW)

    assert counted == 60
    count_people(now=NOW)
    assert rebuilt() == stored()
    assert reading.health(rollout=NAME, since=NOW - timedelta(days=3), until=NOW).requests == 60


DIES = """
import os, signal, sys
from datetime import datetime
import django
django.setup()
from metrics import rollup
mark = rollup._mark_counted
def die(calls):
    mark(calls)
    os.kill(os.getpid(), signal.SIGKILL)
rollup._mark_counted = die
rollup.roll_up(now=datetime.fromisoformat(sys.argv[1]))
"""


@pytest.mark.django_db(transaction=True)
def test_a_worker_killed_in_the_middle_of_a_batch_leaves_nothing_half_done():
    """Killed after all sums and marks are written, before they are committed."""
    mixed(30)
    roll_up(now=NOW)
    mixed(30, rating=None, rating_reason="", started_at=NOW - timedelta(minutes=3))
    before = stored()

    with database_in_environment():
        dead = subprocess.run([sys.executable, "-c", DIES, NOW.isoformat()], check=False, capture_output=True)
    assert dead.returncode == -signal.SIGKILL, dead.stderr.decode()
    assert stored() == before

    assert roll_up(now=NOW) == 30
    count_people(now=NOW)
    assert reading.health(rollout=NAME, since=NOW - timedelta(days=3), until=NOW).requests == 60
    assert rebuilt() == stored()


@contextmanager
def database_in_environment() -> Iterator[None]:
    """A process started now finds the test's database."""
    named = connection.settings_dict["NAME"]
    url = (
        f"sqlite:///{named}"
        if connection.vendor == "sqlite"
        else f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{named}"
    )
    before = os.environ["DATABASE_URL"]
    os.environ["DATABASE_URL"] = url
    try:
        yield
    finally:
        os.environ["DATABASE_URL"] = before
