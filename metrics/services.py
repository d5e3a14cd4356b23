"""The only way into metrics: open and close calls, rate an answer, add up an arm's health.

Knows its own rows. Knows nothing of people, conversations or how a rollout decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Avg, Count, F, Q, QuerySet, Sum

from metrics.models import Arm, ModelCall, Outcome
from metrics.pricing import Usage

# Who was assigned by the percentage is a fair sample; testers, forced and manual traffic are not.
DECIDING_REASON = "percentage"
# What counts against a model. ``cancelled`` is the person's own choice and counts for nobody.
ERROR_OUTCOMES = (Outcome.ERROR, Outcome.TIMEOUT, Outcome.ABANDONED, Outcome.REFUSED, Outcome.EMPTY)


@dataclass(frozen=True, kw_only=True)
class CallStart:
    """A call about to be made. ``unit`` is a pseudonym; ``arm`` and ``rollout`` are "" outside any rollout."""

    answer_id: UUID
    attempt: int
    surface: str
    rollout: str
    arm: str
    reason: str
    percent: Decimal | None
    unit: str
    requested_model: str
    assigned_model: str
    served_model: str
    started_at: datetime
    is_demo: bool = False


@dataclass(frozen=True, kw_only=True)
class CallEnd:
    """How a call ended. ``outcome`` is one of ``models.Outcome``'s values, not ``running``.

    ``None`` is "not known"; times in ms since the call was opened; costs in USD.
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


def open_call(start: CallStart) -> UUID:
    """Write the call's row, outcome ``running``, before anything is sent upstream. Returns its id."""
    return ModelCall.objects.create(**vars(start)).id


def close_call(call_id: UUID, end: CallEnd) -> bool:
    """Write how a running call ended, once. False, and no change, if it had already ended."""
    return ModelCall.objects.filter(id=call_id, outcome=Outcome.RUNNING).update(**end_columns(end)) == 1


