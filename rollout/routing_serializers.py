"""Shares and explanations as JSON: parts of the status document, and what ``rollout explain --json`` prints."""

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from rollout.layers import Share
from rollout.routing import Explanation


class _RoundedField(serializers.FloatField):
    """A percentage to 0.01."""

    def to_representation(self, value: Any) -> float:  # type: ignore[override]
        """More digits would be of no use to anybody."""
        return float(round(Decimal(value), 2))


class ShareSerializer(serializers.Serializer[Share]):
    """What an open rollout gets among those of its baseline: see ``layers.Share``."""

    rollout = serializers.CharField()
    percentage = _RoundedField(source="percent", help_text="Of those whom none before it took; 100 while forced.")
    candidatePercentage = _RoundedField(source="candidate", help_text="Of all people: they get its candidate.")
    controlPercentage = _RoundedField(
        source="control", help_text="Of all people: they keep the baseline and count for it."
    )
    splitPercentage = _RoundedField(source="split", help_text="Of the people who count for it: they get its candidate.")


class ExplanationSerializer(serializers.Serializer[Explanation]):
    """Which arm a unit would get, and why: see ``routing.Explanation``."""

    unit = serializers.CharField()
    arm = serializers.ChoiceField(["candidate", "baseline", ""])
    model = serializers.CharField()
    reason = serializers.CharField()
    reasonInWords = serializers.CharField(source="reason_in_words")
    bucket = serializers.FloatField()
    percentage = serializers.FloatField(source="percent")
    rollout = serializers.CharField(help_text="The rollout that the unit's request counts for.")
