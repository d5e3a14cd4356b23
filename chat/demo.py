"""Two weeks of made-up history in the database, marked as demo data, and its removal.

Turns ``demo_history`` into rows: people, some of their chats in full, every call. Is told the time and the seed.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import transaction

from chat.demo_history import Try, Turn, chats, random_id, tries
from chat.models import Conversation, Message, User
from chat.providers.registry import Model, catalogue
from metrics.demo import DemoCall, delete_demo_calls, first_demo_call, roll_up_demo_calls, store_demo_calls
from metrics.pricing import Usage, cost_usd
from metrics.services import CallEnd, CallStart
from rollout.bucketing import in_candidate
from rollout.changes import get_rollout
from rollout.reports import build_days, local_day
from simulator.words import compose

# Every fourth person's chats are there to be read; of the rest only what was measured.
KEPT_IN_FULL = 4
WORDS_PER_TOKEN = 0.75
_STATES = {"ok": Message.State.COMPLETE, "cancelled": Message.State.STOPPED}


class AlreadySeeded(Exception):
    """There is demo data already; nothing was changed."""


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What deleting the demo data removed."""

    calls: int
    people: int
    conversations: int


@dataclass(kw_only=True)
class _Rows:
    people: list[User] = field(default_factory=list)
    conversations: list[Conversation] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    calls: list[DemoCall] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Setting:
    """The rollout as it stands: the history is what it would have been with today's percentage."""

    rollout: str
    salt: str
    percent: Decimal
    run: int
    stretch: int
    baseline: Model
    candidate: Model


def seed_demo(*, days: int, people: int, seed: int, now: datetime) -> int:
    """Make ``days`` of history up to ``now`` by ``people`` people. Returns the number of calls.

    The same seed makes the same people and chats. Raises AlreadySeeded, RolloutNotFound.
    """
    rollout = get_rollout(settings.DEFAULT_ROLLOUT)
    models = catalogue()
    setting = _Setting(
        rollout=rollout.name,
        salt=rollout.salt,
        percent=rollout.percent,
        run=rollout.run,
        stretch=rollout.stretch,
        baseline=models[rollout.baseline],
        candidate=models[rollout.candidate],
    )
    rows = _make(setting, days=days, people=people, rng=random.Random(seed), now=now.astimezone(UTC))  # noqa: S311
    with transaction.atomic():
        if User.objects.filter(is_demo=True).exists() or first_demo_call() is not None:
            raise AlreadySeeded
        for made in (rows.people, rows.conversations, rows.messages):
            _store(made)
        stored = store_demo_calls(rows.calls)
    roll_up_demo_calls(now=now)
    _build_reports(since=now - timedelta(days=days), now=now)
    return stored


def delete_demo(*, clock: Callable[[], datetime]) -> Removed:
    """Remove the demo data, and nothing else; the days' reports get a new version without it.

    Raises RebuildRefused, with nothing removed.
    """
    since = first_demo_call()
    with transaction.atomic():
        calls = delete_demo_calls(clock=clock)
        _total, gone = User.objects.filter(is_demo=True).delete()
    if since is not None:
        _build_reports(since=since, now=clock())
    return Removed(calls=calls, people=gone.get("chat.User", 0), conversations=gone.get("chat.Conversation", 0))


def _build_reports(*, since: datetime, now: datetime) -> None:
    for _report in build_days([settings.DEFAULT_ROLLOUT], local_day(since), local_day(now), now=now):
        pass


def _store(rows: "Sequence[User] | Sequence[Conversation] | Sequence[Message]") -> None:
    if rows:
        type(rows[0])._default_manager.bulk_create(rows, batch_size=500)  # type: ignore[arg-type]


def _make(setting: _Setting, *, days: int, people: int, rng: random.Random, now: datetime) -> _Rows:
    rows = _Rows(people=[_person(rng, now) for _ in range(people)])
    for number, turns in chats(people=people, days=days, now=now, rng=rng):
        person = rows.people[number]
        person.date_joined = min(person.date_joined, turns[0].asked_at)
        conversation = None
        if number % KEPT_IN_FULL == 0:
            conversation = _conversation(person, turns, setting, rng)
            rows.conversations.append(conversation)
        for turn in turns:
            _answer(rows, setting, person, conversation, turn, rng)
    return rows


def _person(rng: random.Random, now: datetime) -> User:
    unit = random_id(rng).hex
    return User(
        username=f"demo-{unit[:12]}",
        unit=unit,
        is_demo=True,
        is_guest=rng.random() < 0.7,
        password=make_password(None),
        date_joined=now,
    )


