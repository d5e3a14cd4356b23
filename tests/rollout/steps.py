"""What the tests of the steering surfaces do, and what they see."""

import json
import random
import re
from datetime import datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from chat.models import User
from metrics.models import ModelCall
from metrics.rollup import roll_up
from rollout.models import Rollout
from rollout.steering import describe
from tests.chat.factories import UserFactory
from tests.metrics.factories import many_calls

NAME = "gemini-flash-lite"
PATH = "/api/gemini-rollout-status"
LIST = "/admin/rollout/rollout/"
ADD = f"{LIST}add/"


def rollout(name: str = NAME) -> Any:
    return Rollout.objects.get(name=name)


def state(name: str = NAME) -> dict[str, Any]:
    return describe(rollout(name))


def signed_in(user: User, **options: Any) -> Client:
    client = Client(**options)
    client.force_login(user)
    return client


def post(client: Client, body: Any, **options: Any) -> Any:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.post(PATH, text, content_type="application/json", **options)


def staff_with(*permissions: str) -> Client:
    user = UserFactory(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def page(name: str = NAME) -> str:
    return reverse("admin:rollout_rollout_change", args=[rollout(name).pk])


def filled(**changes: Any) -> dict[str, Any]:
    """The default rollout's page, filled in as it is shown, with some fields typed over."""
    current = rollout()
    stages = list(current.stages.order_by("position"))
    fields: dict[str, Any] = {
        "state": "percentage",
        "percent": current.percent,
        "priority": current.priority,
        "why": "",
        "expected_version": current.version,
        "languages": current.languages,
        "latency_target_ms": current.latency_target_ms,
        "latency_measure": current.latency_measure,
        "latency_margin": current.latency_margin,
        "p95_measure": current.p95_measure,
        "p95_margin": current.p95_margin,
        "satisfaction_margin": current.satisfaction_margin,
        "cost_goal": current.cost_goal,
        "watch_only": current.watch_only,
        "signals": current.signals,
        "ramp_mode": current.ramp_mode,
        "second_pair_above": current.second_pair_above or "",
        "min_cost_reduction": current.min_cost_reduction,
        "max_error_increase": current.max_error_increase,
        "min_sample": current.min_sample,
        "note": current.note,
        "stages-TOTAL_FORMS": len(stages),
        "stages-INITIAL_FORMS": len(stages),
    }
    for index, stage in enumerate(stages):
        fields |= stage_fields(index, stage.percent, pk=stage.pk, needs_approval=stage.needs_approval)
    return {**fields, **changes}


def stage_fields(index: int, percent: Any, *, pk: int | None = None, needs_approval: bool = False) -> dict[str, Any]:
    return ({f"stages-{index}-needs_approval": "on"} if needs_approval else {}) | {
        f"stages-{index}-id": pk or "",
        f"stages-{index}-rollout": rollout().pk,
        f"stages-{index}-percent": percent,
        f"stages-{index}-min_days": 7,
        f"stages-{index}-min_sample": 100,
        f"stages-{index}-min_people": 20,
    }


def text_of(answer: Any) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode())))


def saved(answer: Any) -> bool:
    return bool(answer.status_code == 302)


def much_traffic(*, now: datetime, calls: int = 4000, slower: float = 0.7, failing: float = 0.01) -> None:
    """Calls of 900 people, half of them in each arm, within the last hours; what is given is the candidate's."""
    dice = random.Random(4)

    def facts(number: int) -> dict[str, Any]:
        person = dice.randrange(900)
        candidate = person % 2 == 0
        failed = dice.random() < (failing if candidate else 0.01)
        ms = round(140 * (slower if candidate else 1) * dice.lognormvariate(0, 0.4))
        return {
            "candidate": candidate,
            "failed": failed,
            "unit": f"{person:032x}",
            "started_at": now - timedelta(seconds=number + 60),
            **({} if failed else {"ttft_ms": ms, "latency_ms": 9 * ms}),
        }

    rows = many_calls({"percent": Decimal(50)}, map(facts, range(calls)))
    ModelCall.objects.bulk_create(rows, batch_size=500)
    roll_up(now=now)
