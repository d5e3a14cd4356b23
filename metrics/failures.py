"""How calls ended, for people who look into it. Part of metrics' services.

The newest failures are read by an index of failed calls alone, at one cost at any size. They hold no text of people
or vendors: a call's error is in our own words (see ``chat.providers.base.ProviderError``).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from metrics.models import ModelCall, Outcome
from metrics.sums import ERROR_OUTCOMES


def outcome_in_words(outcome: str) -> str:
    """One of a call's outcomes, for people."""
    return str(Outcome(outcome).label)


def recent_failures(*, rollout: str, since: datetime, now: datetime, limit: int = 10) -> Sequence[ModelCall]:
    """Calls of a rollout that started at ``since`` or later and ended badly, the newest first.

    Looks back a day and then further, so that where calls fail all days are not asked for the failures of one.
    """
    failed = ModelCall.objects.filter(rollout=rollout, outcome__in=sorted(ERROR_OUTCOMES))
    shown = failed.only("started_at", "arm", "served_model", "outcome", "error_class", "error_detail", "http_status")
    back = timedelta(days=1)
    while True:
        first = max(since, now - back)
        found = list(shown.filter(started_at__gte=first).order_by("-started_at")[:limit])
        if len(found) == limit or first == since:
            return found
        back *= 8
