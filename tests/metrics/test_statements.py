from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from metrics.models import ModelCall, Slice
from metrics.rollup import roll_up
from metrics.statements import columns, fetch, select
from tests.conftest import DATABASE
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


# --- plans ---

REASONS = f"SELECT reason FROM {ModelCall._meta.db_table} WHERE unit = %s"
of_postgres = pytest.mark.skipif(DATABASE != "postgres", reason="SQLite keeps the plans of all statements by itself")


def planned() -> list[str]:
    """What this connection has a plan of."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements WHERE statement LIKE 'SELECT reason%'")
        return [statement for (statement,) in cursor.fetchall()]


@pytest.fixture
def _asked() -> None:
    ModelCallFactory(unit="somebody")
    ModelCallFactory(unit="somebody else", reason="tester")


@of_postgres
@pytest.mark.usefixtures("_asked")
def test_a_statement_is_planned_once_for_all_its_values():
    assert fetch(REASONS, ["somebody"]) == [("percentage",)]
    assert fetch(REASONS, ["somebody else"]) == [("tester",)]

    assert len(planned()) == 1


@of_postgres
@pytest.mark.usefixtures("_asked")
def test_a_plan_outlives_a_new_column():
    fetch(REASONS, ["somebody"])
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {ModelCall._meta.db_table} ADD COLUMN newer integer NULL")

    assert fetch(REASONS, ["somebody"]) == [("percentage",)]


@of_postgres
@pytest.mark.usefixtures("_asked")
def test_behind_a_pooler_no_plan_is_kept(monkeypatch):
    monkeypatch.setattr(connection.connection, "prepare_threshold", None)

    assert fetch(REASONS, ["somebody"]) == [("percentage",)]
    assert planned() == []


@pytest.mark.usefixtures("_asked")
def test_a_log_of_statements_has_their_values():
    with CaptureQueriesContext(connection) as logged:
        fetch(REASONS, ["somebody"])

    assert ["'somebody'" in query["sql"] for query in logged] == [True]
