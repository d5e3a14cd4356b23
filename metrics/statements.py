"""A call's two statements, for many calls at once: written for each answer, and always the same.

Compiling them anew costs three times what the database needs for them. Knows the table of calls, nothing of what is in
a call. Part of metrics' services.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from django.db import connection
from django.db.models import Field

from metrics.models import ModelCall, Outcome

_TABLE = ModelCall._meta.db_table
_FIELDS: "dict[str, Field[Any, Any]]" = {field.attname: field for field in ModelCall._meta.concrete_fields}


def insert(rows: Sequence[dict[str, Any]]) -> None:
    """Insert calls in one statement: values by attribute, the same ones in each; the others are their defaults."""
    sql, row = _insertion(tuple(rows[0]))
    values = [value for each in rows for value in _prepared(each.items())]
    with connection.cursor() as cursor:
        cursor.execute(f"{sql} {', '.join([row] * len(rows))}", values)


def end(rows: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> int:
    """Write the ends of running calls in one trip: of each what finds it and what is new, the same attributes in each.

    What has ended stays as it is. Returns how many calls there were to end.
    """
    found, new = rows[0]
    values = [[*_prepared(change.items()), *_prepared(which.items())] for which, change in rows]
    with connection.cursor() as cursor:
        cursor.executemany(_ending(tuple(found), tuple(new)), values)
        return int(cursor.rowcount)


@cache
def _insertion(given: tuple[str, ...]) -> tuple[str, str]:
    """The statement's beginning, and a row with placeholders for what is given and the defaults of what is not."""
    rest = [name for name in _FIELDS if name not in given]
    columns = ", ".join(map(_column, (*given, *rest)))
    row = ", ".join([*["%s"] * len(given), *map(_default, rest)])
    return f"INSERT INTO {_TABLE} ({columns}) VALUES", f"({row})"


def _default(name: str) -> str:
    """As SQL: a driver looks for placeholders in each statement, and half of them would be for these."""
    default = _FIELDS[name].get_default()
    if default is None or isinstance(default, bool):
        return {None: "NULL", True: "TRUE", False: "FALSE"}[default]
    if not isinstance(default, str) or (not default.replace("_", "").isalpha() and default):
        raise TypeError(f"{name}: no plain word: {default!r}")
    return f"'{default}'"


@cache
def _ending(found: tuple[str, ...], new: tuple[str, ...]) -> str:
    changes = ", ".join(f"{_column(name)} = %s" for name in new)
    finds = " AND ".join(f"{_column(name)} = %s" for name in found)
    return f"UPDATE {_TABLE} SET {changes} WHERE {finds} AND outcome = '{Outcome.RUNNING.value}'"  # noqa: S608


def _prepared(values: Iterable[tuple[str, Any]]) -> list[Any]:
    return [_FIELDS[name].get_db_prep_save(value, connection) for name, value in values]


def _column(name: str) -> str:
    return connection.ops.quote_name(str(_FIELDS[name].column))
