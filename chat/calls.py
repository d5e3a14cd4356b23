"""What metrics is told of an attempt: how it starts, how it ended, what it cost. Part of chat's services.

Knows routes, attempts and the catalogue's prices; stores nothing.
"""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from chat.attempt import Attempt
from chat.providers.base import NotAsked
from chat.providers.registry import find_model
from metrics.pricing import Usage, cost_usd
from metrics.services import CallEnd, CallStart
from rollout.services import Route

SURFACE = "chat"


def call_start(
    reply_id: UUID,
    route: Route,
    *,
    call_id: UUID,
    unit: str,
    attempt: int,
    served_model: str,
    is_demo: bool,
    now: datetime,
    surface: str = SURFACE,
    application: str = "",
) -> CallStart:
    """An attempt about to be made for a reply. ``call_id`` is its row's."""
    return CallStart(
        id=call_id,
        answer_id=reply_id,
        attempt=attempt,
        surface=surface,
        application=application,
        rollout=route.rollout,
        arm=route.arm,
        reason=route.reason,
        percent=route.percent,
        run=route.run,
        stretch=route.stretch,
        unit=unit,
        requested_model=route.requested_model,
        assigned_model=route.assigned_model,
        served_model=served_model,
        provider=_provider(served_model),
        started_at=now,
        is_demo=is_demo,
    )


def call_end(attempt: Attempt, *, served_model: str, baseline_model: str, now: datetime) -> CallEnd:
    """An attempt's end, priced at the model that served it and at the baseline, both by today's prices.

    One that was not made, for want of a place or because the breaker opened meanwhile, says nothing of its model: like
    one that was turned away in time it has the reason ``breaker_open``, which decides nothing.
    """
    error = attempt.error
    return CallEnd(
        outcome=attempt.outcome,
        ended_at=now,
        ttft_ms=attempt.ttft_ms,
        latency_ms=attempt.latency_ms,
        usage=attempt.usage,
        cost_usd=cost_of(served_model, attempt.usage, now),
        baseline_cost_usd=cost_of(baseline_model, attempt.usage, now),
        upstream_model=attempt.upstream_model,
        finish_reason=attempt.finish_reason,
        error_class=error.error_class if error else "",
        error_detail=error.detail if error else "",
        http_status=error.status if error else None,
        reason="breaker_open" if isinstance(error, NotAsked) else None,
    )


def route_after(route: Route, attempt: Attempt) -> Route:
    """Of the next attempt."""
    return route._replace(reason="breaker_open") if isinstance(attempt.error, NotAsked) else route


def _provider(key: str) -> str:
    model = find_model(key)
    return "" if model is None else model.provider


def cost_of(key: str, usage: Usage, at: datetime) -> Decimal | None:
    """What these tokens cost by a model key, in USD; ``None`` where its price is not known."""
    model = find_model(key)
    if model is None:
        return None
    return cost_usd(
        usage=usage,
        upstream_model=model.upstream,
        price_provider=model.price_provider,
        at=at,
        override=model.price,
    )