def end_columns(end: CallEnd) -> dict[str, Any]:
    """The columns of a call's row that its end fills in."""
    return {
        "outcome": Outcome(end.outcome),
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


def abandon_calls(*, now: datetime, started_before: datetime, answer_ids: Sequence[UUID] = ()) -> list[UUID]:
    """Close calls that a dead process left running: the old ones, and those of answers known to be dead.

    Returns the answers they belonged to.
    """
    dead = Q(started_at__lt=started_before) | Q(answer_id__in=answer_ids)
    running = ModelCall.objects.filter(dead, outcome=Outcome.RUNNING).values_list("id", "answer_id")
    end = CallEnd(outcome=Outcome.ABANDONED, ended_at=now, error_class="abandoned")
    return [answer_id for call_id, answer_id in list(running) if close_call(call_id, end)]


def rate(answer_id: UUID, rating: int | None) -> None:
    """Store a person's rating of an answer, 1 to 5, or ``None`` to take it back.

    It stands on the first attempt: that is the one that counts for the arm the person was assigned to.
    """
    if rating is not None and not 1 <= rating <= 5:
        raise ValueError("a rating is 1 to 5")
    ModelCall.objects.filter(answer_id=answer_id, attempt=1).update(rating=rating)


@dataclass(frozen=True, kw_only=True)
class ArmHealth:
    """One arm in a window. Requests are first attempts; money counts every attempt. ``None`` is "not known"."""

    requests: int = 0
    people: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    ttft_n: int = 0
    ttft_mean_ms: float | None = None
    latency_mean_ms: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    priced_cost_usd: Decimal = Decimal(0)
    baseline_cost_usd: Decimal = Decimal(0)
    cost_unknown: int = 0
    ratings: int = 0
    rating_mean: float | None = None
    fallbacks: int = 0

    @property
    def judged(self) -> int:
        """Requests that ended and were not cancelled: the denominator of the error rate."""
        apart = (Outcome.RUNNING.value, Outcome.CANCELLED.value)
        return sum(n for outcome, n in self.outcomes.items() if outcome not in apart)

    @property
    def errors(self) -> int:
        """Requests that ended badly."""
        return sum(self.outcomes.get(outcome.value, 0) for outcome in ERROR_OUTCOMES)

    @property
    def error_percent(self) -> float | None:
        """Errors per 100 judged requests."""
        return 100 * self.errors / self.judged if self.judged else None

    @property
    def known_cost_usd(self) -> Decimal | None:
        """What the calls cost; ``None`` where there were some and no cost is known."""
        return None if self.cost_unknown and not self.cost_usd else self.cost_usd

    @property
    def known_baseline_cost_usd(self) -> Decimal | None:
        """What the calls would have cost at the baseline's price; ``None`` as above."""
        spent = self.cost_unknown or self.cost_usd
        return None if spent and not self.baseline_cost_usd else self.baseline_cost_usd

    @property
    def saved_usd(self) -> Decimal | None:
        """What the same tokens would have cost at the baseline's price, minus what they cost; ``None`` as above."""
        at_baseline = self.known_baseline_cost_usd
        return None if at_baseline is None else at_baseline - self.priced_cost_usd

    @property
    def saved_percent(self) -> float | None:
        """The saving per 100 dollars at the baseline's price; negative is dearer."""
        saved = self.saved_usd
        return float(100 * saved / self.baseline_cost_usd) if saved is not None and self.baseline_cost_usd else None


@dataclass(frozen=True, kw_only=True)
class Health:
    """Both arms of one rollout between ``since`` (in) and ``until`` (out).

    ``expected_candidate`` is the number of requests that the percentages in force at each request
    would send to the candidate. ``other`` counts requests by reason that do not decide anything.
    """

    rollout: str
    since: datetime
    until: datetime
    baseline: ArmHealth
    candidate: ArmHealth
    expected_candidate: Decimal
    other: dict[str, int]

    @property
    def requests(self) -> int:
        """First attempts that decide, both arms."""
        return self.baseline.requests + self.candidate.requests


def health(*, rollout: str, since: datetime, until: datetime) -> Health:
    """Add up a rollout's calls by assigned arm; only ``DECIDING_REASON`` enters the arms."""
    window = ModelCall.objects.filter(rollout=rollout, started_at__gte=since, started_at__lt=until)
    deciding = window.filter(reason=DECIDING_REASON)
    first = deciding.filter(attempt=1)
    others = window.filter(attempt=1).exclude(reason=DECIDING_REASON).values("reason").annotate(n=Count("id"))
    percent_sum = first.aggregate(total=Sum("percent"))["total"] or Decimal(0)
    return Health(
        rollout=rollout,
        since=since,
        until=until,
        baseline=_arm_health(deciding.filter(arm=Arm.BASELINE)),
        candidate=_arm_health(deciding.filter(arm=Arm.CANDIDATE)),
        expected_candidate=Decimal(percent_sum) / 100,
        other={row["reason"]: row["n"] for row in others.order_by("reason")},
    )


def _arm_health(calls: "QuerySet[ModelCall]") -> ArmHealth:
    first = Q(attempt=1)
    priced = Q(cost_usd__isnull=False, baseline_cost_usd__isnull=False)
    # A call that never reached the model costs nothing we could know; it is not "unknown".
    reached = Q(ttft_ms__isnull=False) | Q(outcome__in=[Outcome.OK, Outcome.REFUSED, Outcome.EMPTY])
    # The prefix keeps Django from taking an earlier sum for the column of the same name.
    sums = calls.aggregate(
        a_requests=Count("id", filter=first),
        a_people=Count("unit", filter=first, distinct=True),
        a_ttft_n=Count("ttft_ms", filter=first),
        a_ttft_mean_ms=Avg("ttft_ms", filter=first),
        a_latency_mean_ms=Avg("latency_ms", filter=first & Q(ttft_ms__isnull=False)),
        a_input_tokens=Sum("input_tokens", default=0),
        a_output_tokens=Sum("output_tokens", default=0),
        a_cost_usd=Sum("cost_usd"),
        a_priced_cost_usd=Sum("cost_usd", filter=priced),
        a_baseline_cost_usd=Sum("baseline_cost_usd", filter=priced),
        a_cost_unknown=Count("id", filter=Q(cost_usd__isnull=True) & reached),
        a_ratings=Count("rating", filter=first),
        a_rating_mean=Avg("rating", filter=first),
        a_fallbacks=Count("id", filter=~Q(served_model=F("assigned_model"))),
    )
    figures = {name.removeprefix("a_"): value for name, value in sums.items()}
    outcomes = calls.filter(first).values("outcome").annotate(n=Count("id")).order_by("outcome")
    for money in ("cost_usd", "priced_cost_usd", "baseline_cost_usd"):
        figures[money] = figures[money] or Decimal(0)
    for tokens in ("input_tokens", "output_tokens"):
        figures[tokens] = int(figures[tokens])
    for mean in ("ttft_mean_ms", "latency_mean_ms", "rating_mean"):
        figures[mean] = None if figures[mean] is None else float(figures[mean])
    return ArmHealth(outcomes={row["outcome"]: row["n"] for row in outcomes}, **figures)
