"""The status document of this API: the older path's, with the candidate under its own name and money to the last digit.

What there is no data for is null, never 0: where an arm has had no request, no money is known of it.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

from api.fields import Fields, MoneyField
from metrics.health import ArmHealth
from rollout.serializers import ArmSerializer, StatusSerializer
from rollout.status import Status


class ArmMoneyField(MoneyField):
    """Money of an arm, or of a status' candidate; null where that has had no request."""

    def get_attribute(self, instance: Any) -> Any:
        """The amount, or null."""
        arm = instance if isinstance(instance, ArmHealth) else instance.health.candidate
        return super().get_attribute(instance) if arm.requests else None


class SavedEverField(MoneyField):
    """Over all time; null before the first request."""

    def get_attribute(self, instance: Status) -> Decimal | None:
        """The amount, or null."""
        return instance.saved_ever_usd if instance.knows_calls else None


class ArmV1Serializer(ArmSerializer):
    """One arm's figures. Requests are first attempts; money and tokens count every attempt."""

    cost = ArmMoneyField(source="cost_usd")
    baselineCost = ArmMoneyField(source="baseline_cost_usd", help_text="The same tokens at the baseline's prices.")
    saved = ArmMoneyField(source="saved_usd")

    def get_fields(self) -> Fields:
        """Without the older path's numbers for the same."""
        return {name: field for name, field in super().get_fields().items() if not name.endswith("Usd")}


def _number(source: str) -> serializers.FloatField:
    return serializers.FloatField(source=source, allow_null=True)


def _part(name: str, fields: Mapping[str, Any]) -> serializers.Serializer[Any]:
    return inline_serializer(f"{name}V1", dict(fields), source="*")


def _per_arm(attribute: str) -> Fields:
    return {arm: _number(f"health.{arm}.{attribute}") for arm in ("candidate", "baseline")}


class StatusV1Serializer(StatusSerializer):
    """How a rollout stands, from a ``services.Status``."""

    metrics = _part(
        "Metrics",
        {
            "totalRequests": serializers.IntegerField(source="health.requests"),
            "candidateRequests": serializers.IntegerField(source="health.candidate.requests"),
            "trafficPercentage": _number("health.actual_percent"),
            "averageLatency": _part(
                "AverageLatency", {**_per_arm("ttft_mean_ms"), "improvement": _number("latency_improvement")}
            ),
            "costSavings": _part(
                "CostSavings",
                {
                    "totalSaved": ArmMoneyField(source="health.candidate.saved_usd"),
                    "percentageSaved": _number("health.candidate.saved_percent"),
                },
            ),
            "errorRates": _part("ErrorRates", _per_arm("error_percent")),
            "userSatisfaction": _part("UserSatisfaction", _per_arm("rating_mean")),
        },
    )
    savings = _part(
        "Savings",
        {
            "window": ArmMoneyField(source="health.candidate.saved_usd"),
            "total": SavedEverField(source="saved_ever_usd"),
            "projected": ArmMoneyField(
                source="health.projected_savings_usd", help_text="The window's, with everyone on the candidate."
            ),
        },
    )
    arms = _part("Arms", {arm: ArmV1Serializer(source=f"health.{arm}") for arm in ("candidate", "baseline")})
    costUnknown = _part(
        "CostUnknown",
        {arm: serializers.IntegerField(source=f"health.{arm}.cost_unknown") for arm in ("candidate", "baseline")},
    )
