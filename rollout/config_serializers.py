"""What the older tool's API takes and says beside the status document: the settings that can be steered, and errors.

Names are that tool's, see ``rollout.serializers``.
"""

from collections.abc import Mapping
from datetime import UTC
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers

from api.fields import StrictBooleanField
from rollout.changes import ChangeRefused, parse_percent


class PercentageField(serializers.FloatField):
    """A JSON number that is a percentage; text, booleans and NaN are refused."""

    def to_internal_value(self, data: Any) -> Decimal:  # type: ignore[override]
        """To the exact value that the rollout will have."""
        if isinstance(data, str):
            self.fail("invalid")
        try:
            return parse_percent(data)
        except ChangeRefused as refused:
            raise serializers.ValidationError(refused.message) from refused


class ConfigSerializer(serializers.Serializer[Any]):
    """What can be steered: what ``POST`` takes (any of it), and gives back (all of it)."""

    geminiFlashLiteEnabled = StrictBooleanField(source="is_on", required=False)
    trafficPercentage = PercentageField(source="percent", required=False, min_value=0, max_value=100)
    forceModel = serializers.CharField(
        source="force_model",
        required=False,
        allow_null=True,
        trim_whitespace=False,
        help_text="The candidate's key, to give it to everyone, or null.",
    )

    def to_internal_value(self, data: Any) -> Any:
        """Refuse what is not known: a misspelt field must not pass for a change."""
        if isinstance(data, Mapping) and (unknown := sorted(set(data) - set(self.fields))):
            # repr: a name may hold what no answer can (lone surrogates, control characters).
            names = ", ".join(repr(name[:40]) for name in unknown[:5])
            told = _("Unknown: %(unknown)s. Known are: %(known)s.") % {
                "unknown": names,
                "known": ", ".join(self.fields),
            }
            raise serializers.ValidationError({"non_field_errors": [told]})
        return super().to_internal_value(data)

    def validate_forceModel(self, value: str | None) -> str | None:
        """Only the candidate can be forced; the context names both models."""
        baseline, candidate = self.context["baseline"], self.context["candidate"]
        if value == baseline:
            raise serializers.ValidationError(
                _("The baseline can't be forced. To give it to everyone, disable the rollout instead.")
            )
        if value not in (None, candidate):
            raise serializers.ValidationError(_("Must be null or %(candidate)s.") % {"candidate": candidate})
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """To what ``change_rollout`` takes. An empty change is a mistake."""
        if not attrs:
            raise serializers.ValidationError(
                _("There is nothing to change. Give any of: %(known)s.") % {"known": ", ".join(self.fields)}
            )
        changes = {"enabled": attrs.get("is_on"), "percent": attrs.get("percent")}
        changes = {field: value for field, value in changes.items() if value is not None}
        if "force_model" in attrs:
            changes["forced"] = attrs["force_model"] is not None
        return changes


class ChangedSerializer(serializers.Serializer[Any]):
    """The answer to a change."""

    success = serializers.BooleanField()
    newConfig = ConfigSerializer()
    updatedBy = serializers.CharField()
    timestamp = serializers.DateTimeField(default_timezone=UTC)


class ErrorSerializer(serializers.Serializer[Any]):
    """Every error of this API."""

    error = serializers.CharField(help_text="What is wrong, in words.")
    code = serializers.CharField(help_text="What is wrong, for programs.")
