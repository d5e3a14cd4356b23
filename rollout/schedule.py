"""Where a ramp stands and what comes next, for a page, a terminal or a program. Part of rollout's services."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db.models import prefetch_related_objects

from rollout import services
from rollout.changes import get_rollout
from rollout.models import AutopilotStep, Proposal, Rollout, Stage
from rollout.pilot import VERBS as ACTS
from rollout.pilot import newest_step
from rollout.ramp import VERBS, Ramp, Verb
from rollout.steering import ramp_of


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A ramp at ``now``, as people may steer it, and as the autopilot may.

    ``since`` is when the present stage began, ``earliest`` when the next one can; ``step`` is what the autopilot said
    last, ``None`` before its first look. ``proposals`` wait for a second person.
    """

    rollout: Rollout
    now: datetime
    ramp: Ramp
    piloted: Ramp
    stages: Sequence[Stage]
    since: datetime
    step: AutopilotStep | None
    proposals: Sequence[Proposal]

    @property
    def stage(self) -> Stage | None:
        """The stage that today's percentage is; ``None`` beside the ramp, while it is off or everyone is forced."""
        is_in_it = self.rollout.everyone is None
        return next((each for each in self.stages if is_in_it and each.percent == self.rollout.percent), None)

    @property
    def next_percent(self) -> Decimal | None:
        """Where the ramp goes from here; ``None`` at its end, and while it goes nowhere."""
        goes_on = self.ramp.state in ("running", "paused") and not self.ramp.forced
        return self.ramp.following.percent if goes_on and self.ramp.following is not None else None

    @property
    def earliest(self) -> datetime | None:
        """When the present stage's least time is over; ``None`` where nothing comes next."""
        if self.next_percent is None:
            return None
        days = 0 if self.stage is None else self.stage.min_days
        return self.since + days * timedelta(seconds=settings.RAMP_DAY_SECONDS)

    @property
    def is_stale(self) -> bool:
        """Whether the autopilot should have looked again long ago."""
        late = timedelta(seconds=max(3 * settings.AUTOPILOT_SECONDS, 60))
        # Of a rollout that has just been made it can't have seen anything.
        return self.now - (self.since if self.step is None else self.step.last_at) > late

    @property
    def proposed(self) -> Verb | None:
        """The verb that the autopilot's last word calls for; of another state or version it calls for nothing."""
        step = self.step
        if step is None or step.is_done or (step.percent, step.run) != (self.rollout.percent, self.rollout.run):
            return None
        verb = next((verb for action, verb in ACTS.items() if action == step.action), None)
        if step.code == "approval":
            verb = "approve"
        return verb if verb in self.verbs else None

    @property
    def verbs(self) -> list[Verb]:
        """Those that fit now."""
        return [verb for verb in VERBS if (self.piloted if verb == "approve" else self.ramp).fits(verb)]


def schedule(name: str, *, now: datetime) -> Schedule:
    """Of the rollout of that name. Raises RolloutNotFound."""
    rollout = get_rollout(name)
    return schedule_of(rollout, since=services.standing_since(rollout), now=now)


def schedule_of(rollout: Rollout, *, since: datetime, now: datetime) -> Schedule:
    """Of a rollout that has stood as it does ``since``."""
    prefetch_related_objects([rollout], "stages")
    return Schedule(
        rollout=rollout,
        now=now,
        ramp=ramp_of(rollout),
        piloted=ramp_of(rollout, by_autopilot=True),
        stages=list(rollout.stages.all()),
        since=since,
        step=newest_step(rollout.name),
        proposals=list(Proposal.objects.filter(rollout=rollout.name, state=Proposal.State.OPEN)),
    )
