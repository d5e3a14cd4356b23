"""Who may read /metrics, and what it says of rollouts."""

import asyncio
import os
import subprocess
import sys
from ipaddress import ip_network
from typing import Any

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from chat.admission import breakers
from rollout.changes import change_rollout
from tests.conftest import ENVIRONMENT, ROOT
from tests.rollout.factories import ADA, RolloutFactory

PATH = "/metrics"


def read(address: str = "127.0.0.1", **headers: str) -> Any:
    return Client(REMOTE_ADDR=address).get(PATH, headers=headers)


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_by_default_this_machine_may_read(address):
    assert read(address).status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["127.0.0.2", "203.0.113.7", "::2", "::ffff:203.0.113.7", "", "nonsense"])
def test_others_may_not(address):
    assert read(address).status_code == 403


@pytest.mark.django_db
def test_networks_may_read_that_are_listed(settings):
    settings.METRICS_ALLOWED_ADDRESSES = [ip_network("10.1.0.0/16"), ip_network("fd00::/8")]

    assert [read(address).status_code for address in ("10.1.2.3", "fd00::7")] == [200, 200]
    assert [read(address).status_code for address in ("10.2.0.1", "127.0.0.1")] == [403, 403]


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["127.0.0.1", "203.0.113.7"])
@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Forwarded-Proto", "Forwarded"])
def test_an_address_counts_for_nothing_behind_a_proxy(address, header):
    assert read(address, **{header: "127.0.0.1"}).status_code == 403


@pytest.mark.django_db
def test_where_there_is_a_token_it_alone_counts(settings):
    settings.METRICS_TOKEN = "a token"

    assert read("203.0.113.7", Authorization="Bearer a token").status_code == 200
    assert read("203.0.113.7", **{"Authorization": "Bearer a token", "X-Forwarded-For": "::1"}).status_code == 200
    for wrong in ("Bearer another", "Bearer ", "Bearer", "", "a token", "Basic a token", "Bearer a token\xff"):
        assert read(Authorization=wrong).status_code == 403
    assert read().status_code == 403


@pytest.mark.django_db
def test_without_a_token_a_bearer_header_opens_nothing():
    assert read("203.0.113.7", Authorization="Bearer ").status_code == 403


@pytest.mark.django_db
def test_it_is_read_only_and_never_kept():
    assert Client().post(PATH).status_code == 405
    assert "no-store" in read()["Cache-Control"]


@pytest.mark.django_db
def test_rollouts_say_where_they_stand():
    RolloutFactory(name="quiet", everyone=False)
    change_rollout("gemini-flash-lite", {"percent": "12.5"}, actor=ADA)

    def figures() -> dict[tuple[str, str], float]:
        return {
            (sample.name, sample.labels["rollout"]): sample.value
            for family in text_string_to_metric_families(read().content.decode())
            for sample in family.samples
            if family.name.startswith("sluice_rollout_") and sample.labels["candidate"] == "gemini-flash-lite"
        }

    assert figures() == {
        ("sluice_rollout_percent", "gemini-flash-lite"): 12.5,
        ("sluice_rollout_enabled", "gemini-flash-lite"): 1,
        ("sluice_rollout_forced", "gemini-flash-lite"): 0,
        ("sluice_rollout_percent", "quiet"): 5,
        ("sluice_rollout_enabled", "quiet"): 0,
        ("sluice_rollout_forced", "quiet"): 0,
    }
    change_rollout("gemini-flash-lite", {"forced": True}, actor=ADA)
    assert figures()["sluice_rollout_forced", "gemini-flash-lite"] == 1


@pytest.mark.django_db(transaction=True)
def test_breakers_say_where_they_stand_and_how_often_they_changed(settings):
    settings.BREAKER_FAILURES = 1

    def figures() -> dict[tuple[str, str, str], float]:
        return {
            (sample.name, sample.labels["upstream"], sample.labels["state"]): sample.value
            for family in text_string_to_metric_families(read().content.decode())
            for sample in family.samples
            if family.name.startswith("sluice_breaker_")
        }

    assert figures()["sluice_breaker_state", "gemini-flash-lite", "closed"] == 1
    assert figures()["sluice_breaker_changes_total", "gemini-flash-lite", "open"] == 0
    asyncio.run(breakers.note("gemini-flash-lite", "failed", ""))

    found = figures()
    assert {state: found["sluice_breaker_state", "gemini-flash-lite", state] for state in ("closed", "open")} == {
        "closed": 0,
        "open": 1,
    }
    assert found["sluice_breaker_state", "chat-model", "closed"] == 1
    assert found["sluice_breaker_changes_total", "gemini-flash-lite", "open"] == 1


def settings_with(**environment: str) -> "subprocess.CompletedProcess[str]":
    """Read the settings in a process of their own, where no .env is near."""
    code = "from unittest import mock; from environs import Env; mock.patch.object(Env, 'read_env').start();"
    code += "from config import settings as s; print(*s.METRICS_ALLOWED_ADDRESSES)"
    environment = {**ENVIRONMENT, "PATH": os.environ["PATH"], **environment}
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_addresses_are_read_from_the_environment():
    read = settings_with(METRICS_ALLOWED_ADDRESSES="10.1.0.0/16, fd00::7")

    assert read.stdout.split() == ["10.1.0.0/16", "fd00::7/128"], read.stderr


def test_a_breaker_that_could_never_open_is_refused():
    read = settings_with(BREAKER_ATTEMPTS="5", BREAKER_FAILURES="6", BREAKER_LONGEST_COOL_DOWN_S="1")

    assert read.returncode != 0
    assert "BREAKER_FAILURES" in read.stderr
    assert "BREAKER_LONGEST_COOL_DOWN_S" in read.stderr


def test_a_network_that_is_none_is_reported_with_all_other_bad_values():
    read = settings_with(METRICS_ALLOWED_ADDRESSES="127.0.0.1,10.1.2.3/8", CONNECT_TIMEOUT_S="soon")

    assert read.returncode != 0
    assert "10.1.2.3/8 has host bits set" in read.stderr
    assert "CONNECT_TIMEOUT_S" in read.stderr