def _conversation(person: User, turns: Sequence[Turn], setting: _Setting, rng: random.Random) -> Conversation:
    return Conversation(
        id=random_id(rng),
        user=person,
        title=turns[0].question,
        model=setting.baseline.key,
        created_at=turns[0].asked_at,
        updated_at=turns[-1].asked_at,
    )


def _answer(
    rows: _Rows,
    setting: _Setting,
    person: User,
    conversation: Conversation | None,
    turn: Turn,
    rng: random.Random,
) -> None:
    """Add one turn: its calls, and, in a conversation that is kept, its two messages."""
    moved = in_candidate(rollout=setting.rollout, salt=setting.salt, unit=person.unit, percent=setting.percent)
    attempts = tries(turn, in_candidate=moved, rng=rng)
    reply_id = random_id(rng)
    if attempts[-1][1].outcome != "ok":
        turn = replace(turn, rating=None, rating_reason="")
    rows.calls += _calls(setting, person.unit, moved, reply_id, turn, attempts)
    if conversation is not None:
        served = setting.candidate if attempts[-1][0] else setting.baseline
        rows.messages += _messages(conversation, turn, reply_id, served, attempts[-1][1], rng)


def _calls(
    setting: _Setting,
    unit: str,
    moved: bool,
    reply_id: UUID,
    turn: Turn,
    attempts: Iterable[tuple[bool, Try]],
) -> list[DemoCall]:
    calls, at = [], turn.asked_at
    for number, (by_candidate, attempt) in enumerate(attempts, start=1):
        served = setting.candidate if by_candidate else setting.baseline
        start = CallStart(
            answer_id=reply_id,
            attempt=number,
            surface="chat",
            rollout=setting.rollout,
            arm="candidate" if moved else "baseline",
            reason="percentage",
            percent=setting.percent,
            run=setting.run,
            stretch=setting.stretch,
            unit=unit,
            requested_model=setting.baseline.key,
            assigned_model=setting.candidate.key if moved else setting.baseline.key,
            served_model=served.key,
            provider=served.provider,
            started_at=at,
        )
        at += timedelta(milliseconds=attempt.latency_ms)
        cost = _cost(served, attempt.usage, at)
        end = CallEnd(
            outcome=attempt.outcome,
            ended_at=at,
            ttft_ms=attempt.ttft_ms,
            latency_ms=attempt.latency_ms,
            usage=attempt.usage,
            cost_usd=cost,
            baseline_cost_usd=_cost(setting.baseline, attempt.usage, at) if by_candidate else cost,
            upstream_model=served.upstream if attempt.finish_reason else "",
            finish_reason=attempt.finish_reason,
            error_class=attempt.error_class,
            http_status=attempt.http_status,
        )
        rating, reason = (turn.rating, turn.rating_reason) if number == 1 else (None, "")
        calls.append(DemoCall(start=start, end=end, rating=rating, rating_reason=reason))
    return calls


def _messages(
    conversation: Conversation,
    turn: Turn,
    reply_id: UUID,
    served: Model,
    last: Try,
    rng: random.Random,
) -> list[Message]:
    question = Message(
        id=random_id(rng),
        conversation=conversation,
        role=Message.Role.USER,
        text=turn.question,
        created_at=turn.asked_at,
    )
    words = round(WORDS_PER_TOKEN * (last.usage.output_tokens or 60))
    state = _STATES.get(last.outcome, Message.State.FAILED)
    reply = Message(
        id=reply_id,
        conversation=conversation,
        role=Message.Role.ASSISTANT,
        text="" if state == Message.State.FAILED else compose(turn.question, words=words, rng=rng),
        created_at=turn.asked_at + timedelta(microseconds=1),
        state=state,
        error=_error(last) if state == Message.State.FAILED else "",
        reply_to=question,
        served_model=served.key,
        rating=turn.rating,
        rating_reason=turn.rating_reason,
        alive_at=turn.asked_at + timedelta(milliseconds=last.latency_ms),
    )
    return [question, reply]


def _error(last: Try) -> str:
    """The reply's error code, as ``generation.ending`` gives it."""
    if last.outcome != "error":
        return last.outcome
    return "rate_limited" if last.http_status == 429 else "unavailable"


def _cost(model: Model, usage: Usage, at: datetime) -> Decimal | None:
    return cost_usd(
        usage=usage, upstream_model=model.upstream, price_provider=model.price_provider, at=at, override=model.price
    )
