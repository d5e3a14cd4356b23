from decimal import Decimal

import pytest
from django.db import connection

from metrics.models import ModelCall, Slice
from metrics.rollup import roll_up
from metrics.statements import columns, select
from tests.metrics.factories import NOW, ModelCallFactory

pytestmark = pytest.mark.django_db


def values(found: ModelCall | Slice) -> dict[str, object]:
    return {field.attname: getattr(found, field.attname) for field in found._meta.concrete_fields}


def test_rows_are_the_objects_that_the_models_would_give():
    call = ModelCallFactory(candidate=True, cost_usd=Decimal("0.0004"), baseline_cost_usd=None, rating=3)
    roll_up(now=NOW)
    parts = list(Slice.objects.order_by("pk"))
    call_table, slice_table = ModelCall._meta.db_table, Slice._meta.db_table

    found = select(
        f"SELECT {columns(ModelCall, 'asked')}, {columns(Slice, 'part')}, part.id + %s, 'x'"
        f" FROM {call_table} asked JOIN {slice_table} part ON part.rollout = asked.rollout ORDER BY part.id",
        [7],
        ModelCall,
        Slice,
    )

    assert len(found) == len(parts) > 1
    for (one, other, number, letter), part in zip(found, parts, strict=True):
        call.refresh_from_db()
        assert values(one) == values(call)
        assert values(other) == values(part)
        assert (number, letter) == (part.pk + 7, "x")
        assert one._state.db == connection.alias
        assert not one._state.adding


def test_no_row_is_no_object():
    assert select(f"SELECT {columns(ModelCall, 'asked')} FROM {ModelCall._meta.db_table} asked", [], ModelCall) == []
