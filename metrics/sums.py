"""What is added up of calls: exact, linear sums that merge by addition, in any order, over minutes and workers.

Everything is a whole number (pico-dollars, micro-nats, hundredths of a percent), so that adding in another order, or
all anew, gives the same to the last digit. Knows calls by their attributes; knows no Django, no clock and no storage.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from hashlib import sha256
from itertools import accumulate
from typing import Any, NamedTuple, Self

# What counts against a model. ``cancelled`` is the person's own choice and counts for nobody.
ERROR_OUTCOMES = frozenset(("error", "timeout", "abandoned", "refused", "empty"))
# Outcomes of a call that reached its model, whether or not text came.
ANSWERED_OUTCOMES = frozenset(("ok", "refused", "empty"))
# Who was assigned by the percentage is a fair sample; testers, forced and manual traffic are not.
DECIDING_REASON = "percentage"

CLUSTERS = 128
PICO = 10**12
MICRO = 10**6
# Each bin is 5 % wider than the one before.
BIN_WIDTH = math.log(1.05)

Bins = dict[str, int]


class Histogram(NamedTuple):
    """The bins that hold anything, lowest first, and how many calls each and those before it hold together."""

    bins: Sequence[str]
    up_to: Sequence[int]


def latency_bin(ms: int) -> int:
    """The histogram bin of a latency in ms: floor(ln ms / ln 1.05); 0 ms counts as 1."""
    # The nudge puts an exact power of 1.05 into its own bin on every machine.
    return math.floor(math.log(max(ms, 1)) / BIN_WIDTH + 1e-9)


def in_order(bins: Mapping[str, int]) -> Histogram:
    """A histogram as ``percentile`` takes it."""
    filled = sorted([number for number, count in bins.items() if count])
    # Whole numbers from 0 on, so the longer is the greater: to compare them so takes a third of making numbers of all.
    filled.sort(key=len)
    return Histogram(filled, list(accumulate(map(bins.__getitem__, filled))))


def percentile(histogram: Histogram, share: float) -> float | None:
    """The latency in ms that ``share`` (0 to 1) of the counted calls stay within; ``None`` without calls.

    Inside a bin, calls are taken as spread evenly over its logarithm: at most 5 % off.
    """
    bins, up_to = histogram
    if not bins:
        return None
    wanted = share * up_to[-1]
    place = bisect_left(up_to, wanted)
    if place == len(bins):
        raise ValueError("share is 0 to 1")
    below = up_to[place - 1] if place else 0
    return math.exp((int(bins[place]) + (wanted - below) / (up_to[place] - below)) * BIN_WIDTH)


def person_of(rollout: str, unit: str) -> int:
    """A person's number in one rollout's roll-ups: 63 bits of SHA-256, independent of the assignment's hash."""
    return int.from_bytes(sha256(f"{rollout}\0{unit}".encode()).digest()[:8]) >> 1


def cluster_of(person: int) -> int:
    """The person's statistical bucket, 0 to 127: the unit of the cluster-robust variances."""
    return person % CLUSTERS


