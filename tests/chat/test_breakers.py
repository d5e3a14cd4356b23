"""Breakers of several processes, on a real Redis, and the rows of what they did."""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from chat.breakers import CLAIM_S, COMPLAIN_EVERY_S, FRESH_S, LEAVE_ALONE_S, Breakers, connect
from chat.models import BreakerChange
from tests.services.redis import throwaway_redis

pytestmark = pytest.mark.django_db(transaction=True)
KEY = "gemini-flash-lite"


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def process(settings: Any, clock: Clock) -> Callable[[], Breakers]:
    """Makes what another process would have: copies and a connection of its own."""
    settings.BREAKER_FAILURES, settings.BREAKER_ATTEMPTS = 3, 6
    return lambda: Breakers(connect(settings.REDIS_URL), clock)


def do(*steps: Coroutine[Any, Any, Any]) -> None:
    async def all_of_them() -> None:
        for step in steps:
            await step

    asyncio.run(all_of_them())


def states() -> list[str]:
    return list(BreakerChange.objects.order_by("id").values_list("state", flat=True))


def test_failures_of_two_processes_open_the_breaker_of_both(process, clock):
    one, two = process(), process()
    do(one.note(KEY, "failed", ""), two.note(KEY, "failed", ""), one.note(KEY, "failed", ""))

    assert one.admit(KEY) is None
    assert one.admit("chat-model") == ""
    do(two.refresh())
    assert two.admit(KEY) is None
    change = BreakerChange.objects.get()
    assert (change.upstream, change.state, change.why, change.failures) == (KEY, "open", "failures", 3)
    assert change.changed_at.timestamp() == clock.now


def test_failures_at_the_same_time_are_all_counted_and_open_it_once(process):
    processes = [process() for _ in range(3)]

    async def all_at_once() -> None:
        await asyncio.gather(*(each.note(KEY, "failed", "") for each in processes))

    asyncio.run(all_at_once())

    assert processes[0].standing([KEY])[KEY].failures == 3
    assert states() == ["open"]


def test_answers_of_the_other_process_speak_for_the_upstream(process, clock):
    one, two = process(), process()
    do(one.note(KEY, "failed", ""), one.note(KEY, "failed", ""))
    do(*(two.note(KEY, "answered", "") for _ in range(4)))
    clock.now += FRESH_S
    do(two.refresh(), one.note(KEY, "failed", ""))

    assert one.standing([KEY])[KEY].failures == 2
    assert one.admit(KEY) == ""


def test_while_all_is_well_only_the_first_request_of_a_second_talks_to_redis(process, redis_server, clock):
    one = process()
    do(one.refresh())
    before = redis_server.info("stats")["total_commands_processed"]
    do(*(step for _ in range(50) for step in (one.refresh(), one.note(KEY, "answered", ""))))
    after = redis_server.info("stats")["total_commands_processed"]

    assert after - before == 1


def test_one_process_tries_the_upstream_out_and_its_answer_closes_it_for_all(process, clock):
    one, two = process(), process()
    do(*(one.note(KEY, "failed", "") for _ in range(3)))
    clock.now += 5
    # Both are asked for it; each takes its next look with that in mind.
    do(one.refresh(), two.refresh())
    assert [one.admit(KEY), two.admit(KEY)] == [None, None]
    do(one.refresh(), two.refresh())
    probe, other = one.admit(KEY), two.admit(KEY)

    assert probe
    assert other is None
    assert one.admit(KEY) is None
    do(one.begin_probe(KEY, probe, first_word_s=20), one.note(KEY, "answered", probe))
    clock.now += FRESH_S
    do(two.refresh())
    assert [one.admit(KEY), two.admit(KEY)] == ["", ""]
    assert states() == ["open", "half_open", "closed"]


def test_a_probe_that_fails_opens_it_for_longer(process, clock):
    one = process()
    do(*(one.note(KEY, "failed", "") for _ in range(3)))
    assert one.wait_s(KEY) == 5
    clock.now += 5
    one.admit(KEY)
    do(one.refresh())
    probe = one.admit(KEY)
    do(one.begin_probe(KEY, probe, first_word_s=20), one.note(KEY, "failed", probe))

    assert one.admit(KEY) is None
    assert one.wait_s(KEY) == 10
    assert states() == ["open", "half_open", "open"]
    assert BreakerChange.objects.latest("id").why == "probe_failed"


