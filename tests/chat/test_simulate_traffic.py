import io
import json
import os
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command

from chat.management.commands import simulate_traffic
from chat.models import Conversation, Message, User
from metrics.models import ModelCall
from rollout.changes import Actor, change_rollout
from tests.services import live
from tests.simulator.site import Site

STAFF = Actor(name="test", source="cli")
DEADLINE_S = 60


@pytest.fixture(autouse=True)
def people_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(simulate_traffic, "PEOPLE_FILE", tmp_path / "people.json")
    monkeypatch.setattr(simulate_traffic, "TRICKLE_FILE", tmp_path / "trickle.json")
    return tmp_path / "people.json"


def set_percent(percent: int) -> None:
    change_rollout("gemini-flash-lite", {"percent": percent}, actor=STAFF)


def misbehave(**changes: dict[str, float]) -> None:
    """Tell the simulated vendors, over HTTP, how to behave from the next request on."""
    httpx2.put(f"{settings.GEMINI_BASE_URL}/_simulator/behaviour", json=changes, trust_env=False).raise_for_status()


def simulate(url: str, *arguments: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("simulate_traffic", "--url", url, "--json", *arguments, stdout=out)
    result: dict[str, Any] = json.loads(out.getvalue())
    return result


def test_what_the_people_saw_is_what_the_server_recorded(live_app, people_file):
    set_percent(50)

    run = simulate(live_app, "--people", "10", "--messages", "25", "--rate-share", "0.5", "--seed", "2")

    rows = ModelCall.objects.filter(attempt=1)
    rated = rows.filter(rating__isnull=False).count()
    explained = rows.exclude(rating_reason="").count()
    assert run["equal"] is True
    assert run["counts"] == {
        "requests": {"counted": 25, "recorded": rows.count()},
        "answered": {"counted": 25, "recorded": rows.filter(outcome="ok").count()},
        "failed": {"counted": 0, "recorded": 0},
        "stopped": {"counted": 0, "recorded": 0},
        "ratings": {"counted": rated, "recorded": rated},
        "reasons": {"counted": explained, "recorded": explained},
    }
    assert rated > 0
    assert run["people"]["wrote"] == rows.values("unit").distinct().count() == 10
    by_arm = {group["arm"]: group["requests"] for group in run["arms"]}
    assert by_arm == {arm: rows.filter(arm=arm).count() for arm in ("baseline", "candidate")}
    assert 0 < run["ttftMs"]["p50"] <= run["ttftMs"]["p95"]
    assert run["errors"] == {}
    assert stat.S_IMODE(people_file.stat().st_mode) == 0o600


def test_those_who_sign_up_keep_their_chats_and_their_unit(live_app):
    run = simulate(live_app, "--people", "12", "--messages", "36", "--seed", "4")

    accounts = User.objects.filter(username__startswith="sim-", is_guest=False)
    assert accounts.count() == run["people"]["signedUp"] > 0
    assert User.objects.count() == 12
    for account in accounts:
        replies = Message.objects.filter(conversation__user=account, role="assistant").values_list("id", flat=True)
        assert set(replies) == set(ModelCall.objects.filter(unit=account.unit).values_list("answer_id", flat=True))


def test_the_same_people_come_back_and_raising_the_percentage_leaves_them_their_model(live_app):
    set_percent(40)
    first = simulate(live_app, "--people", "15", "--messages", "15", "--seed", "1")
    had = ModelCall.objects.filter(arm="candidate").values("unit").distinct().count()
    set_percent(80)

    second = simulate(live_app, "--people", "15", "--messages", "15", "--seed", "2")

    assert first["keptTheirModel"] == {"kept": 0, "of": 0}
    assert had > 0
    assert second["keptTheirModel"] == {"kept": had, "of": had}
    assert (first["people"]["returned"], second["people"]["returned"]) == (0, 15)
    assert User.objects.count() == 15


def test_those_whom_a_lower_percentage_drops_are_told_apart(live_app):
    set_percent(100)
    simulate(live_app, "--people", "4", "--messages", "4")
    set_percent(0)

    assert simulate(live_app, "--people", "4", "--messages", "4")["keptTheirModel"] == {"kept": 0, "of": 4}


def test_people_whose_session_is_gone_are_replaced_by_new_ones(live_app):
    set_percent(100)
    simulate(live_app, "--people", "3", "--messages", "6")
    Session.objects.all().delete()

    again = simulate(live_app, "--people", "3", "--messages", "6")

    assert again["people"]["returned"] == 0
    assert again["equal"] is True
    assert again["keptTheirModel"] == {"kept": 0, "of": 0}
    assert User.objects.count() == 6


def test_new_people_start_afresh_and_a_smaller_crowd_leaves_the_rest_for_later(live_app, people_file):
    simulate(live_app, "--people", "5", "--messages", "5")
    simulate(live_app, "--people", "2", "--messages", "2")
    assert len(json.loads(people_file.read_text())[live_app]) == 5

    fresh = simulate(live_app, "--people", "2", "--messages", "2", "--new-people")

    assert fresh["people"]["returned"] == 0
    assert len(json.loads(people_file.read_text())[live_app]) == 2


def test_with_the_candidate_failing_everybody_is_still_answered(live_app):
    set_percent(100)
    misbehave(gemini={"error_rate": 1})

    run = simulate(live_app, "--people", "4", "--messages", "8")

    assert run["counts"]["answered"] == {"counted": 8, "recorded": 8}
    [group] = run["arms"]
    assert (group["arm"], group["outcomes"], group["fell_back"]) == ("candidate", {"error": 8}, 8)


def test_messages_without_an_answer_end_the_command_with_an_error_though_the_counts_are_equal(live_app, capsys):
    misbehave(openai={"error_rate": 1, "error_status": 400}, gemini={"error_rate": 1})
    out = io.StringIO()

    with pytest.raises(CommandError, match="Without an answer: 6 of 6 messages"):
        call_command("simulate_traffic", "--url", live_app, "--people", "3", "--messages", "6", stdout=out)

    lines = [line.split() for line in out.getvalue().splitlines()]
    assert ["requests", "6", "6"] in lines
    assert ["failed", "6", "6"] in lines
    assert "Errors, as people saw them:" in out.getvalue()
    assert "6 of 6 messages" in capsys.readouterr().err


def test_counts_that_differ_end_the_command_with_an_error(transactional_db):
    out = io.StringIO()
    # These replies are in no database.
    with (
        live.serving(Site(), live.reserve_port()) as url,
        pytest.raises(CommandError, match="recorded something else than we counted"),
    ):
        call_command("simulate_traffic", "--url", url, "--people", "2", "--messages", "3", stdout=out)

    assert ["requests", "3", "0", "differs"] in [line.split() for line in out.getvalue().splitlines()]


def test_nobody_to_talk_to_is_told_in_one_sentence(db):
    with live.reserve_port() as unheard, pytest.raises(CommandError, match=r"Nothing answers at http://127.*make run"):
        call_command("simulate_traffic", "--url", live.url_of(unheard))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--people", "0"],
        ["--messages", "-1"],
        ["--concurrency", "0"],
        ["--rate-share", "1.5"],
        ["--rate-share", "nan"],
        ["--url", "127.0.0.1:8000"],
        ["--url", "http://127.0.0.1:8000/c/"],
    ],
)
def test_options_that_make_no_sense_are_refused(arguments):
    with pytest.raises(CommandError):
        call_command("simulate_traffic", *arguments)


