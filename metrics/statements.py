"""Rows by SQL that is made once: for statements that each answer needs, and that are always the same.

Compiling them anew costs three times what the database needs for them. Knows models as tables; nobody's in particular.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from django.db import connection
from django.db.models import Field, Model


def insert(model: type[Model], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows in one statement: values by attribute, the same ones in each; the others are their defaults."""
    sql, row = _insertion(model, tuple(rows[0]))
    values = [value for each in rows for value in prepared(model, each.items())]
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} {', '.join([row] * len(rows))}", values)


def change(
    model: type[Model], rows: Sequence[tuple[dict[str, Any], dict[str, Any]]], *, only: tuple[str, str] | None = None
) -> int:
    """Change rows in one trip: of each what finds it and what is new, the same attributes in each.

    ``only`` is an attribute and a plain word that it must be. Returns how many rows there were.
    """
    found, new = rows[0]
    values = [[*prepared(model, changed.items()), *prepared(model, which.items())] for which, changed in rows]
    with connection.cursor() as cursor:
        cursor.executemany(_change(model, tuple(found), tuple(new), only), values)
        return int(cursor.rowcount)


def prepared(model: type[Model], values: Iterable[tuple[str, Any]]) -> list[Any]:
    """Values by attribute, as the database takes them."""
    fields = _fields(model)
    return [fields[name].get_db_prep_save(value, connection) for name, value in values]


@cache
def _fields(model: type[Model]) -> "dict[str, Field[Any, Any]]":
    return {field.attname: field for field in model._meta.concrete_fields}


@cache
def _insertion(model: type[Model], given: tuple[str, ...]) -> tuple[str, str]:
    """The statement's beginning, and a row with placeholders for what is given and the defaults of what is not."""
    rest = [name for name in _fields(model) if name not in given]
    columns = ", ".join(_column(model, name) for name in (*given, *rest))
    row = ", ".join([*["%s"] * len(given), *(_default(model, name) for name in rest)])
    return f"INSERT INTO {model._meta.db_table} ({columns}) VALUES", f"({row})"


def _default(model: type[Model], name: str) -> str:
    """As SQL: a driver looks for placeholders in each statement, and half of them would be for these."""
    default = _fields(model)[name].get_default()
    if default is None or isinstance(default, bool):
        return {None: "NULL", True: "TRUE", False: "FALSE"}[default]
    return _word(default)


def _word(value: object) -> str:
    if not isinstance(value, str) or (not value.replace("_", "").isalpha() and value):
        raise TypeError(f"no plain word: {value!r}")
    return f"'{value}'"


@cache
def _change(model: type[Model], found: tuple[str, ...], new: tuple[str, ...], only: tuple[str, str] | None) -> str:
    changes = ", ".join(f"{_column(model, name)} = %s" for name in new)
    finds = [f"{_column(model, name)} = %s" for name in found]
    if only is not None:
        finds.append(f"{_column(model, only[0])} = {_word(only[1])}")
    return f"UPDATE {model._meta.db_table} SET {changes} WHERE {' AND '.join(finds)}"  # noqa: S608


def _column(model: type[Model], name: str) -> str:
    return connection.ops.quote_name(str(_fields(model)[name].column))
