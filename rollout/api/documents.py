"""A rollout as this API shows and takes it: camelCase names, percentages and margins as numbers.

What can be steered is ``rollout.steering``'s list, and its limits are the columns' own: a field that is added there is
here at once.
"""

from collections.abc import Mapping
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from rest_framework import serializers

from api.fields import Fields, NumberField, StrictBooleanField, StrictCharField, StrictIntegerField, StrictSerializer
from rollout.models import CRITERIA, RampState, Rollout, Stage
from rollout.steering import FIELDS, PLAIN, as_changes

MAX_STAGES = 50
MAX_NAMES = 200


def camel(name: str) -> str:
    """``min_cost_reduction`` → ``minCostReduction``."""
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


def column_field(model: type[models.Model], name: str, **options: Any) -> serializers.Field[Any, Any, Any, Any]:
    """A strict field for a column, with its limits, choices and help."""
    column: Any = model._meta.get_field(name)
    source = {} if camel(name) == name else {"source": name}
    common = {"help_text": column.help_text or None, "allow_null": column.null, **source, **options}
    if isinstance(column, models.BooleanField):
        return StrictBooleanField(**common)
    if isinstance(column, models.JSONField):
        return serializers.ListField(child=serializers.ChoiceField(CRITERIA), max_length=len(CRITERIA), **common)
    if column.choices:
        return serializers.ChoiceField(column.choices, **common)
    if isinstance(column, models.DecimalField):
        places = {"max_digits": column.max_digits, "decimal_places": column.decimal_places}
        return NumberField(**places, **_limits(column), **common)
    if isinstance(column, models.IntegerField):
        return StrictIntegerField(**_limits(column), **common)
    return StrictCharField(allow_blank=True, max_length=column.max_length or 10_000, **common)


def _limits(column: Any) -> dict[str, Any]:
    """The narrowest of its validators; of an integer, also what the narrowest database can keep."""
    lows = [each.limit_value for each in column.validators if isinstance(each, MinValueValidator)]
    highs = [each.limit_value for each in column.validators if isinstance(each, MaxValueValidator)]
    if isinstance(column, models.IntegerField):
        highs.append(2**15 - 1 if isinstance(column, models.PositiveSmallIntegerField) else 2**31 - 1)
    return {"min_value": max(lows), "max_value": min(highs)}


class RampStageSerializer(StrictSerializer):
    """One step of the ramp."""

    def get_fields(self) -> Fields:
        """The percentage must be given; the rest has its usual value."""
        others = ("min_days", "min_sample", "min_people", "needs_approval")
        return {
            "percent": column_field(Stage, "percent"),
            **{camel(name): column_field(Stage, name, required=False) for name in others},
        }


def _names(**options: Any) -> serializers.ListField:
    return serializers.ListField(child=StrictCharField(max_length=150), max_length=MAX_NAMES, **options)


def _steerable(**options: Any) -> Fields:
    plain = {camel(name): column_field(Rollout, name, **options) for name in PLAIN}
    return {"percent": column_field(Rollout, "percent", **options), **plain}


class RolloutSerializer(serializers.Serializer[Rollout]):
    """The whole steerable state, and where the ramp stands."""

    name = serializers.CharField()
    baseline = serializers.CharField(help_text="The model key that people ask for.")
    candidate = serializers.CharField(help_text="The model key that its share of them gets.")
    version = serializers.IntegerField(help_text="Raised by every change; the ETag holds it.")
    enabled = serializers.BooleanField(source="is_on")
    forced = serializers.SerializerMethodField("is_forced", help_text="Everyone gets the candidate.")
    stages = RampStageSerializer(many=True)
    users = serializers.SerializerMethodField("user_names", help_text="Testers, by user name.")
    groups = serializers.SerializerMethodField("group_names", help_text="Groups of testers, by name.")
    rampState = serializers.ChoiceField(RampState.choices, source="ramp_state")
    approvedPercent = NumberField(max_digits=5, decimal_places=2, source="approved_percent", allow_null=True)

    def get_fields(self) -> Fields:
        """Those above and all that can be steered."""
        return {**super().get_fields(), **_steerable(read_only=True)}

    def is_forced(self, rollout: Rollout) -> bool:
        """Whether everyone gets it."""
        return rollout.everyone is True

    def user_names(self, rollout: Rollout) -> list[str]:
        """In their order."""
        return sorted(str(user) for user in rollout.users.all())

    def group_names(self, rollout: Rollout) -> list[str]:
        """In their order."""
        return sorted(str(group) for group in rollout.groups.all())


class ChangeSerializer(StrictSerializer):
    """Any of the fields; what is left out stays as it is. Lists are whole."""

    def get_fields(self) -> Fields:
        """All that ``change_rollout`` takes, and why."""
        return {
            "enabled": StrictBooleanField(required=False, help_text="Off: everyone gets the baseline. A stop wins."),
            "forced": StrictBooleanField(required=False, help_text="Everyone gets the candidate."),
            **_steerable(required=False),
            "users": _names(required=False, help_text="Testers, by user name."),
            "groups": _names(required=False, help_text="Groups of testers, by name."),
            "stages": serializers.ListField(child=RampStageSerializer(), required=False, max_length=MAX_STAGES),
            "rerandomise": StrictBooleanField(required=False, help_text="True: deal everyone anew."),
            "why": StrictCharField(required=False, allow_blank=True, max_length=500, help_text="For the history."),
        }

    def changes(self) -> dict[str, Any]:
        """As ``change_rollout`` takes them, without ``why``. Raises ChangeRefused for people who are not there."""
        given: Mapping[str, Any] = self.validated_data
        wanted = {name: value for name, value in given.items() if name in FIELDS}
        people = as_changes({name: wanted[name] for name in ("users", "groups") if name in wanted})
        return {**wanted, **people}


class CreateSerializer(ChangeSerializer):
    """A new rollout: three keys, and how it starts. Without ``enabled`` it is off, and the verb ``start`` begins it."""

    def get_fields(self) -> Fields:
        """What it can't do without, before the rest."""
        name = StrictCharField(min_length=1, max_length=100, help_text="Letters, digits, hyphens and underscores.")
        keys = {
            name: StrictCharField(min_length=1, max_length=100, help_text="A model key.")
            for name in ("baseline", "candidate")
        }
        return {"name": name, **keys, **super().get_fields()}


class WhySerializer(StrictSerializer):
    """A reason, for the history."""

    why = StrictCharField(required=False, allow_blank=True, max_length=500)


class WaitsSerializer(serializers.Serializer[Any]):
    """Nothing was changed yet: a second person must agree, in admin."""

    code = serializers.ChoiceField(["waits_for_approval"])
    detail = serializers.CharField()
    proposal = serializers.IntegerField(help_text="The id of what waits.")
