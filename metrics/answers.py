"""What was recorded of single answers, for whoever wants to check it against a count of their own.

Part of metrics' services; knows its own rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from metrics.models import ModelCall

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RecordedAnswer:
    """One answer as recorded: where its person was assigned and why, how its first and its last attempt ended.

    ``fell_back``: the last attempt was by another model than the assigned one. ``ttft_ms``, ``rating`` and
    its reason stand on the first attempt, which is the one that counts for the arm.
    """

    unit: str
    arm: str
    reason: str
    first_outcome: str
    last_outcome: str
    fell_back: bool
    ttft_ms: int | None
    rating: int | None
    rating_reason: str


def recorded_answers(answer_ids: Sequence[UUID]) -> dict[UUID, RecordedAnswer]:
    """What was recorded of these answers, and of all others for the same people since the first of these."""
    asked = ModelCall.objects.filter(attempt=1).values_list("unit", "started_at")
    known = [row for ids in _chunks(answer_ids) for row in asked.filter(answer_id__in=ids)]
    if not known:
        return {}
    since = min(started_at for _unit, started_at in known)
    attempts: dict[UUID, list[ModelCall]] = {}
    for units in _chunks(sorted({unit for unit, _started_at in known})):
        for call in ModelCall.objects.filter(unit__in=units, started_at__gte=since).order_by("attempt"):
            attempts.setdefault(call.answer_id, []).append(call)
    return {answer_id: _recorded(calls[0], calls[-1]) for answer_id, calls in attempts.items()}


def _recorded(first: ModelCall, last: ModelCall) -> RecordedAnswer:
    return RecordedAnswer(
        unit=first.unit,
        arm=first.arm,
        reason=first.reason,
        first_outcome=first.outcome,
        last_outcome=last.outcome,
        fell_back=last.served_model != last.assigned_model,
        ttft_ms=first.ttft_ms,
        rating=first.rating,
        rating_reason=first.rating_reason,
    )


def _chunks(values: Sequence[T], size: int = 500) -> Iterator[Sequence[T]]:
    """Parts that fit into one query: databases limit its parameters."""
    return (values[start : start + size] for start in range(0, len(values), size))
