"""The command that starts the simulated vendors, or steers the ones that run."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import httpx2
import pytest
from django.core.management import CommandError, call_command

from chat.management.commands import simulate_upstream
from simulator.upstream import Upstream
from tests.services import live

# For what ought to happen at once, however busy the machine is.
PATIENCE_S = 30
# The real command in a process of its own, with its note elsewhere than in the checkout's var/.
START = """
import sys
from pathlib import Path

import django
from django.core.management import call_command

django.setup()
from chat.management.commands import simulate_upstream

simulate_upstream.NOTE = Path(sys.argv[1])
call_command("simulate_upstream", *sys.argv[2:])
"""


@pytest.fixture(autouse=True)
def note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "var" / "upstream.json"
    monkeypatch.setattr(simulate_upstream, "NOTE", path)
    return path


@pytest.fixture
def running(note: Path) -> Iterator[str]:
    """The URL of a simulator that runs and is noted."""
    with live.serving(Upstream(), live.reserve_port()) as url:
        note.parent.mkdir()
        note.write_text(json.dumps({"url": url, "pid": 1}))
        yield url


@contextmanager
def started(note: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The command at work, from when it can be asked."""
    command = [sys.executable, "-c", START, str(note), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not note.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.communicate()


def command(*options: str) -> str:
    """What the command prints."""
    printed = StringIO()
    call_command("simulate_upstream", *options, stdout=printed)
    return printed.getvalue()


def behaviour(url: str) -> dict[str, dict[str, float]]:
    read: dict[str, dict[str, float]] = httpx2.get(f"{url}/_simulator/behaviour").json()
    return read


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_is_noted_while_it_runs_and_a_signal_ends_it_cleanly(note: Path, number: signal.Signals) -> None:
    with started(note, "--port", "0", "--gemini-error-rate", "1", "--error-status", "529") as process:
        noted = json.loads(note.read_text())
        assert noted["pid"] == process.pid
        assert behaviour(noted["url"])["gemini"]["error_rate"] == 1

        body = {"model": "any", "stream": True, "messages": [{"role": "user", "content": "slowly"}]}
        headers = {"Authorization": "Bearer any"}
        with httpx2.stream("POST", f"{noted['url']}/v1/chat/completions", json=body, headers=headers) as response:
            lines = response.iter_lines()
            next(lines)
            process.send_signal(number)
            printed, complaints = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 0
    assert complaints == ""
    assert "Gemini: 100.0% of requests fail with HTTP 529" in printed
    assert not note.exists()


def test_the_same_seed_gives_the_same_answer(note: Path) -> None:
    answers = []
    for _ in range(2):
        with started(note, "--port", "0", "--seed", "5") as process:
            url = json.loads(note.read_text())["url"]
            body = {"contents": [{"parts": [{"text": "tomatoes"}]}]}
            headers = {"x-goog-api-key": "any"}
            answers.append(httpx2.post(f"{url}/v1/models/any:generateContent", json=body, headers=headers).json())
            process.terminate()
            process.wait(timeout=PATIENCE_S)

    assert answers[0] == answers[1]


def test_where_one_runs_it_changes_what_was_asked_for_and_says_so(running: str, note: Path) -> None:
    before = behaviour(running)

    printed = command("--gemini-error-rate", "0.25", "--openai-ttft-ms", "40")

    assert behaviour(running) == {
        "openai": {**before["openai"], "ttft_ms": 40},
        "gemini": {**before["gemini"], "error_rate": 0.25},
    }
    assert f"already runs at {running}" in printed
    assert "Gemini: 25.0% of requests fail with HTTP 503" in printed
    assert "OpenAI: 0.0% of requests fail with HTTP 503, first token after about 40 ms" in printed
    assert note.exists()


def test_where_one_runs_its_own_port_may_be_named_but_no_other(running: str) -> None:
    own = str(httpx2.URL(running).port)

    assert "now behaves" in command("--port", own)
    with pytest.raises(CommandError, match="already runs"):
        command("--port", "1")
    with pytest.raises(CommandError, match="--seed counts at its start alone"):
        command("--seed", "1")


@pytest.mark.parametrize("rate", ["nan", "inf", "1.01", "-0.1", "some"])
def test_a_rate_that_is_none_is_refused_and_changes_nothing(running: str, rate: str) -> None:
    before = behaviour(running)

    with pytest.raises(CommandError, match=r"error.rate"):
        command(f"--openai-error-rate={rate}")

    assert behaviour(running) == before


def test_a_status_that_is_no_error_is_refused(running: str) -> None:
    with pytest.raises(CommandError, match="error_status must be a whole number from 400 to 599"):
        command("--error-status", "200")


def test_a_taken_port_is_said_in_words(note: Path) -> None:
    with live.reserve_port() as taken:
        taken.listen()
        with pytest.raises(CommandError, match="choose another with --port"):
            command("--port", str(taken.getsockname()[1]))

    assert not note.exists()


@pytest.mark.parametrize("left_over", ['{"url": "http://127.0.0.1:1", "pid": 1}', "{}", "", "[]", '{"url": 5}'])
def test_a_note_that_a_killed_simulator_left_does_not_stop_a_new_one(note: Path, left_over: str) -> None:
    note.parent.mkdir()
    note.write_text(left_over)

    with live.reserve_port() as taken:
        taken.listen()
        # That it tries to listen shows that it means to start.
        with pytest.raises(CommandError, match="choose another with --port"):
            command("--port", str(taken.getsockname()[1]))
