"""The roll-ups made anew: the same, whatever happens meanwhile."""

from datetime import timedelta
from typing import Any

import pytest

from metrics import rebuild, services
from metrics.models import ModelCall, RollupState
from metrics.people import count_people
from metrics.rebuild import PAUSE, rebuild_rollups
from metrics.retention import delete_old_calls
from metrics.rollup import roll_up
from tests.metrics.factories import NOW, ModelCallFactory
from tests.metrics.rollup_steps import mixed, rebuilt, stored


@pytest.mark.django_db
def test_a_rebuild_gives_the_same_to_the_last_digit():
    mixed(40)
    ModelCallFactory(rollout="", arm="", reason="not_in_rollout", run=0, stretch=0)
    ModelCallFactory(reason="tester", candidate=True)
    roll_up(now=NOW)
    count_people(now=NOW)
    before = stored()
    assert all(before.values())

    assert rebuilt() == before


@pytest.mark.django_db
def test_a_rebuild_leaves_out_what_is_not_counted_yet_and_the_next_roll_up_brings_it():
    mixed(10)
    roll_up(now=NOW)
    before = stored()
    late = ModelCallFactory(rating=3, rating_reason="slow")
    services.rate(ModelCall.objects.exclude(pk=late.pk).earliest("started_at").answer_id, 1, "unsafe")

    rebuild_rollups(clock=lambda: NOW)
    assert stored() == before

    assert roll_up(now=NOW) == 2
    count_people(now=NOW)
    after = stored()
    assert after != before
    assert rebuilt() == after


@pytest.mark.django_db
def test_a_rebuild_that_was_killed_is_over_with_the_next_roll_up():
    ModelCallFactory(started_at=NOW - timedelta(days=200))
    roll_up(now=NOW)
    RollupState.objects.update(rebuilding_until=NOW + PAUSE)
    assert delete_old_calls(now=NOW, days=90) == 0

    roll_up(now=NOW + 2 * PAUSE)

    assert delete_old_calls(now=NOW + 2 * PAUSE, days=90) == 1


@pytest.mark.django_db
def test_a_rebuild_that_slept_while_calls_were_counted_gives_up(monkeypatch):
    mixed(30)
    roll_up(now=NOW)
    moments = [NOW]

    def asleep() -> dict[Any, Any]:
        moments[0] = NOW + 2 * PAUSE
        ModelCallFactory(unit="zoe", started_at=NOW)
        assert roll_up(now=moments[0]) == 1
        return {}

    monkeypatch.setattr(rebuild, "_last_seen", asleep)
    with pytest.raises(rebuild.RebuildRefused):
        rebuild_rollups(clock=lambda: moments[0])
    monkeypatch.undo()

    count_people(now=NOW)
    before = stored()
    assert before == rebuilt()
