"""What a key may use: requests and tokens a minute, counted in Redis, and dollars a day, in the database.

Each is reserved before a call, for the most that it may come to, and settled after it, so that calls side by side can't
overspend together. Without Redis the minutes' limits let everybody through; the dollars' never do.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from django.db.models import F

from api.counting import count
from chat.calls import cost_of
from chat.json_bytes import write_json
from gateway.errors import ApiError
from gateway.models import ApiKey, Spending
from gateway.wire_request import Completion
from metrics.pricing import Usage

Cost = Decimal | None
# What one attempt used and cost; no usage is nothing, and in it, or of a cost, ``None`` is not known.
Used = tuple[Usage | None, Cost]
MINUTE_S = 60
_PICO = Decimal(10) ** 12
_LARGEST = (1 << 63) - 1
# Where a request sets no limit itself, an answer is taken to be this long, and a token to be so many characters.
USUAL_TOKENS = 2_000
# With a limit in dollars it is not taken to be, but cut there: whatever is not reserved could be overspent.
LONGEST_TOKENS = 4_096
CHARS_PER_TOKEN = 3
# Of what is not ASCII; a character has two to four.
BYTES_PER_TOKEN = 2
IMAGE_TOKENS = 1_500
# What is around each message; vendors count some three to eight.
MESSAGE_TOKENS = 10


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """What was put aside for one answer: ``tokens`` in a minute; pico-dollars on a day, so many for each ``attempt``
    and an ``amount`` in all. ``headers`` say what was left of the minute's limits then.
    """

    key_id: int
    minute: int = 0
    tokens: int = 0
    day: date | None = None
    amount: int = 0
    attempt: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


# An answer that is over: what was put aside for it, and what its attempts used.
Settled = tuple[Reservation, Sequence[Used]]


def bounded(key: ApiKey, completion: Completion) -> Completion:
    """The request as it goes to a model: for a key with dollars, its answer ends where what is reserved for it does."""
    if key.dollars_per_day is None or completion.options.max_tokens is not None:
        return completion
    return replace(completion, options=replace(completion.options, max_tokens=LONGEST_TOKENS))


def reserve(key: ApiKey, completion: Completion, models: Sequence[str], *, now: datetime) -> Reservation:
    """Put aside what an answer by any of ``models`` may use.

    Raises ApiError (429, or 503 without a price), with nothing put aside; that it asked counts as a request.
    """
    minute = int(now.timestamp()) // MINUTE_S
    wait = str(MINUTE_S - int(now.timestamp()) % MINUTE_S)
    is_limited = key.tokens_per_minute is not None or key.dollars_per_day is not None
    prompt, answer = most_tokens(completion) if is_limited else (0, 0)
    # First what may be refused for want of a price: nothing is to be put back then.
    amount = 0 if key.dollars_per_day is None else _most_cost(models, prompt, answer, now)
    counted = _count(f"requests:{key.pk}:{minute}", 1, key.requests_per_minute)
    headers = _headers("Requests", counted, wait)
    if counted is not None and counted.is_over:
        raise _too_much("requests a minute", "rate_limit_exceeded", {"Retry-After": wait, **headers})
    tokens = 0 if key.tokens_per_minute is None else prompt + answer
    if key.tokens_per_minute is not None and tokens > key.tokens_per_minute:
        why = f"may take {tokens:,} tokens, and its key may use {key.tokens_per_minute:,} a minute"
        raise _never(why, "rate_limit_exceeded")
    counted = _count(f"tokens:{key.pk}:{minute}", tokens, key.tokens_per_minute)
    headers |= _headers("Tokens", counted, wait)
    if counted is None:
        # Nothing was put aside, and so nothing is to be put back.
        tokens = 0
    elif counted.is_over:
        raise _too_much("tokens a minute", "rate_limit_exceeded", {"Retry-After": wait, **headers})
    reservation = Reservation(key_id=key.pk, minute=minute, tokens=tokens, headers=headers)
    if key.dollars_per_day is None:
        return reservation
    day, limit = now.date(), _most_of(key)
    if amount > limit:
        _put_back(key, minute, tokens)
        why = f"may cost {amount / _PICO:.6f} US dollars, and its key may spend {key.dollars_per_day} a day"
        raise _never(why, "insufficient_quota")
    Spending.objects.get_or_create(key=key, day=day)
    mine = Spending.objects.filter(key=key, day=day, spent__lte=limit - amount - F("reserved"))
    if not mine.update(reserved=F("reserved") + amount):
        _put_back(key, minute, tokens)
        raise _too_much("dollars a day", "insufficient_quota", headers)
    return replace(reservation, day=day, amount=amount, attempt=amount)


def put_more_aside(key: ApiKey, reservation: Reservation, used: Used) -> Reservation | None:
    """For another attempt at the answer, after one that used some of what was put aside; ``None`` where the key has no
    more dollars. Inside the transaction that opens the attempt.
    """
    more = _spent_by(used, reservation)
    if not more or reservation.day is None:
        return reservation
    mine = Spending.objects.filter(key=key, day=reservation.day, spent__lte=_most_of(key) - more - F("reserved"))
    if not mine.update(reserved=F("reserved") + more):
        return None
    return replace(reservation, amount=reservation.amount + more)


def settle_tokens(answers: Iterable[Settled]) -> None:
    """Put in what answers really used, in all their attempts; what is not known of one counts as reserved.

    Answers of the same key are put in together. In Redis, so not inside a transaction.
    """
    tokens: Counter[tuple[int, int]] = Counter()
    for reservation, attempts in answers:
        if reservation.tokens:
            used = sum(_total(usage, reservation.tokens) for usage, _cost in attempts if usage is not None)
            tokens[reservation.key_id, reservation.minute] += used - reservation.tokens
    for (key_id, minute), by in tokens.items():
        _add(f"tokens:{key_id}:{minute}", by)


def settle_dollars(answers: Iterable[Settled]) -> None:
    """The same of what they cost, in the database."""
    reserved: Counter[tuple[int, date]] = Counter()
    spent: Counter[tuple[int, date]] = Counter()
    for reservation, attempts in answers:
        if reservation.day is not None:
            of_day = reservation.key_id, reservation.day
            reserved[of_day] += reservation.amount
            spent[of_day] += sum(_spent_by(used, reservation) for used in attempts)
    # In one order everywhere: two processes that settle the same keys the other way round would wait for each other.
    for (key_id, day), amount in sorted(reserved.items()):
        Spending.objects.filter(key_id=key_id, day=day).update(
            reserved=F("reserved") - amount, spent=F("spent") + spent[key_id, day]
        )


def give_back(reservations: Iterable[Reservation]) -> None:
    """Of answers that nobody was asked for."""
    unused: list[Settled] = [(reservation, ()) for reservation in reservations]
    settle_dollars(unused)
    settle_tokens(unused)


def most_tokens(completion: Completion) -> tuple[int, int]:
    """The prompt's tokens and the answer's, guessed high."""
    options = completion.options
    texts = [part for message in completion.messages for part in (message.text, message.name)]
    calls = [call for message in completion.messages for call in message.tool_calls]
    texts += [part for call in calls for part in (call.name, call.arguments)]
    # Schemas are read by the model as the messages are.
    texts += [part for tool in options.tools for part in (tool.name, tool.description, _json(tool.parameters))]
    texts.append(_json(options.response_format))
    images = sum(len(message.images) for message in completion.messages)
    prompt = sum(map(_tokens, texts)) + IMAGE_TOKENS * images + MESSAGE_TOKENS * len(completion.messages)
    return prompt, options.max_tokens or USUAL_TOKENS


def _tokens(text: str) -> int:
    if text.isascii():
        return -(-len(text) // CHARS_PER_TOKEN)
    plain = sum(map(str.isascii, text))
    return -(-plain // CHARS_PER_TOKEN) + (len(text.encode(errors="replace")) - plain) // BYTES_PER_TOKEN


def _json(value: object) -> str:
    return "" if value is None else write_json(value).decode()


def _most_cost(models: Sequence[str], prompt: int, answer: int, now: datetime) -> int:
    """The dearest of the models, in pico-dollars. ApiError where a model's price is not known: no limit would hold."""
    usage = Usage(input_tokens=prompt, output_tokens=answer)
    costs = [cost_of(key, usage, now) for key in dict.fromkeys(models)]
    if None in costs:
        raise ApiError(503, "This model has no price, and this key has a limit in dollars.", code="price_unknown")
    return max(int(cost * _PICO) for cost in costs if cost is not None)


