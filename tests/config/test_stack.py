import sys
from pathlib import Path

import pytest

from config.stack import (
    StackError,
    announcement,
    children,
    is_free,
    lock_checkout,
    simulator_environment,
    unset_providers,
    web_port,
)
from tests.services.live import reserve_port

KEYS = {"OPENAI_API_KEY": "sk-one", "GEMINI_API_KEY": "two"}


@pytest.fixture
def taken_port():
    with reserve_port() as listener:
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    with reserve_port() as listener:
        return int(listener.getsockname()[1])


def names(environment: dict[str, str], *, demo: bool = False) -> list[str]:
    return [child.name for child in children(environment=environment, port=8000, demo=demo)]


def test_a_port_with_a_listener_is_not_free(taken_port, free_port):
    assert not is_free(taken_port)
    assert is_free(free_port)


def test_a_taken_port_is_refused_in_one_line_that_names_the_way_out(taken_port):
    with pytest.raises(StackError) as refusal:
        web_port({"PORT": str(taken_port)})

    assert str(refusal.value) == f"Port {taken_port} is taken or not allowed. Choose another one: PORT=9000 make run"


def test_the_port_comes_from_the_environment(free_port):
    assert web_port({"PORT": str(free_port)}) == free_port


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", "80.5", "٨٠٠٠"])
def test_what_is_no_port_number_is_refused(text):
    with pytest.raises(StackError, match="PORT must be a number from 1 to 65535"):
        web_port({"PORT": text})


def test_a_provider_with_a_key_or_a_base_url_is_not_simulated():
    assert unset_providers({}) == ["OPENAI", "GEMINI"]
    assert unset_providers({"OPENAI_API_KEY": "sk-one"}) == ["GEMINI"]
    assert unset_providers({"OPENAI_API_KEY": "sk-one", "GEMINI_BASE_URL": "http://localhost:1"}) == []
    assert unset_providers({"OPENAI_API_KEY": "", "GEMINI_API_KEY": ""}) == ["OPENAI", "GEMINI"]


def test_only_simulated_providers_are_sent_to_the_simulator():
    assert simulator_environment(["GEMINI"], 8100) == {
        "GEMINI_BASE_URL": "http://127.0.0.1:8100",
        "GEMINI_API_KEY": "simulator",
    }
    assert simulator_environment(["OPENAI"], 8100)["OPENAI_BASE_URL"] == "http://127.0.0.1:8100/v1"


def test_with_keys_and_a_redis_of_ones_own_nothing_stands_in():
    environment = {**KEYS, "REDIS_URL": "redis://localhost:6379/0"}

    assert names(environment) == ["setup", "worker", "beat", "web"]
    assert all(child.env == {"DRAIN_S": "5"} for child in children(environment=environment, port=8000, demo=False))


def test_without_keys_every_process_is_told_of_the_simulator_and_starts_after_it():
    assert names({}) == ["redis", "setup", "upstream", "worker", "beat", "web"]
    assert all(child.env["OPENAI_API_KEY"] == "simulator" for child in children(environment={}, port=8000, demo=False))


def test_the_demo_seeds_first_and_ends_with_traffic():
    stack = {child.name: child for child in children(environment={}, port=9000, demo=True)}

    assert "--demo" in stack["setup"].command
    assert list(stack)[-1] == "traffic"
    assert stack["traffic"].command[-2:] == ("--url", "http://127.0.0.1:9000")


def test_the_simulator_leaves_the_web_servers_port_alone():
    stack = {child.name: child for child in children(environment={}, port=8100, demo=False)}

    assert stack["upstream"].address != stack["web"].address == ("127.0.0.1", 8100)


def test_the_announcement_names_each_address_and_what_is_simulated():
    text = announcement(port=9000, simulated=["GEMINI"])

    for path in ("/", "/admin/", "/api/gemini-rollout-status", "/api/docs/"):
        assert f"http://127.0.0.1:9000{path}" in text
    assert "GEMINI_API_KEY is not set" in text
    assert "OPENAI" not in text


def test_a_checkout_runs_once_at_a_time(tmp_path: Path):
    with lock_checkout(tmp_path), pytest.raises(StackError, match="runs from this checkout already"):
        lock_checkout(tmp_path)

    lock_checkout(tmp_path).close()


def test_processes_run_on_this_python_whatever_is_on_path():
    assert {child.command[0] for child in children(environment={}, port=8000, demo=True)} == {sys.executable}
