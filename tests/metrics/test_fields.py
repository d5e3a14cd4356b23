from copy import copy
from decimal import Decimal
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError
from django.db.models import Sum

from metrics.models import ModelCall
from tests.metrics.factories import ModelCallFactory

pytestmark = pytest.mark.django_db


def stored(value: object) -> Decimal | None:
    call = ModelCallFactory(cost_usd=value)
    return ModelCall.objects.get(pk=call.pk).cost_usd


@pytest.mark.parametrize("usd", ["0", "0.000000000001", "0.1", "1234567.890123456789", "-3.5", "9223372.036854775807"])
def test_money_comes_back_as_it_went_in(usd):
    assert stored(Decimal(usd)) == Decimal(usd)


def test_an_amount_that_is_not_known_stays_unknown():
    assert stored(None) is None


def test_below_a_millionth_of_a_millionth_is_rounded_to_even():
    assert stored(Decimal("0.0000000000005")) == 0
    assert stored(Decimal("0.0000000000015")) == Decimal("0.000000000002")


def test_ten_thousand_of_the_smallest_prices_add_up_exactly():
    price = Decimal("0.000000001234")
    ModelCallFactory(cost_usd=Decimal("0.1"))
    call = ModelCallFactory.build(cost_usd=price)
    calls = [copy(call) for _ in range(10_000)]
    for call in calls:
        call.pk, call.answer_id = uuid4(), uuid4()
    ModelCall.objects.bulk_create(calls)

    assert ModelCall.objects.aggregate(total=Sum("cost_usd"))["total"] == Decimal("0.1") + 10_000 * price


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), float("nan"), "a dollar"])
def test_what_is_no_amount_is_not_stored(value):
    with pytest.raises(ValidationError):
        stored(value)


def test_amounts_can_be_compared_in_queries():
    for usd in ("0.001", "0.002", "0.003"):
        ModelCallFactory(cost_usd=Decimal(usd))

    assert ModelCall.objects.filter(cost_usd__gte=Decimal("0.002")).count() == 2
