"""The newest failures, however far back they lie."""

from datetime import timedelta

import pytest

from metrics.failures import recent_failures
from tests.metrics.factories import NOW, ModelCallFactory
from tests.metrics.rollup_steps import NAME


@pytest.mark.django_db
def test_the_newest_failures_are_found_however_far_back_they_lie():
    since = NOW - timedelta(days=60)
    failed = [ModelCallFactory(failed=True, started_at=NOW - timedelta(days=days)) for days in (59, 0, 20, 3, 61)]
    ids = [call.pk for call in failed]
    ModelCallFactory()
    ModelCallFactory(failed=True, rollout="another")

    def found(limit: int) -> list[int]:
        calls = recent_failures(rollout=NAME, since=since, now=NOW, limit=limit)
        return [ids.index(call.pk) for call in calls]

    assert found(10) == [1, 3, 2, 0]
    assert found(3) == [1, 3, 2]
    assert found(1) == [1]
