"""The suite's own servers and fixtures, on which every other test relies."""

import tempfile
from pathlib import Path

import httpx2
import psycopg
import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection

from rollout.models import Rollout
from tests.conftest import DATABASE, UPSTREAM_URL
from tests.services.postgres import database_url, throwaway_postgres


@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.django_db(transaction=True)
def test_the_default_rollout_is_there_again_after_a_test_that_commits(turn):
    assert Rollout.objects.get().name == settings.DEFAULT_ROLLOUT

    Rollout.objects.all().delete()


@pytest.mark.parametrize("turn", [1, 2])
def test_redis_is_empty_when_a_test_starts(turn):
    assert cache.get("left-behind") is None

    cache.set("left-behind", turn)


@pytest.mark.django_db
def test_the_suite_runs_on_the_database_that_was_asked_for():
    assert connection.vendor == {"sqlite": "sqlite", "postgres": "postgresql"}[DATABASE]


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_finds_a_fresh_upstream(upstream, turn):
    body = {"model": "gpt-5.4", "messages": [{"role": "user", "content": "Hello"}]}
    answer = httpx2.post(f"{UPSTREAM_URL}/v1/chat/completions", json=body, headers={"Authorization": "Bearer key"})

    assert answer.status_code == 200
    assert httpx2.get(f"{UPSTREAM_URL}/_simulator/counts").json()["openai"]["requests"] == 1


def test_a_machine_without_postgresql_runs_the_wheels(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    home = Path(tempfile.mkdtemp(prefix="sluice-tests-"))
    home.rmdir()

    with throwaway_postgres(home), psycopg.connect(database_url(home)) as cluster:
        assert cluster.info.server_version >= 140000

    assert not home.exists()
