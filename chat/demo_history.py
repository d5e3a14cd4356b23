"""Two weeks that never were: made-up people, their chats, and how each attempt to answer went.

Pure arithmetic over a given random source and a given moment: the same seed makes the same history. Knows
the shape of days and of answers; knows no database, no rollout and no prices.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from metrics.pricing import Usage
from simulator import people_words

# How busy each hour of a day is, UTC from midnight, and each day of a week from Monday, next to the busiest.
HOURS = (8, 5, 4, 3, 4, 8, 18, 38, 65, 85, 95, 90, 80, 88, 100, 96, 85, 72, 66, 70, 64, 48, 30, 16)
WEEKDAYS = (0.95, 1.0, 1.0, 0.97, 0.85, 0.45, 0.5)
CHATS_PER_PERSON = 3
TURNS = (1, 2, 3, 4, 5, 6)
TURN_WEIGHTS = (20, 22, 20, 16, 12, 10)
RATED_SHARE = 0.12
CANCELLED_SHARE = 0.012
# Of a hundred failures: (outcome, error class, HTTP status, how many).
FAILURES = (
    ("error", "http_503", 503, 45),
    ("error", "http_429", 429, 15),
    ("timeout", "timeout_first_token", None, 25),
    ("empty", "", None, 5),
    ("refused", "refused", None, 10),
)


@dataclass(frozen=True, kw_only=True)
class Ways:
    """How one model behaves: median first token in ms, tokens a second after it, and the share that fails."""

    ttft_ms: float
    tokens_per_s: float
    failing: float


BASELINE = Ways(ttft_ms=140, tokens_per_s=90, failing=0.006)
CANDIDATE = Ways(ttft_ms=95, tokens_per_s=210, failing=0.008)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A question and when it was asked; ``number`` counts the turns of its chat from 0."""

    question: str
    asked_at: datetime
    number: int
    rating: int | None
    rating_reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Try:
    """One attempt, as ``metrics.models.ModelCall`` words it; times in ms, ``None`` is "not known"."""

    outcome: str
    error_class: str = ""
    http_status: int | None = None
    finish_reason: str = ""
    ttft_ms: int | None = None
    latency_ms: int
    usage: Usage = field(default_factory=Usage)


def chats(*, people: int, days: int, now: datetime, rng: random.Random) -> Iterator[tuple[int, list[Turn]]]:
    """Chats in the ``days`` before ``now``, each with the number of its person; everybody has one at least.

    Some people come often and most come now and then; more come on weekdays and in the afternoon.
    """
    hours = [now - timedelta(hours=back) for back in range(24 * days, 0, -1)]
    weights = [HOURS[hour.hour] * WEEKDAYS[hour.weekday()] for hour in hours]
    keenness = [rng.paretovariate(2.0) for _ in range(people)]
    who = [*range(people), *rng.choices(range(people), keenness, k=people * (CHATS_PER_PERSON - 1))]
    for person, hour in zip(who, rng.choices(hours, weights, k=len(who)), strict=True):
        turns = _turns(hour + timedelta(seconds=rng.uniform(0, 3600)), now, rng)
        if turns:
            yield person, turns


def _turns(at: datetime, now: datetime, rng: random.Random) -> list[Turn]:
    turns: list[Turn] = []
    for number in range(rng.choices(TURNS, TURN_WEIGHTS)[0]):
        if at >= now:
            break
        question = people_words.follow_up(rng) if number else people_words.first_question(rng)
        rating = people_words.stars(rng) if rng.random() < RATED_SHARE else None
        reason = people_words.reason(rating, rng)
        turns.append(Turn(question=question, asked_at=at, number=number, rating=rating, rating_reason=reason))
        at += timedelta(seconds=rng.uniform(20, 180))
    return turns


def tries(turn: Turn, *, in_candidate: bool, rng: random.Random) -> list[tuple[bool, Try]]:
    """How a turn was answered: each attempt, with whether the candidate made it.

    As in ``chat.generation``: a failed candidate falls back to the baseline, a baseline whose server failed is
    asked again, and the second attempt answers.
    """
    first = _try(CANDIDATE if in_candidate else BASELINE, turn, rng)
    again = first.outcome in ("error", "timeout", "empty") if in_candidate else first.error_class == "http_503"
    return [(in_candidate, first), *([(False, _answered(BASELINE, turn, rng))] if again else [])]


def _try(ways: Ways, turn: Turn, rng: random.Random) -> Try:
    dice = rng.random()
    if dice < ways.failing:
        outcome, error_class, status, _share = rng.choices(FAILURES, [share for *_, share in FAILURES])[0]
        wait_ms = 20_000 if outcome == "timeout" else _spread(2 * ways.ttft_ms, 0.3, rng)
        return Try(outcome=outcome, error_class=error_class, http_status=status, latency_ms=wait_ms)
    answered = _answered(ways, turn, rng)
    if dice > 1 - CANCELLED_SHARE and answered.ttft_ms is not None:
        # Somebody who leaves takes the usage with them: providers tell it at the end.
        part = rng.uniform(0.1, 0.8)
        left_ms = round(answered.ttft_ms + part * (answered.latency_ms - answered.ttft_ms))
        return Try(outcome="cancelled", ttft_ms=answered.ttft_ms, latency_ms=left_ms)
    return answered


def _answered(ways: Ways, turn: Turn, rng: random.Random) -> Try:
    ttft_ms = _spread(ways.ttft_ms, 0.28, rng)
    output = min(1500, max(20, _spread(230, 0.5, rng)))
    # The chat so far goes along with each question.
    sent = rng.randint(15, 60) + turn.number * rng.randint(220, 340)
    return Try(
        outcome="ok",
        finish_reason="stop",
        ttft_ms=ttft_ms,
        latency_ms=ttft_ms + _spread(1000 * output / ways.tokens_per_s, 0.2, rng),
        usage=Usage(input_tokens=sent, output_tokens=output, cached_tokens=0, reasoning_tokens=0),
    )


def _spread(median: float, sigma: float, rng: random.Random) -> int:
    return round(rng.lognormvariate(math.log(median), sigma))


def random_id(rng: random.Random) -> UUID:
    """An id that the seed decides too."""
    return UUID(int=rng.getrandbits(128), version=4)
