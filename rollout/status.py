"""How a rollout stands: configuration, health, decision and money side by side, and what follows from them.

A value that ``services.status`` fills; knows no storage and no clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from metrics.health import Health
from rollout import words
from rollout.decisions import Criterion, Decision
from rollout.layers import Share
from rollout.models import Rollout, Stage


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a rollout stands at ``now``: ``health`` over the last ``hours``, ``decision`` over its whole run.

    ``standing_since`` is when it got its present state and percentage; ``shares`` are those of all open rollouts of its
    baseline, in order; ``saved_ever_usd`` is what was saved over all time;
    ``knows_calls`` is false until the first call has ended.
    """

    rollout: Rollout
    stages: Sequence[Stage]
    hours: int
    now: datetime
    standing_since: datetime
    shares: Sequence[Share]
    health: Health
    saved_ever_usd: Decimal | None
    knows_calls: bool
    decision: Decision

    @property
    def reason(self) -> str:
        """The decision's reason in words."""
        return words.reason(self.decision)

    @property
    def recommendation(self) -> str:
        """What to do next, in words."""
        following = None if self.rollout.everyone else self.next_stage
        return words.recommendation(
            self.decision, is_on=self.rollout.is_on, next_percent=None if following is None else following.percent
        )

    @property
    def should_proceed(self) -> bool:
        """Whether the percentage may be raised."""
        return self.decision.verdict == "GO"

    @property
    def affected(self) -> str:
        """How many get the candidate now, testers left out. Clients read it as it is: not translated."""
        own = self.share
        percent = Decimal(0) if own is None else own.candidate.quantize(Decimal("0.01"))
        return f"~{percent.normalize():f}% of {self.rollout.baseline} users"

    @property
    def share(self) -> Share | None:
        """What it gets of all people; ``None`` while it is off."""
        return next((share for share in self.shares if share.rollout == self.rollout.name), None)

    @property
    def latency_improvement(self) -> float | None:
        """By how many percent the candidate's mean TTFT is below the baseline's; negative is slower."""
        candidate, baseline = self.health.candidate.ttft_mean_ms, self.health.baseline.ttft_mean_ms
        return 100 * (baseline - candidate) / baseline if candidate is not None and baseline else None

    @property
    def age_s(self) -> float | None:
        """How old the figures are, in seconds."""
        return None if self.health.as_of is None else (self.now - self.health.as_of).total_seconds()

    @property
    def stage(self) -> Stage | None:
        """The stage of the ramp that today's percentage is; ``None`` beside it."""
        return next((stage for stage in self.stages if stage.percent == self.rollout.percent), None)

    @property
    def next_stage(self) -> Stage | None:
        """The first stage of the ramp above today's percentage."""
        return next((stage for stage in self.stages if stage.percent > self.rollout.percent), None)

    @property
    def criteria(self) -> dict[str, Criterion]:
        """The decision's criteria by name."""
        return {criterion.name: criterion for criterion in self.decision.criteria}
