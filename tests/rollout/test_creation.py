from typing import Any

import pytest

from rollout.changes import ChangeRefused, create_rollout
from rollout.models import Rollout, RolloutChange
from tests.metrics.factories import NOW
from tests.rollout.factories import ADA
from tests.rollout.steps import NAME


def create(name: str = "second", **changes: Any) -> Rollout:
    models = {"baseline": "chat-model-reasoning", "candidate": "gemini-flash-lite"} | {
        field: changes.pop(field) for field in ("baseline", "candidate") if field in changes
    }
    return create_rollout(name, **models, changes=changes, actor=ADA, why="new", now=NOW)


@pytest.mark.django_db
def test_a_new_rollout_has_the_usual_ramp_and_a_first_line_of_history():
    rollout = create(enabled=False, percent=5)

    assert [stage.percent for stage in rollout.stages.order_by("position")] == [5, 15, 35, 100]
    assert rollout.salt
    assert rollout.version == 1
    line = RolloutChange.objects.get(rollout="second")
    assert line.changes["baseline"] == [None, "chat-model-reasoning"]
    assert line.changes["percent"] == [None, "5.00"]
    assert (line.actor, line.why) == ("ada", "new")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "has space"}, "name"),
        ({"name": "-begins"}, "name"),
        ({"name": "a.b"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": NAME}, "name"),
        ({"baseline": "no-such-model"}, "baseline"),
        ({"candidate": "no-such-model"}, "candidate"),
        ({"candidate": "chat-model-reasoning"}, ""),
        ({"priority": -1}, "priority"),
    ],
)
def test_a_rollout_that_makes_no_sense_is_not_made(changes, field):
    with pytest.raises(ChangeRefused) as refused:
        create(**changes)

    assert refused.value.field == field
    assert Rollout.objects.count() == 1
    assert not RolloutChange.objects.exists()
