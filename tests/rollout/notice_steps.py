"""A target of the default rollout, a notice to it, and its sending, for the tests of notices."""

from datetime import timedelta
from typing import Any

from rollout.deliveries import deliver_due
from rollout.models import NoticeTarget
from rollout.notices import notify
from tests.metrics.factories import NOW
from tests.rollout.steps import rollout


def target(url: str, channel: str = "webhook", **fields: Any) -> NoticeTarget:
    return NoticeTarget.objects.create(rollout=rollout(), channel=channel, address=url, **fields)


def tell(text: str = "It is slow.", key: str = "k") -> int:
    return notify(rollout(), "held", subject="Held", text=text, facts={"code": "worse"}, key=key, now=NOW)


def send(later: timedelta = timedelta(0)) -> int:
    return deliver_due(clock=lambda: NOW + later)
