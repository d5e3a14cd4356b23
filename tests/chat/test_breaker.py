"""The breaker alone: pure."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.attempt import Attempt, Deadlines
from chat.breaker import Breaker, Rules, begin_probe, end_probe, hear_probe, hold_probe, record, verdict_of
from chat.providers.base import (
    AuthenticationFailed,
    InvalidRequest,
    NotAsked,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    Refused,
    Unsupported,
)

RULES = Rules(failures=3, attempts=5, window_s=10, cool_down_s=4, longest_cool_down_s=10, claim_s=2)


def after(*results: bool, every_s: float = 1.0) -> Breaker:
    """A breaker that saw these attempts, ``True`` for one that failed, one each ``every_s`` from 0 on."""
    breaker = Breaker()
    for number, failed in enumerate(results):
        breaker = record(breaker, RULES, answered=int(not failed), failed=int(failed), now=number * every_s)
    return breaker


def opened() -> Breaker:
    return after(True, True, True)


def probed(breaker: Breaker, verdict: Any, now: float) -> Breaker:
    probing = begin_probe(breaker, RULES, probe="p", now=now)
    assert (probing.state, probing.probe) == ("half_open", "p")
    return end_probe(probing, RULES, probe="p", verdict=verdict, now=now)


def heard(breaker: Breaker) -> Breaker:
    return hear_probe(begin_probe(breaker, RULES, probe="p", now=6), probe="p", now=7)


def test_a_first_word_closes_it_and_the_end_tells_for_how_long():
    closed = heard(opened())
    assert (closed.state, closed.since, closed.recent) == ("closed", 7, ())

    well = end_probe(closed, RULES, probe="p", verdict="answered", now=9)
    broken = end_probe(closed, RULES, probe="p", verdict="failed", now=9)

    assert (well.state, well.probe, well.openings) == ("closed", "", 0)
    assert (broken.state, broken.openings, broken.wait_s(9)) == ("open", 2, 2 * RULES.cool_down_s)
    assert end_probe(closed, RULES, probe="another", verdict="failed", now=9) == closed
    assert hear_probe(closed, probe="p", now=8) == closed


def test_it_opens_with_enough_failures_among_the_last_attempts():
    assert after(True, False, True).state == "closed"
    assert after(True, False, True, False, True).state == "open"
    assert after(True, True, False, False, False, True).state == "closed"


def test_failures_before_the_window_are_forgotten():
    assert after(True, True, True, every_s=4.9).state == "open"
    assert after(True, True, True, every_s=5).state == "closed"


def test_a_batch_counts_like_its_attempts_one_by_one():
    batch = record(Breaker(), RULES, answered=1000, failed=2, now=1)

    assert (batch.state, batch.failures, len(batch.recent)) == ("closed", 2, 5)
    assert record(batch, RULES, answered=0, failed=1, now=2).state == "open"


def test_it_is_closed_for_the_cool_down_and_then_one_probe_goes():
    breaker = opened()

    assert breaker.wait_s(2.5) == 3.5
    assert begin_probe(breaker, RULES, probe="p", now=5.9) == breaker
    probing = begin_probe(breaker, RULES, probe="p", now=6)
    assert (probing.state, probing.probe) == ("half_open", "p")
    assert begin_probe(probing, RULES, probe="another", now=6.1) == probing


def test_a_probe_that_is_answered_closes_it_with_nothing_held_against_it():
    closed = probed(opened(), "answered", 6)

    assert closed == Breaker(since=6)
    assert record(closed, RULES, answered=0, failed=2, now=7).state == "closed"


def test_each_probe_that_fails_makes_the_cool_down_twice_as_long_up_to_a_cap():
    breaker, waits = opened(), []
    for _ in range(4):
        waits.append(breaker.until - breaker.since)
        breaker = probed(breaker, "failed", breaker.until)

    assert waits == [4, 8, 10, 10]


def test_a_probe_that_shows_nothing_leaves_the_turn_to_the_next():
    breaker = probed(opened(), "nothing", 6)

    assert (breaker.state, breaker.wants_probe(6)) == ("half_open", True)


def test_a_lost_probe_is_replaced_and_what_it_says_then_counts_for_nothing():
    claimed = begin_probe(opened(), RULES, probe="lost", now=6)
    assert [claimed.wants_probe(now) for now in (7.9, 8)] == [False, True]
    probing = hold_probe(claimed, probe="lost", until=13)
    assert [probing.wants_probe(now) for now in (12.9, 13)] == [False, True]
    second = begin_probe(probing, RULES, probe="second", now=13)

    assert second.probe == "second"
    assert hold_probe(second, probe="lost", until=20) == second
    assert end_probe(second, RULES, probe="lost", verdict="answered", now=14) == second
    assert end_probe(second, RULES, probe="second", verdict="answered", now=14).state == "closed"


def test_attempts_that_end_after_it_opened_change_nothing():
    for breaker in (opened(), begin_probe(opened(), RULES, probe="p", now=6)):
        assert record(breaker, RULES, answered=50, failed=50, now=7) == breaker


STEPS = st.lists(
    st.tuples(
        st.integers(0, 8),
        st.sampled_from(["answered", "failed", "nothing"]),
        st.booleans(),
    ),
    max_size=80,
)


@given(STEPS)
def test_whatever_happens_it_holds_to_its_rules(steps):
    breaker, now, probe, results = Breaker(), 0, "", []
    for number, (pause_s, verdict, is_probe) in enumerate(steps):
        now, before = now + pause_s, breaker
        if before.state == "closed":
            if verdict != "nothing":
                results.append((now, verdict == "failed"))
            breaker = record(
                before, RULES, answered=int(verdict == "answered"), failed=int(verdict == "failed"), now=now
            )
            recent = [failed for at, failed in results[-RULES.attempts :] if at > now - RULES.window_s]
            assert (breaker.state == "open") == (sum(recent) >= RULES.failures)
        elif is_probe:
            breaker = begin_probe(before, RULES, probe=str(number), now=now)
            assert (breaker != before) == (now >= before.until)
            probe = breaker.probe
        else:
            breaker = end_probe(before, RULES, probe=probe, verdict=verdict, now=now)
            assert (breaker.state == "closed") == (before.probe == probe != "" and verdict == "answered")
            results = [] if breaker.state == "closed" else results
        if breaker.state == "open":
            assert RULES.cool_down_s <= breaker.until - breaker.since <= RULES.longest_cool_down_s
        assert len(breaker.recent) <= RULES.attempts
        assert Breaker.from_json(breaker.to_json()) == breaker


@given(STEPS)
def test_from_anywhere_one_answered_probe_closes_it(steps):
    breaker = replace(opened(), openings=len(steps))
    for pause_s, verdict, _ in steps:
        breaker = probed(breaker, verdict, breaker.until + pause_s)
        if breaker.state == "closed":
            return
    assert probed(breaker, "answered", breaker.until).state == "closed"


def ended(outcome: Any, error: ProviderError | None = None) -> Attempt:
    deadlines = Deadlines(first_token_s=1, idle_s=1, total_s=1, max_chars=1)
    return Attempt(deadlines=deadlines, clock=lambda: 0.0, outcome=outcome, error=error)


@pytest.mark.parametrize(
    ("attempt", "verdict"),
    [
        (ended("ok"), "answered"),
        (ended("empty"), "answered"),
        (ended("refused", Refused("x")), "answered"),
        (ended("error", ProviderUnavailable("x")), "failed"),
        (ended("error", RateLimited("x")), "failed"),
        (ended("error", AuthenticationFailed("x")), "failed"),
        (ended("timeout", ProviderTimeout("x")), "failed"),
        (ended("cancelled"), "nothing"),
        (ended("abandoned"), "nothing"),
        (ended("error", InvalidRequest("x")), "nothing"),
        (ended("error", Unsupported("x", param="seed")), "nothing"),
        (ended("error", NotAsked("x", error_class="breaker_open", retry_after_s=1)), "nothing"),
        (ended("error", ProviderUnavailable("x", error_class="internal")), "nothing"),
        (ended("error", ProviderUnavailable("x", error_class="too_long")), "nothing"),
    ],
)
def test_only_what_the_vendor_did_counts(attempt, verdict):
    assert verdict_of(attempt) == verdict