def test_a_process_that_nobody_asks_any_more_leaves_the_probe_to_the_others(process, clock):
    one, two = process(), process()
    do(*(one.note(KEY, "failed", "") for _ in range(3)), two.refresh())
    clock.now += 5
    assert [one.admit(KEY), two.admit(KEY)] == [None, None]
    do(one.refresh(), two.refresh())

    found = []
    for _ in range(int(CLAIM_S)):
        clock.now += 1
        do(one.refresh(), two.refresh())
        found.append(two.admit(KEY))

    assert found[:-1] == [None] * 4
    assert found[-1]


def test_a_process_that_dies_with_the_probe_holds_nobody_up_for_ever(process, clock, settings):
    one, two = process(), process()
    do(*(one.note(KEY, "failed", "") for _ in range(3)))
    clock.now += 5
    one.admit(KEY)
    do(one.refresh())
    probe = one.admit(KEY)
    do(one.begin_probe(KEY, probe, first_word_s=20))

    # Its own time, and some for a place, a connection and the way to here.
    clock.now += 20
    do(two.refresh())
    assert two.admit(KEY) is None
    clock.now += 1 + settings.CONNECT_TIMEOUT_S + CLAIM_S
    do(two.refresh())
    assert two.admit(KEY) not in (None, "", probe)


def test_a_probe_lets_the_others_in_with_its_first_word_and_keeps_them_out_for_longer_if_it_breaks_off(process, clock):
    one = process()
    do(*(one.note(KEY, "failed", "") for _ in range(3)))
    for wait_s in (5, 10, 20):
        assert one.wait_s(KEY) == wait_s
        clock.now += wait_s
        one.admit(KEY)
        do(one.refresh())
        probe = str(one.admit(KEY))
        do(one.begin_probe(KEY, probe, first_word_s=20), one.hear_probe(KEY, probe))
        assert one.admit(KEY) == ""
        do(one.note(KEY, "failed", probe))
        assert one.admit(KEY) is None

    assert states() == ["open", *["half_open", "closed", "open"] * 3]
    assert BreakerChange.objects.latest("id").why == "probe_failed"


def test_failures_from_before_it_was_closed_do_not_open_it_again(process, clock):
    one = process()
    do(*(one.note(KEY, "failed", "") for _ in range(3)))
    clock.now += 100
    assert one.admit(KEY) is None
    do(one.refresh())
    do(one.note(KEY, "answered", str(one.admit(KEY))))

    # They began 20 s ago, as the upstream still hung.
    do(*(one.note(KEY, "failed", "", took_s=20) for _ in range(3)))
    assert states()[-1] == "closed"

    clock.now += 30
    do(*(one.note(KEY, "failed", "", took_s=20) for _ in range(3)))
    assert states()[-1] == "open"


def test_without_redis_everybody_passes_and_it_is_said_once_a_minute(clock, caplog, tmp_path):
    alone = Breakers(connect(f"unix://{tmp_path}/nobody.sock"), clock)
    with caplog.at_level(logging.WARNING, logger="chat.breakers"):
        for _ in range(4):
            do(*(alone.note(KEY, "failed", "") for _ in range(20)), alone.refresh())
            assert alone.admit(KEY) == ""
            clock.now += LEAVE_ALONE_S
        assert len(caplog.records) == 1
        clock.now += COMPLAIN_EVERY_S
        do(alone.refresh())
    assert len(caplog.records) == 2


def test_an_open_breaker_closes_while_redis_is_away_and_can_open_when_it_is_back(tmp_path, settings, clock):
    settings.BREAKER_FAILURES = 3
    path = tmp_path / "redis.sock"
    one = Breakers(connect(f"unix://{path}"), clock)
    with throwaway_redis(path):
        do(*(one.note(KEY, "failed", "") for _ in range(3)))
        assert one.admit(KEY) is None
    clock.now += FRESH_S
    do(one.refresh())
    assert one.admit(KEY) == ""

    with throwaway_redis(path):
        clock.now += LEAVE_ALONE_S
        do(*(one.note(KEY, "failed", "") for _ in range(3)))
        assert one.admit(KEY) is None


def test_a_redis_that_hangs_costs_one_request_a_moment_and_the_next_ones_nothing(clock, tmp_path):
    path = str(tmp_path / "deaf.sock")
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(path)
        deaf.listen()
        one = Breakers(connect(f"unix://{path}"), clock)
        do(*(one.note(KEY, "failed", "") for _ in range(20)), one.refresh())
        deaf.settimeout(0.1)
        deaf.accept()[0].close()
        with pytest.raises(TimeoutError):
            deaf.accept()
    assert one.admit(KEY) == ""