def messages(site: Site) -> int:
    return sum(path == "/messages" for _method, path, *_ in site.requests)


def wait_until(condition: Callable[[], bool]) -> bool:
    """Whether ``condition`` came true in time."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


@contextmanager
def signal_once(number: signal.Signals, is_time: Callable[[], bool]) -> Iterator[None]:
    """Send this process the signal when ``is_time()``: by then the command listens for it."""

    def watch() -> None:
        wait_until(is_time)
        # Sent also when the time never came: the command would run for ever.
        if signal.getsignal(number) not in (signal.SIG_DFL, signal.default_int_handler):
            os.kill(os.getpid(), number)

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield
    watcher.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_trickle_goes_on_until_a_signal_and_its_people_are_others(number, monkeypatch, tmp_path, people_file):
    monkeypatch.setattr(simulate_traffic, "TRICKLE_PAUSE_S", (0.01, 0.02))
    site = Site()
    with (
        live.serving(site, live.reserve_port()) as url,
        signal_once(number, lambda: messages(site) > 8),
    ):
        call_command("simulate_traffic", "--forever", "--trickle", "--people", "3", "--messages", "1", "--url", url)

    assert 1 <= len(json.loads((tmp_path / "trickle.json").read_text())[url]) <= 3
    assert not people_file.exists()


def test_chatting_for_ever_goes_on_after_the_server_was_away(monkeypatch):
    monkeypatch.setattr(simulate_traffic, "TRICKLE_PAUSE_S", (0.01, 0.02))
    before, after = Site(), Site()
    over = threading.Event()
    # Made so that the same port can be had again at once.
    first = socket.create_server(("127.0.0.1", 0))
    url, address = live.url_of(first), first.getsockname()

    def serve_twice() -> None:
        with live.serving(before, first):
            wait_until(lambda: messages(before) > 3)
        with socket.create_server(address) as listener, live.serving(after, listener):
            over.wait(DEADLINE_S)

    server = threading.Thread(target=serve_twice)
    server.start()
    try:
        with signal_once(signal.SIGTERM, lambda: messages(after) > 3):
            call_command("simulate_traffic", "--forever", "--trickle", "--people", "3", "--url", url)
    finally:
        over.set()
        server.join()

    assert messages(after) > 3


def test_a_conversation_goes_on_over_several_messages(live_app):
    simulate(live_app, "--people", "2", "--messages", "12")

    assert 2 <= Conversation.objects.count() <= 8
    assert Message.objects.filter(role="user").count() == 12
