"""Who is let through to an upstream, and who answers instead. Knows routes, breakers and places; no round trips."""

from dataclasses import dataclass

from django.conf import settings

from chat import capacity
from chat.breakers import Breakers, connect
from rollout.services import Route

breakers = Breakers(connect(settings.REDIS_URL))


class Unavailable(Exception):
    """Nothing can answer now. ``retry_after_s`` says when it is worth another try."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, kw_only=True)
class Admission:
    """What becomes of a request: its route, whose reason may have changed, who answers, and whether that is a probe."""

    route: Route
    served_model: str
    probe: str


def admit(route: Route) -> Admission:
    """Let a request through to its assigned model or, while that one is failing or full, to the baseline.

    The assigned model and arm stay as they are; the reason is then ``breaker_open``. Raises Unavailable where the
    baseline can't answer: a failing baseline never sends anybody to the candidate.
    """
    first, baseline = route.assigned_model, route.baseline_model
    probe = _enter(first)
    if probe is not None:
        return Admission(route=route, served_model=first, probe=probe)
    probe = _enter(baseline) if first != baseline else None
    if probe is not None:
        return Admission(route=route._replace(reason="breaker_open"), served_model=baseline, probe=probe)
    raise Unavailable(max(breakers.wait_s(baseline), capacity.RETRY_AFTER_S))


def _enter(key: str) -> str | None:
    return None if capacity.is_full(key) else breakers.admit(key)
