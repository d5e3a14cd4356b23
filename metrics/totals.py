"""Sums over ended calls, for monitoring systems: how many, how long, how many tokens, how dear.

All sums are whole numbers (milliseconds, tokens, pico-dollars), so totals merge by addition in any order and
without rounding. Knows calls as plain values; knows no Django, no database, no clock and no wire format.

The histograms' bounds are those that OpenTelemetry's GenAI conventions advise: metrics
``gen_ai.client.operation.duration``, ``…time_to_first_chunk`` and ``gen_ai.client.token.usage`` of
https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-metrics.md.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, NamedTuple, Protocol

# 0.01 s to 81.92 s, each twice the one before.
DURATION_BOUNDS_MS = tuple(10 * 2**n for n in range(14))
# 1 to 67,108,864, each four times the one before.
TOKEN_BOUNDS = tuple(4**n for n in range(14))

_PICO = Decimal("1e-12")
# A call that ended like this was answered by a model, with or without text.
_ANSWERED = ("ok", "refused", "empty")


class EndedCall(Protocol):
    """What is read of a call. ``None`` is "not known"; the columns of ``metrics.models.ModelCall`` are these."""

    @property
    def rollout(self) -> str: ...
    @property
    def arm(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def surface(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def requested_model(self) -> str: ...
    @property
    def assigned_model(self) -> str: ...
    @property
    def served_model(self) -> str: ...
    @property
    def upstream_model(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def error_class(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def ttft_ms(self) -> int | None: ...
    @property
    def latency_ms(self) -> int | None: ...
    @property
    def input_tokens(self) -> int | None: ...
    @property
    def output_tokens(self) -> int | None: ...
    @property
    def cost_usd(self) -> Decimal | None: ...
    @property
    def baseline_cost_usd(self) -> Decimal | None: ...


class TotalKey(NamedTuple):
    """What is told apart. Nothing here names a person, and each part has few values."""

    rollout: str
    arm: str
    reason: str
    surface: str
    provider: str
    requested_model: str
    served_model: str
    upstream_model: str
    outcome: str
    error_class: str


def total_key(call: EndedCall) -> TotalKey:
    """The total that a call belongs to."""
    return TotalKey(*(str(getattr(call, name)) for name in TotalKey._fields))


@dataclass(kw_only=True)
class Histogram:
    """How many values lie up to each bound and above the one before; the last count is above all bounds."""

    bounds: Sequence[int]
    counts: list[int] = field(default_factory=list)
    sum: int = 0

    def __post_init__(self) -> None:
        if not self.counts:
            self.counts = [0] * (len(self.bounds) + 1)
        if len(self.counts) != len(self.bounds) + 1:
            raise ValueError(f"{len(self.bounds)} bounds need {len(self.bounds) + 1} counts, not {len(self.counts)}")

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    def add(self, value: int | None) -> None:
        """Count one value; what is not known is not counted."""
        if value is not None:
            self.counts[bisect_left(self.bounds, value)] += 1
            self.sum += value

    def merge(self, other: "Histogram") -> None:
        """Take in what ``other`` has counted, over the same bounds."""
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold, without the bounds."""
        return {"counts": list(self.counts), "sum": self.sum}


_BOUNDS = {
    "ttft_ms": DURATION_BOUNDS_MS,
    "latency_ms": DURATION_BOUNDS_MS,
    "input_tokens": TOKEN_BOUNDS,
    "output_tokens": TOKEN_BOUNDS,
}


def _durations() -> Histogram:
    return Histogram(bounds=DURATION_BOUNDS_MS)


def _tokens() -> Histogram:
    return Histogram(bounds=TOKEN_BOUNDS)


@dataclass(kw_only=True)
class Total:
    """Sums over the calls of one key.

    ``requests`` are first attempts, ``fallbacks`` calls served by another model than the assigned one. Money in
    pico-dollars: ``cost_pico`` over all calls of known cost; ``priced_cost_pico`` and ``baseline_cost_pico`` over
    those whose cost is known both as served and at the baseline's price, so that their difference is the saving.
    ``cost_unknown`` counts calls that a model answered and whose cost is not known.
    """

    calls: int = 0
    requests: int = 0
    fallbacks: int = 0
    cost_pico: int = 0
    priced_cost_pico: int = 0
    baseline_cost_pico: int = 0
    cost_unknown: int = 0
    ttft_ms: Histogram = field(default_factory=_durations)
    latency_ms: Histogram = field(default_factory=_durations)
    input_tokens: Histogram = field(default_factory=_tokens)
    output_tokens: Histogram = field(default_factory=_tokens)

    def add(self, call: EndedCall) -> None:
        """Count one ended call."""
        self.calls += 1
        self.requests += call.attempt == 1
        self.fallbacks += call.served_model != call.assigned_model
        self._add_money(call)
        for name in _BOUNDS:
            getattr(self, name).add(getattr(call, name))

    def _add_money(self, call: EndedCall) -> None:
        cost, baseline_cost = call.cost_usd, call.baseline_cost_usd
        if cost is None:
            self.cost_unknown += call.ttft_ms is not None or call.outcome in _ANSWERED
            return
        self.cost_pico += _pico(cost)
        if baseline_cost is not None:
            self.priced_cost_pico += _pico(cost)
            self.baseline_cost_pico += _pico(baseline_cost)

    def merge(self, other: "Total") -> None:
        """Take in another total."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _BOUNDS:
            getattr(self, name).merge(getattr(other, name))

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold; ``from_json`` gives the same total back."""
        counts: dict[str, Any] = {name: getattr(self, name) for name in _COUNTS}
        return counts | {name: getattr(self, name).to_json() for name in _BOUNDS}

    @classmethod
    def from_json(cls, sums: dict[str, Any]) -> "Total":
        """A total from what ``to_json`` gave; KeyError or ValueError for anything else."""
        total = cls(**{name: sums[name] for name in _COUNTS})
        for name, bounds in _BOUNDS.items():
            stored = sums[name]
            setattr(total, name, Histogram(bounds=bounds, counts=list(stored["counts"]), sum=stored["sum"]))
        return total


_COUNTS = tuple(part.name for part in fields(Total) if part.name not in _BOUNDS)


def _pico(usd: Decimal) -> int:
    """Rounded as the database's column is, so that a sum of calls in memory equals one of rows."""
    return int((usd / _PICO).to_integral_value(rounding=ROUND_HALF_EVEN))


def to_usd(pico: int) -> Decimal:
    """Pico-dollars as exact US dollars."""
    return pico * _PICO
