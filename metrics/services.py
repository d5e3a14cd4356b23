"""The only way to write calls: open and close them, rate an answer. ``reading`` has what they add up to.

Knows its own rows. Knows nothing of people, conversations or how a rollout decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from django.db.models import Q

from metrics import statements
from metrics.models import ModelCall, Outcome
from metrics.pricing import Usage
from metrics.ratings import go_together


@dataclass(frozen=True, kw_only=True)
class CallStart:
    """A call about to be made. ``unit`` is a pseudonym; ``arm`` and ``rollout`` are "" outside any rollout.

    ``run`` and ``stretch`` are the rollout's at that moment, 0 outside any. ``application`` is the prefix of the key
    that a program asked with, "" for a person's own request.
    """

    answer_id: UUID
    attempt: int
    surface: str
    rollout: str
    arm: str
    reason: str
    percent: Decimal | None
    run: int
    stretch: int
    unit: str
    requested_model: str
    assigned_model: str
    served_model: str
    provider: str
    started_at: datetime
    is_demo: bool = False
    application: str = ""
    id: UUID = field(default_factory=uuid4)


@dataclass(frozen=True, kw_only=True)
class CallEnd:
    """How a call ended. ``outcome`` is one of ``models.Outcome``'s values, not ``running``.

    ``None`` is "not known"; times in ms since the call was opened; costs in USD. ``reason`` takes the place of the one
    that it was opened with, where it was not made after all.
    """

    outcome: str
    ended_at: datetime
    ttft_ms: int | None = None
    latency_ms: int | None = None
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal | None = None
    baseline_cost_usd: Decimal | None = None
    upstream_model: str = ""
    finish_reason: str = ""
    error_class: str = ""
    error_detail: str = ""
    http_status: int | None = None
    reason: str | None = None


def open_call(start: CallStart) -> UUID:
    """Write the call's row, outcome ``running``, before anything is sent upstream. Returns its id."""
    open_calls([start])
    return start.id


def open_calls(starts: Sequence[CallStart]) -> None:
    """The same for several calls, at least one: all of them or none."""
    statements.insert(ModelCall, [vars(start) for start in starts])


def close_call(call_id: UUID, end: CallEnd, *, started_at: datetime) -> bool:
    """Write how a running call ended, once. False, and no change, if it had already ended.

    ``started_at`` is its ``CallStart``'s, to the microsecond: it tells PostgreSQL which partition to look into.
    """
    return close_calls([(call_id, started_at, end)]) == 1


def close_calls(ends: Sequence[tuple[UUID, datetime, CallEnd]]) -> int:
    """The same for several calls, at least one: each by its id and start. Returns how many had not ended yet."""
    found = [({"id": call_id, "started_at": started_at}, end_columns(end)) for call_id, started_at, end in ends]
    # Of a statement all rows change the same columns.
    alike = [[row for row in found if ("reason" in row[1]) == is_moved] for is_moved in (False, True)]
    only = ("outcome", Outcome.RUNNING.value)
    return sum(statements.change(ModelCall, rows, only=only, near="started_at") for rows in alike if rows)


def end_columns(end: CallEnd) -> dict[str, Any]:
    """The columns of a call's row that its end fills in."""
    return {
        **({} if end.reason is None else {"reason": end.reason}),
        "outcome": Outcome(end.outcome).value,
        "ended_at": end.ended_at,
        "ttft_ms": end.ttft_ms,
        "latency_ms": end.latency_ms,
        **vars(end.usage),
        "cost_usd": end.cost_usd,
        "baseline_cost_usd": end.baseline_cost_usd,
        "upstream_model": end.upstream_model[:200],
        "finish_reason": end.finish_reason,
        "error_class": end.error_class,
        "error_detail": end.error_detail[:300],
        "http_status": end.http_status,
    }


def is_call_of(answer_id: UUID, *, application: str) -> bool:
    """Whether that application asked for the answer."""
    return ModelCall.objects.filter(answer_id=answer_id, attempt=1, application=application).exists()


def abandon_calls(*, now: datetime, started_before: datetime, answer_ids: Sequence[UUID] = ()) -> list[UUID]:
    """Close calls that a dead process left running: the old ones, and those of answers known to be dead.

    Returns the answers they belonged to.
    """
    dead = Q(started_at__lt=started_before) | Q(answer_id__in=answer_ids)
    running = ModelCall.objects.filter(dead, outcome=Outcome.RUNNING).values_list("id", "answer_id", "started_at")
    end = CallEnd(outcome=Outcome.ABANDONED, ended_at=now, error_class="abandoned")
    return [
        answer_id for call_id, answer_id, started_at in list(running) if close_call(call_id, end, started_at=started_at)
    ]


def rate(answer_id: UUID, rating: int | None, reason: str = "") -> None:
    """Store a person's rating of an answer, 1 to 5, or ``None`` to take it back, and one of ``ratings.REASONS``.

    They stand on the first attempt: that is the one that counts for the arm the person was assigned to.
    """
    if rating is not None and not 1 <= rating <= 5:
        raise ValueError("a rating is 1 to 5")
    if not go_together(rating, reason):
        raise ValueError("a reason is a known one of a rating that takes one")
    ModelCall.objects.filter(answer_id=answer_id, attempt=1).update(rating=rating, rating_reason=reason, pending=True)