@dataclass(kw_only=True)
class _Additive:
    """Counters and dicts of counters, which add up field by field."""

    def merge(self, other: Self, sign: int = 1) -> None:
        """Add another's numbers, or take them away (``sign=-1``)."""
        for part in fields(self):
            theirs = getattr(other, part.name)
            if isinstance(theirs, dict):
                mine = getattr(self, part.name)
                for key, count in theirs.items():
                    mine[key] = mine.get(key, 0) + sign * count
            elif theirs:
                setattr(self, part.name, getattr(self, part.name) + sign * theirs)

    def merge_json(self, document: Mapping[str, Any], sign: int = 1) -> None:
        """The same of numbers that are as ``to_json`` gives them; the quicker way where many are added up."""
        for name, theirs in document.items():
            if isinstance(theirs, dict):
                mine = getattr(self, name)
                for key, count in theirs.items():
                    mine[key] = mine.get(key, 0) + sign * count
            else:
                setattr(self, name, getattr(self, name) + sign * theirs)

    def to_json(self) -> dict[str, Any]:
        """The numbers that are not zero, in one order: equal sums are equal documents."""
        document: dict[str, Any] = {}
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, dict):
                value = {key: value[key] for key in sorted(value) if value[key]}
            if value:
                document[part.name] = value
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Back from ``to_json``."""
        return cls(**document)


@dataclass(kw_only=True)
class Sums(_Additive):
    """One arm in one slice of time. Requests are first attempts; tokens and money count every attempt.

    ``percent_sum`` adds up the percentage in force at each request, in hundredths of a percent: the candidate's
    expected requests are ``percent_sum / 10_000``. Money is in pico-dollars, times in ms; ``priced_cost`` and
    ``baseline_cost`` are over the calls whose both prices are known. ``last_seen`` counts the people who were seen in
    this slice and not since: added up from a slice to the newest, it is the number of people since then.
    """

    requests: int = 0
    outcomes: Bins = field(default_factory=dict)
    errors: Bins = field(default_factory=dict)
    fallbacks: int = 0
    percent_sum: int = 0
    ttft_n: int = 0
    ttft_sum: int = 0
    ttft_bins: Bins = field(default_factory=dict)
    latency_n: int = 0
    latency_sum: int = 0
    latency_bins: Bins = field(default_factory=dict)
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    priced_cost: int = 0
    baseline_cost: int = 0
    cost_unknown: int = 0
    ratings: Bins = field(default_factory=dict)
    rating_reasons: Bins = field(default_factory=dict)
    last_seen: int = 0

    def add(self, call: Any) -> None:
        """Count an ended call (attributes as ``models.ModelCall``), its rating and its reason as they are."""
        if call.attempt == 1:
            self._add_request(call)
        if call.served_model != call.assigned_model:
            self.fallbacks += 1
        self.input_tokens += call.input_tokens or 0
        self.output_tokens += call.output_tokens or 0
        if call.cost_usd is not None:
            cost = pico(call.cost_usd)
            self.cost += cost
            if call.baseline_cost_usd is not None:
                self.priced_cost += cost
                self.baseline_cost += pico(call.baseline_cost_usd)
        elif reached_model(call):
            self.cost_unknown += 1

    def add_rating(self, rating: int | None, sign: int = 1) -> None:
        """Count a rating of 1 to 5, or take it away."""
        if rating is not None:
            _count(self.ratings, str(rating), sign)

    def add_rating_reason(self, reason: str, sign: int = 1) -> None:
        """Count a rating's reason, or take it away; "" is none."""
        if reason:
            _count(self.rating_reasons, reason, sign)

    def _add_request(self, call: Any) -> None:
        self.requests += 1
        _count(self.outcomes, call.outcome)
        if call.outcome in ERROR_OUTCOMES:
            _count(self.errors, call.error_class or call.outcome)
        self.percent_sum += int((call.percent or 0) * 100)
        if call.ttft_ms is not None:
            self.ttft_n += 1
            self.ttft_sum += call.ttft_ms
            _count(self.ttft_bins, str(latency_bin(call.ttft_ms)))
            if call.latency_ms is not None and call.outcome != "cancelled":
                self.latency_n += 1
                self.latency_sum += call.latency_ms
                _count(self.latency_bins, str(latency_bin(call.latency_ms)))
        self.add_rating(call.rating)
        self.add_rating_reason(call.rating_reason)


@dataclass(kw_only=True)
class ClusterSums(_Additive):
    """One arm's sums in one of the 128 clusters of people, over one stretch or window: what a decision is made from.

    ``n`` are requests that ended and were not cancelled. Logarithms are of ms, in millionths. A request's cost is that
    of all its attempts; ``cost_n`` counts the requests whose cost is known, 0 for one that reached no model.
    ``people`` counts those whose first request of the run this was.
    """

    n: int = 0
    errors: int = 0
    ttft_n: int = 0
    sum_ttft: int = 0
    sum_log_ttft: int = 0
    ttft_bins: Bins = field(default_factory=dict)
    latency_n: int = 0
    sum_latency: int = 0
    sum_log_latency: int = 0
    latency_bins: Bins = field(default_factory=dict)
    cost_n: int = 0
    sum_cost: int = 0
    sum_baseline_cost: int = 0
    rating_n: int = 0
    rating_sum: int = 0
    people: int = 0

    def add(self, call: Any) -> None:
        """Count an ended call (attributes as ``models.ModelCall``), its rating as it is."""
        known = call.cost_usd is not None
        if known:
            self.sum_cost += pico(call.cost_usd)
            self.sum_baseline_cost += pico(call.baseline_cost_usd or Decimal(0))
        if call.attempt != 1:
            return
        if known or not reached_model(call):
            self.cost_n += 1
        cancelled = call.outcome == "cancelled"
        if not cancelled:
            self.n += 1
            self.errors += call.outcome in ERROR_OUTCOMES
        if call.ttft_ms is not None:
            self.ttft_n += 1
            self.sum_ttft += call.ttft_ms
            self.sum_log_ttft += micro_log(call.ttft_ms)
            _count(self.ttft_bins, str(latency_bin(call.ttft_ms)))
            if call.latency_ms is not None and not cancelled:
                self.latency_n += 1
                self.sum_latency += call.latency_ms
                self.sum_log_latency += micro_log(call.latency_ms)
                _count(self.latency_bins, str(latency_bin(call.latency_ms)))
        self.add_rating(call.rating)

    def add_rating(self, rating: int | None, sign: int = 1) -> None:
        """Count a rating of 1 to 5, or take it away."""
        if rating is not None:
            self.rating_n += sign
            self.rating_sum += sign * rating


def reached_model(call: Any) -> bool:
    """Whether a model answered at all: a call that never reached one costs nothing, and is not of unknown cost."""
    return call.ttft_ms is not None or call.outcome in ANSWERED_OUTCOMES


def pico(usd: Decimal) -> int:
    """Whole pico-dollars, as stored."""
    return int(usd * PICO)


def micro_log(ms: int) -> int:
    """ln(ms) in millionths, as a whole number; 0 ms counts as 1."""
    return round(MICRO * math.log(max(ms, 1)))


def _count(counts: Bins, key: str, by: int = 1) -> None:
    counts[key] = counts.get(key, 0) + by