def _most_of(key: ApiKey) -> int:
    """What it may spend on a day, in pico-dollars, as far as a column holds them."""
    return min(int((key.dollars_per_day or 0) * _PICO), _LARGEST)


def _spent_by(used: Used, reservation: Reservation) -> int:
    """By one attempt, in pico-dollars; where it is not known, as much as was put aside for it."""
    usage, cost = used
    if usage is None or reservation.day is None:
        return 0
    return reservation.attempt if cost is None else int(cost * _PICO)


def _total(usage: Usage, otherwise: int) -> int:
    known = [count for count in (usage.input_tokens, usage.output_tokens) if count is not None]
    return sum(known) if known else otherwise


def _put_back(key: ApiKey, minute: int, tokens: int) -> None:
    if tokens:
        _add(f"tokens:{key.pk}:{minute}", -tokens)


class _Counted(NamedTuple):
    """What is left of a minute's ``limit``; where something would go beyond it, nothing was added."""

    limit: int
    left: int
    is_over: bool


def _count(name: str, by: int, limit: int | None) -> _Counted | None:
    """Add to a minute's counter; ``None`` without a limit or without Redis."""
    after = None if limit is None else _add(name, by)
    if limit is None or after is None:
        return None
    is_over = after > limit
    if is_over:
        _add(name, -by)
        after -= by
    return _Counted(limit, max(0, limit - after), is_over)


def _headers(what: str, counted: _Counted | None, wait: str) -> dict[str, str]:
    """A minute's limit as OpenAI tells its own: https://platform.openai.com/docs/guides/rate-limits"""
    if counted is None:
        return {}
    return {
        f"X-RateLimit-Limit-{what}": str(counted.limit),
        f"X-RateLimit-Remaining-{what}": str(counted.left),
        f"X-RateLimit-Reset-{what}": f"{wait}s",
    }


def _add(name: str, by: int) -> int | None:
    return count(f"gateway:{name}", by, keep_s=2 * MINUTE_S)


def _never(why: str, code: str) -> ApiError:
    """To wait does not help."""
    return ApiError(429, f"This request {why}. Set a lower max_tokens.", code=code, param="max_tokens")


def _too_much(what: str, code: str, headers: Mapping[str, str]) -> ApiError:
    return ApiError(429, f"This key's limit is reached: {what}.", code=code, headers=headers)
