"""Rows of metrics for tests."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import factory

from metrics.models import ModelCall

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def many_calls(common: dict[str, Any], each: Iterable[dict[str, Any]]) -> list[ModelCall]:
    """Calls by the thousand, not yet stored: as ``ModelCallFactory`` makes them with ``common`` and what is said of
    each, at a tenth of its price. ``each`` says ``candidate`` and ``failed``, and when it was started.
    """
    made: dict[tuple[bool, bool], dict[str, Any]] = {}
    rows = []
    for facts in each:
        candidate, failed = facts.pop("candidate"), facts.pop("failed")
        if (candidate, failed) not in made:
            one = ModelCallFactory.build(candidate=candidate, failed=failed, **common)
            made[candidate, failed] = {
                field.attname: getattr(one, field.attname) for field in one._meta.concrete_fields
            }
        times = {"ended_at": facts["started_at"] + timedelta(seconds=2)}
        rows.append(ModelCall(**{**made[candidate, failed], "id": uuid4(), "answer_id": uuid4(), **times, **facts}))
    return rows


class ModelCallFactory(factory.django.DjangoModelFactory[ModelCall]):
    """A good answer of the baseline, a minute before ``NOW``; the traits change one thing each."""

    class Meta:
        model = ModelCall

    class Params:
        candidate = factory.Trait(
            arm="candidate",
            assigned_model="gemini-flash-lite",
            ttft_ms=200,
            cost_usd=Decimal("0.0004"),
        )
        failed = factory.Trait(
            outcome="error",
            error_class="unavailable",
            ttft_ms=None,
            input_tokens=None,
            output_tokens=None,
            cost_usd=None,
            baseline_cost_usd=None,
        )
        running = factory.Trait(
            outcome="running",
            ended_at=None,
            ttft_ms=None,
            latency_ms=None,
            input_tokens=None,
            output_tokens=None,
            cost_usd=None,
            baseline_cost_usd=None,
        )

    answer_id = factory.LazyFunction(uuid4)
    surface = "page"
    rollout = "gemini-flash-lite"
    arm = "baseline"
    reason = "percentage"
    percent = Decimal(5)
    run = 1
    stretch = 1
    provider = "openai"
    unit = factory.Sequence(lambda n: f"{n:032x}")
    requested_model = "chat-model"
    assigned_model = "chat-model"
    served_model = factory.SelfAttribute("assigned_model")
    outcome = "ok"
    started_at = NOW - timedelta(minutes=1)
    ended_at = factory.LazyAttribute(lambda call: call.started_at + timedelta(seconds=2))
    ttft_ms = 400
    latency_ms = 2000
    input_tokens = 300
    output_tokens = 200
    cost_usd = Decimal("0.004")
    baseline_cost_usd = Decimal("0.004")
