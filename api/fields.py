"""Fields that take what JSON means and nothing that only looks like it, so that the schema tells the truth."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import exceptions, serializers

Fields = dict[str, serializers.Field[Any, Any, Any, Any]]


class StrictBooleanField(serializers.BooleanField):
    """JSON's true or false, and nothing that only looks like it."""

    def to_internal_value(self, data: Any) -> bool:
        """Take the value as it is."""
        if not isinstance(data, bool):
            self.fail("invalid", input="")
        return data


class StrictIntegerField(serializers.IntegerField):
    """A JSON number without a fraction."""

    def to_internal_value(self, data: Any) -> int:
        """Take the value as it is."""
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictCharField(serializers.CharField):
    """A JSON string, kept to the letter."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        """Take the value as it is."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class NumberField(serializers.DecimalField):
    """A JSON number, exact on the way in."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(coerce_to_string=False, **kwargs)

    def to_internal_value(self, data: Any) -> Decimal:
        """To the decimal that was written."""
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        return super().to_internal_value(repr(data))

    def to_representation(self, value: Any) -> float:  # type: ignore[override]
        """A number again."""
        return float(value)


class MoneySerializer(serializers.Serializer[Any]):
    """An amount, exact to the last digit, so never a JSON number."""

    amount = serializers.RegexField(r"^-?[0-9]+(\.[0-9]+)?$")
    currency = serializers.ChoiceField(["USD"])


@extend_schema_field(MoneySerializer)
class MoneyField(serializers.Field[Any, Any, Any, Any]):
    """``{"amount": "0.000412", "currency": "USD"}``. Null is "not known"."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read_only=True, allow_null=True, **kwargs)

    def to_representation(self, value: Decimal) -> dict[str, str]:
        """All money here is in US dollars."""
        return {"amount": f"{value.normalize():f}", "currency": "USD"}


class StrictSerializer(serializers.Serializer[Any]):
    """An object that may hold the fields named, and no others: a misspelt one must not pass for a change."""

    def to_internal_value(self, data: Any) -> Any:
        """Refuse what is not known. ValidationError by field."""
        if isinstance(data, Mapping) and (unknown := sorted(set(data) - set(self.fields))):
            told = _("There is no such field.")
            raise exceptions.ValidationError(
                {name[:100]: [exceptions.ErrorDetail(told, code="unknown")] for name in unknown[:5]}
            )
        return super().to_internal_value(data)
