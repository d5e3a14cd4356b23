"""Whatever people and the autopilot do, in whatever order: a stop holds, no stage is skipped, no line is lost."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from rollout.changes import ChangeRefused, act, change_rollout, create_rollout, get_rollout, revert
from rollout.decisions import Decision
from rollout.models import Rollout, RolloutChange
from rollout.pilot import look_at
from rollout.ramp import VERBS
from rollout.steering import describe
from tests.metrics.factories import NOW
from tests.rollout.factories import ADA

STAGES = [Decimal(5), Decimal(15), Decimal(35), Decimal(100)]
DECISIONS = [
    Decision(verdict="GO", criteria=()),
    Decision(verdict="ROLLBACK", criteria=(), harm=True),
    Decision(verdict="HOLD", criteria=(), srm=True),
    Decision(verdict="NOT_ENOUGH_DATA", criteria=()),
]


class Ramps(RuleBasedStateMachine):
    """One rollout of a short ramp, steered by people and by the autopilot."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        for name in Rollout.objects.exclude(everyone=False).values_list("name", flat=True):
            change_rollout(name, {"enabled": False}, actor=ADA, now=NOW)
        stages = [
            {"percent": percent, "min_days": 0, "min_sample": 0, "min_people": 0, "needs_approval": percent == 100}
            for percent in STAGES
        ]
        self.name = f"r{RolloutChange.objects.count()}"
        create_rollout(
            self.name,
            baseline="chat-model",
            candidate="gemini-flash-lite",
            changes={"enabled": False, "ramp_mode": "automatic", "stages": stages},
            actor=ADA,
            now=self.now,
        )
        self.lines = 1
        self.started_by_hand = False

    def now_is(self) -> Rollout:
        return get_rollout(self.name)

    def by_hand(self, do: Any) -> None:
        """A person does something, or is refused; a refusal changes nothing."""
        before = describe(self.now_is())
        self.now += timedelta(minutes=1)
        try:
            do()
        except ChangeRefused:
            assert describe(self.now_is()) == before
        self.started_by_hand = self.now_is().is_on

    @rule(verb=st.sampled_from(VERBS))
    def verb(self, verb: Any) -> None:
        before = self.now_is()
        self.by_hand(lambda: act(self.name, verb, actor=ADA, now=self.now))
        after = self.now_is()
        if verb == "advance" and after.percent != before.percent:
            assert after.percent == next(percent for percent in STAGES if percent > before.percent)
        if verb == "roll_back":
            assert not after.is_on

    @rule(
        changes=st.fixed_dictionaries(
            {},
            optional={
                "enabled": st.booleans(),
                "forced": st.booleans(),
                "percent": st.sampled_from([0, 5, 7, 15, 35, 50, 100]),
                "ramp_mode": st.sampled_from(["manual", "assisted", "automatic"]),
            },
        )
    )
    def change(self, changes: dict[str, Any]) -> None:
        self.by_hand(lambda: change_rollout(self.name, changes, actor=ADA, now=self.now))

    @rule(back=st.integers(0, 3))
    def undo(self, back: int) -> None:
        line = RolloutChange.objects.filter(rollout=self.name).order_by("-id")[back : back + 1]
        self.by_hand(lambda: [revert(each.pk, actor=ADA, now=self.now) for each in line])

    @rule(decision=st.sampled_from(DECISIONS), twice=st.booleans())
    def tick(self, decision: Decision, twice: bool) -> None:
        before = self.now_is()
        self.now += timedelta(minutes=1)
        with mock.patch("rollout.pilot.evaluate", return_value=decision):
            for _ in range(1 + twice):
                step = look_at(self.name, now=self.now)
                after = self.now_is()
                assert step is not None
                if not before.is_on or before.ramp_mode != "automatic":
                    assert after.version == before.version, "what is off or not its own is left alone"
                if before.is_on and before.ramp_mode == "automatic" and decision.harm:
                    assert after.ramp_state == "rolled_back"
                if after.percent != before.percent:
                    assert after.percent == next(percent for percent in STAGES if percent > before.percent)
                    assert after.percent < 100 or before.approved_percent == 100
                before = after

    @invariant()
    def only_a_person_starts(self) -> None:
        assert self.started_by_hand or not self.now_is().is_on

    @invariant()
    def every_step_is_in_the_history(self) -> None:
        lines = list(RolloutChange.objects.filter(rollout=self.name).order_by("id"))
        assert len(lines) >= self.lines
        self.lines = len(lines)
        seen: dict[str, Any] = {}
        for line in lines:
            for field, (old, new) in line.changes.items():
                assert seen.get(field) == old
                seen[field] = new
        rollout = self.now_is()
        assert {field: seen[field] for field in describe(rollout)} == describe(rollout)
        assert [line.version for line in lines] == list(range(1, len(lines) + 1))


@pytest.mark.only_on("postgres")
@pytest.mark.django_db
def test_a_stop_holds_no_stage_is_skipped_and_no_line_is_lost():
    run_state_machine_as_test(
        Ramps,
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )
