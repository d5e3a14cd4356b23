import math
import random
from datetime import UTC, datetime, timedelta
from statistics import median

import pytest

from chat.demo_history import Turn, chats, tries
from metrics.ratings import HIGHEST_WITH_REASON, REASONS
from simulator import people_words

NOW = datetime(2026, 3, 18, 15, 30, tzinfo=UTC)


def a_turn(number: int = 0) -> Turn:
    return Turn(question="Why?", asked_at=NOW, number=number, rating=None)


def test_everybody_chats_at_least_once_within_the_days_and_never_in_the_future():
    made = list(chats(people=200, days=14, now=NOW, rng=random.Random(1)))

    assert {person for person, _turns in made} == set(range(200))
    asked = [turn.asked_at for _person, turns in made for turn in turns]
    assert NOW - timedelta(days=14) <= min(asked) < max(asked) < NOW
    assert 8 < len(asked) / 200 < 12


def test_days_have_a_wave_and_weeks_an_end():
    asked = [turn.asked_at for _n, turns in chats(people=800, days=14, now=NOW, rng=random.Random(1)) for turn in turns]

    night = sum(at.hour in (1, 2, 3, 4) for at in asked)
    noon = sum(at.hour in (13, 14, 15, 16) for at in asked)
    assert noon > 10 * night
    weekend = sum(at.weekday() >= 5 for at in asked) / 2
    week = sum(at.weekday() < 5 for at in asked) / 5
    assert weekend < 0.65 * week


def test_some_people_come_often_and_most_now_and_then():
    counts: dict[int, int] = {}
    for person, _turns in chats(people=300, days=14, now=NOW, rng=random.Random(1)):
        counts[person] = counts.get(person, 0) + 1

    assert max(counts.values()) >= 8
    assert median(counts.values()) <= 3


def test_made_up_people_know_the_reasons_that_the_page_offers():
    assert set(people_words.REASONS) == set(REASONS)
    assert people_words.BAD == HIGHEST_WITH_REASON


def test_the_same_seed_gives_the_same_ratings_for_the_same_reasons():
    def rated() -> list[tuple[int, str]]:
        made = chats(people=300, days=14, now=NOW, rng=random.Random(1))
        return [(turn.rating, turn.rating_reason) for _n, turns in made for turn in turns if turn.rating is not None]

    assert rated() == rated()
    assert {reason for _rating, reason in rated()} >= {"", "incorrect", "unhelpful", "slow", "style", "other"}


@pytest.mark.parametrize(("in_candidate", "ttft_ms", "failing"), [(False, 140, 0.006), (True, 95, 0.008)])
def test_each_model_has_its_own_speed_and_failures(in_candidate, ttft_ms, failing):
    rng = random.Random(1)
    firsts = [tries(a_turn(), in_candidate=in_candidate, rng=rng)[0][1] for _ in range(20_000)]

    seen = [first.ttft_ms for first in firsts if first.ttft_ms is not None]
    assert median(seen) == pytest.approx(ttft_ms, rel=0.03)
    # Log-normal: as far from the median upwards as downwards, by ratio.
    logs = sorted(math.log(ms) for ms in seen)
    low, middle, high = (logs[round(share * len(logs))] for share in (0.1, 0.5, 0.9))
    assert high - middle == pytest.approx(middle - low, rel=0.1)
    judged = [first for first in firsts if first.outcome != "cancelled"]
    assert sum(first.outcome != "ok" for first in judged) / len(judged) == pytest.approx(failing, abs=0.002)
    assert 0.005 < 1 - len(judged) / len(firsts) < 0.02


def test_a_failed_candidate_is_answered_by_the_baseline_and_a_refusal_stands():
    rng = random.Random(1)
    answers = [tries(a_turn(), in_candidate=True, rng=rng) for _ in range(20_000)]

    failed = [attempts for attempts in answers if attempts[0][1].outcome in ("error", "timeout", "empty")]
    assert {len(attempts) for attempts in failed} == {2}
    assert {(by_candidate, attempt.outcome) for _first, (by_candidate, attempt) in failed} == {(False, "ok")}
    refused = [attempts for attempts in answers if attempts[0][1].outcome == "refused"]
    assert refused
    assert {len(attempts) for attempts in refused} == {1}


def test_the_baseline_never_falls_back_to_the_candidate():
    rng = random.Random(1)
    answers = [tries(a_turn(), in_candidate=False, rng=rng) for _ in range(20_000)]

    assert not any(by_candidate for attempts in answers for by_candidate, _attempt in attempts)
    assert any(len(attempts) == 2 for attempts in answers)


def test_a_long_chat_sends_more_along():
    rng = random.Random(1)

    def sent(number: int) -> list[int]:
        made = [tries(a_turn(number), in_candidate=False, rng=rng)[-1][1].usage.input_tokens for _ in range(50)]
        return [tokens for tokens in made if tokens is not None]

    assert min(sent(4)) > max(sent(1)) > max(sent(0))
