from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DataError, NotSupportedError, connection, transaction
from django.test.utils import CaptureQueriesContext

from metrics.models import ModelCall, Slice
from metrics.rollup import roll_up
from metrics.statements import change, columns, fetch, select
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
of_postgres = pytest.mark.skipif(DATABASE != "postgres", reason="SQLite has no plans to keep and no limits of text")


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
    statement = f"SELECT {columns(ModelCall, 'asked')} FROM {ModelCall._meta.db_table} asked WHERE unit = %s"
    before = select(statement, ["somebody"], ModelCall)
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {ModelCall._meta.db_table} ADD COLUMN newer integer NULL")

    assert select(statement, ["somebody"], ModelCall) == before != []


@of_postgres
@pytest.mark.django_db(transaction=True)
def test_a_plan_that_a_new_type_has_broken_goes_with_its_connection():
    ModelCallFactory(unit="somebody")
    fetch(REASONS, ["somebody"])
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {ModelCall._meta.db_table} ALTER reason TYPE text")
    try:
        with pytest.raises(NotSupportedError):
            fetch(REASONS, ["somebody"])
        connection.close()

        assert fetch(REASONS, ["somebody"]) == [("percentage",)]
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {ModelCall._meta.db_table} ALTER reason TYPE varchar(20)")


@of_postgres
@pytest.mark.usefixtures("_asked")
def test_the_texts_of_other_statements_are_not_kept():
    fetch(REASONS, ["somebody"])
    for number in range(5):
        ModelCall.objects.filter(unit=f"unit {number}").exists()

    assert connection.connection._prepared._counts == {}


@of_postgres
@pytest.mark.usefixtures("_asked")
def test_behind_a_pooler_no_plan_is_kept(settings):
    settings.DATABASE_PREPARE = False

    assert fetch(REASONS, ["somebody"]) == [("percentage",)]
    assert planned() == []


@pytest.mark.usefixtures("_asked")
def test_a_log_of_statements_has_their_values():
    with CaptureQueriesContext(connection) as logged:
        fetch(REASONS, ["somebody"])

    assert ["'somebody'" in query["sql"] for query in logged] == [True]


# --- many rows at once ---

WORDS = ['plain, "quoted" {braced}', "back\\slash 'and' NULL", "🌍\n\ttabbed", "", "null"]


def ended(number: int) -> dict[str, object]:
    """What is new of a call: everything, or nothing but what it must have."""
    known = {"cost_usd": Decimal(number) / 1000, "latency_ms": number}
    unknown = dict.fromkeys(known)
    return {"outcome": "ok", "ended_at": NOW, "error_detail": WORDS[number], **(known if number % 2 else unknown)}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_row_gets_what_is_its_own(count):
    calls = [ModelCallFactory(running=True, started_at=NOW - timedelta(days=number)) for number in range(count)]
    other = ModelCallFactory(running=True)
    found = [{"id": call.id, "started_at": call.started_at} for call in calls]

    rows = [(which, ended(number)) for number, which in enumerate(found)]
    changed = change(ModelCall, rows, only=("outcome", "running"), near="started_at")
    again = change(ModelCall, rows, only=("outcome", "running"), near="started_at")

    assert (changed, again) == (count, 0)
    for number, call in enumerate(calls):
        call.refresh_from_db()
        assert {name: getattr(call, name) for name in ended(number)} == ended(number)
    other.refresh_from_db()
    assert other.outcome == "running"


@of_postgres
def test_text_that_is_too_long_is_an_error_and_not_cut_off():
    calls = ModelCallFactory.create_batch(2, running=True)

    rows = [({"id": call.id, "started_at": call.started_at}, {"error_class": "x" * 51}) for call in calls]

    with pytest.raises(DataError), transaction.atomic():
        change(ModelCall, rows, near="started_at")
