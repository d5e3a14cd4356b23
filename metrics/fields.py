"""Money in a database column, exactly."""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

# The stubs make fields generic; Django's own classes are not.
if TYPE_CHECKING:
    _Base = models.BigIntegerField[Decimal | None, Decimal | None]
else:
    _Base = models.BigIntegerField

PICO = Decimal("1e-12")


class UsdField(_Base):
    """US dollars as ``Decimal`` in Python and whole pico-dollars (1e-12 USD) in the database.

    Integers make SQL sums exact on SQLite too, which keeps decimals as floats. The finest list
    price today, 1e-8 USD a token, fits 10,000 times; a sum holds up to 9.2 million USD.
    """

    description = _("US dollars")

    def from_db_value(self, value: int | Decimal | None, expression: object, connection: object) -> Decimal | None:
        return None if value is None else Decimal(int(value)) * PICO

    def to_python(self, value: Any) -> Decimal | None:
        if value is None or isinstance(value, Decimal):
            return value
        try:
            return Decimal(str(value))
        except ArithmeticError as error:
            raise ValidationError(_("Not an amount of money: %(value)s"), params={"value": value}) from error

    def get_prep_value(self, value: Any) -> int | None:
        usd = self.to_python(value)
        if usd is None:
            return None
        if not usd.is_finite():
            raise ValidationError(_("Not an amount of money: %(value)s"), params={"value": value})
        return int((usd / PICO).to_integral_value(rounding=ROUND_HALF_EVEN))

    def value_to_string(self, obj: models.Model) -> str:
        value = self.value_from_object(obj)
        return "" if value is None else str(value)
