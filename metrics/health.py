"""What sums say of an arm: rates, means, percentiles and money. Pure: knows ``sums``, no storage and no clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from metrics.sums import ERROR_OUTCOMES, PICO, Histogram, Sums, in_order, percentile


def usd(pico_dollars: int) -> Decimal:
    """Dollars, exactly."""
    return Decimal(pico_dollars) / PICO


@dataclass(frozen=True, kw_only=True)
class ArmHealth:
    """One arm over some time. ``people`` is ``None`` where it is not counted yet; what is not known is ``None``."""

    sums: Sums = field(default_factory=Sums)
    people: int | None = 0

    @property
    def requests(self) -> int:
        """First attempts that have ended."""
        return self.sums.requests

    @property
    def outcomes(self) -> dict[str, int]:
        """Requests by outcome."""
        return _counts(self.sums.outcomes)

    @property
    def errors_by_class(self) -> dict[str, int]:
        """Requests that ended badly, by error class."""
        return _counts(self.sums.errors)

    @property
    def judged(self) -> int:
        """Requests that were not cancelled: the denominator of the error rate."""
        return self.requests - self.sums.outcomes.get("cancelled", 0)

    @property
    def errors(self) -> int:
        """Requests that ended badly."""
        return sum(self.sums.outcomes.get(outcome, 0) for outcome in ERROR_OUTCOMES)

    @property
    def error_percent(self) -> float | None:
        """Errors per 100 judged requests."""
        return 100 * self.errors / self.judged if self.judged else None

    @property
    def fallbacks(self) -> int:
        """Attempts that another model than the assigned one served."""
        return self.sums.fallbacks

    @property
    def ttft_n(self) -> int:
        """Requests whose time to first token is known."""
        return self.sums.ttft_n

    @property
    def ttft_mean_ms(self) -> float | None:
        """Arithmetic mean of the time to first token."""
        return _mean(self.sums.ttft_sum, self.sums.ttft_n)

    @property
    def ttft_p50_ms(self) -> float | None:
        """Median time to first token."""
        return percentile(self._ttft, 0.5)

    @property
    def ttft_p95_ms(self) -> float | None:
        """What 95 of 100 first tokens come within."""
        return percentile(self._ttft, 0.95)

    @property
    def ttft_p99_ms(self) -> float | None:
        """What 99 of 100 first tokens come within."""
        return percentile(self._ttft, 0.99)

    @property
    def latency_mean_ms(self) -> float | None:
        """Arithmetic mean of the time to the last token, of answers with text that were not cancelled."""
        return _mean(self.sums.latency_sum, self.sums.latency_n)

    @property
    def latency_p50_ms(self) -> float | None:
        """Median time to the last token."""
        return percentile(self._latency, 0.5)

    @property
    def latency_p95_ms(self) -> float | None:
        """What 95 of 100 answers end within."""
        return percentile(self._latency, 0.95)

    @property
    def latency_p99_ms(self) -> float | None:
        """What 99 of 100 answers end within."""
        return percentile(self._latency, 0.99)

    @cached_property
    def _ttft(self) -> Histogram:
        return in_order(self.sums.ttft_bins)

    @cached_property
    def _latency(self) -> Histogram:
        return in_order(self.sums.latency_bins)

    @property
    def input_tokens(self) -> int:
        """Of all attempts."""
        return self.sums.input_tokens

    @property
    def output_tokens(self) -> int:
        """Of all attempts."""
        return self.sums.output_tokens

    @property
    def cost_unknown(self) -> int:
        """Attempts that a model answered and whose cost is not known."""
        return self.sums.cost_unknown

    @property
    def cost_usd(self) -> Decimal | None:
        """What all attempts cost; ``None`` where there were some and no cost is known."""
        return None if self.sums.cost_unknown and not self.sums.cost else usd(self.sums.cost)

    @property
    def baseline_cost_usd(self) -> Decimal | None:
        """What the attempts of known price would have cost at the baseline's; ``None`` as above."""
        spent = self.sums.cost_unknown or self.sums.cost
        return None if spent and not self.sums.baseline_cost else usd(self.sums.baseline_cost)

    @property
    def saved_usd(self) -> Decimal | None:
        """What the same tokens would have cost at the baseline's price, minus what they cost; ``None`` as above."""
        at_baseline = self.baseline_cost_usd
        return None if at_baseline is None else at_baseline - usd(self.sums.priced_cost)

    @property
    def saved_percent(self) -> float | None:
        """The saving per 100 dollars at the baseline's price; negative is dearer."""
        saved = self.saved_usd
        return (
            float(100 * saved / usd(self.sums.baseline_cost)) if saved is not None and self.sums.baseline_cost else None
        )

    @property
    def ratings(self) -> int:
        """How many requests were rated."""
        return sum(self.sums.ratings.values())

    @property
    def ratings_by_star(self) -> dict[str, int]:
        """Ratings by their value, "1" to "5"."""
        return _counts(self.sums.ratings)

    @property
    def rating_reasons(self) -> dict[str, int]:
        """Ratings that came with a reason, by it."""
        return _counts(self.sums.rating_reasons)

    @property
    def rating_mean(self) -> float | None:
        """Mean rating, 1 to 5."""
        return _mean(sum(int(star) * n for star, n in self.sums.ratings.items()), self.ratings)


@dataclass(frozen=True, kw_only=True)
class Health:
    """Both arms of one rollout from ``since`` to before ``until``, as counted ``as_of`` (``None``: never yet).

    ``expected_candidate`` is the number of requests that the percentages in force at each request would send to the
    candidate. ``other`` counts requests by reason that do not decide anything.
    """

    rollout: str
    since: datetime
    until: datetime
    as_of: datetime | None
    baseline: ArmHealth
    candidate: ArmHealth
    other: Mapping[str, int]

    @property
    def requests(self) -> int:
        """First attempts that decide, both arms."""
        return self.baseline.requests + self.candidate.requests

    @property
    def expected_candidate(self) -> Decimal:
        """See the class."""
        return Decimal(self.baseline.sums.percent_sum + self.candidate.sums.percent_sum) / 10_000

    @property
    def expected_percent(self) -> float | None:
        """The share of deciding requests that the percentages in force would send to the candidate."""
        return float(100 * self.expected_candidate / self.requests) if self.requests else None

    @property
    def actual_percent(self) -> float | None:
        """The share of deciding requests that went to the candidate's arm."""
        return 100 * self.candidate.requests / self.requests if self.requests else None

    @property
    def projected_savings_usd(self) -> Decimal | None:
        """What this time would have saved with everyone on the candidate, at its saving a request so far."""
        saved, requests = self.candidate.saved_usd, self.candidate.requests
        return None if saved is None or not requests else saved * self.requests / requests


@dataclass(frozen=True, kw_only=True)
class Point:
    """Both arms in one slice of time, for charts."""

    start: datetime
    baseline: ArmHealth
    candidate: ArmHealth


def _counts(counts: Mapping[str, Any]) -> dict[str, int]:
    return {key: counts[key] for key in sorted(counts) if counts[key]}


def _mean(total: int, n: int) -> float | None:
    return total / n if n else None
