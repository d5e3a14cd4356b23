"""Weeks of a rollout in seconds: people who ask, and an autopilot that looks; the clock is ours."""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from metrics.models import ModelCall
from metrics.rollup import roll_up
from rollout.bucketing import in_candidate
from rollout.changes import get_rollout
from rollout.models import AutopilotStep, Rollout
from rollout.pilot import look_at
from tests.metrics.factories import many_calls
from tests.rollout.steps import NAME

HOUR = timedelta(hours=1)
QUARTER = timedelta(hours=6)


@dataclass
class World:
    """Two thousand people, a candidate that is twice as fast and fails as given from a moment on."""

    now: datetime
    calls: int = 200
    failing: float = 0.01
    dice: random.Random = field(default_factory=lambda: random.Random(11))
    looks: list[AutopilotStep] = field(default_factory=list)

    def pass_quarter(self) -> AutopilotStep:
        """Six hours of requests, and a look at their end."""
        rollout = get_rollout(NAME)
        if self.calls:
            common = {
                "reason": "percentage" if rollout.is_on else "disabled",
                "percent": rollout.percent,
                "run": rollout.run,
                "stretch": rollout.stretch,
            }
            # In the hour before the look: time in which nobody asks costs no sums of its own.
            moments = (self.now + QUARTER - HOUR + timedelta(seconds=number) for number in range(self.calls))
            rows = many_calls(common, (self._facts(rollout, at) for at in moments))
            ModelCall.objects.bulk_create(rows, batch_size=500)
        self.now += QUARTER
        roll_up(now=self.now)
        step = look_at(NAME, now=self.now)
        assert step is not None
        self.looks.append(step)
        return step

    def pass_days(self, days: float) -> None:
        for _ in range(round(4 * days)):
            self.pass_quarter()

    def _facts(self, rollout: Rollout, at: datetime) -> dict[str, Any]:
        unit = f"{self.dice.randrange(2000):032x}"
        moved = rollout.is_on and in_candidate(
            rollout=rollout.name, salt=rollout.salt, unit=unit, percent=rollout.percent
        )
        failed = self.dice.random() < (self.failing if moved else 0.01)
        ms = round(140 * (0.5 if moved else 1) * self.dice.lognormvariate(0, 0.3))
        return {
            "candidate": moved,
            "failed": failed,
            "unit": unit,
            "started_at": at,
            **({} if failed else {"ttft_ms": ms, "latency_ms": 9 * ms}),
        }


def shares(world: World) -> list[Decimal]:
    """The percentages that were looked at, each once, in their order."""
    return list(dict.fromkeys(step.percent for step in world.looks))
