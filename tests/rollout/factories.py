"""Rows of rollout for tests."""

from decimal import Decimal

import factory

from rollout.changes import Actor
from rollout.models import Rollout

ADA = Actor(name="ada", source="cli")


class RolloutFactory(factory.django.DjangoModelFactory[Rollout]):
    """A rollout beside the default one: another baseline, open by percentage."""

    class Meta:
        model = Rollout

    name = factory.Sequence(lambda n: f"rollout-{n}")
    baseline = "chat-model-reasoning"
    candidate = "gemini-flash-lite"
    percent = Decimal(5)
    ramp_state = factory.LazyAttribute(lambda row: "pending" if getattr(row, "everyone", None) is False else "running")
