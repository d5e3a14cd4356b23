"""Rows by SQL that is made once: for statements that each answer needs, and that are always the same.

Compiling them anew costs three times what the database needs for them, and its planning them anew as much again.
Knows models as tables; nobody's in particular.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any, Self, cast

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, NotSupportedError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import CharField, Field, Model, TextField
from psycopg import pq


def select(
    statement: str, given: Sequence[Any], *models: type[Model], using: str = DEFAULT_DB_ALIAS
) -> list[list[Any]]:
    """Of each row an object of each model, whose ``columns`` come first and in that order, and the values after them.

    What Django's ``raw`` does, but that it asks each time which columns there are.
    """
    connection = connections[using]
    return [_objects(row, models, connection) for row in fetch(statement, given, using=using)]


def fetch(
    statement: str, given: Sequence[Any], *, using: str = DEFAULT_DB_ALIAS, as_bytes: bool = False
) -> list[tuple[Any, ...]]:
    """All rows of a statement.

    ``as_bytes`` asks PostgreSQL for them as it has them and not as text, which takes half as long where they hold many
    bytes; of JSON it is the text that must be asked for then.
    """
    with _cursor(connections[using], as_bytes=as_bytes) as cursor:
        cursor.execute(statement, given)
        return list(cursor.fetchall())


@contextmanager
def _cursor(connection: BaseDatabaseWrapper, *, as_bytes: bool = False) -> Iterator[CursorWrapper]:
    """Whose statements PostgreSQL plans once for a connection and not each time, which takes longer than they do."""
    # Where statements are logged it is with their values, which Django's own cursor puts in.
    if connection.vendor != "postgresql" or connection.queries_logged:
        with connection.cursor() as cursor:
            yield cursor
        return
    connection.ensure_connection()
    driver = connection.connection
    bare = _Cursor(driver)
    bare.format = pq.Format.BINARY if as_bytes else pq.Format.TEXT
    # Only for these: the driver would keep the texts of all others too, which are never the same, to count them.
    driver.prepare_threshold = 0 if settings.DATABASE_PREPARE else None
    try:
        with connection.make_cursor(cast("CursorWrapper", bare)) as cursor:
            yield cursor
    except NotSupportedError:
        # A column has another type than when a plan was made: the plans go with their connection.
        driver.close()
        raise
    finally:
        driver.prepare_threshold = None


class _Cursor(psycopg.RawCursor[Any]):
    """Gives the driver PostgreSQL's own placeholders: for the others it searches each long statement anew, which takes
    longer than to insert the rows of sixteen calls.
    """

    def execute(self, query: Any, params: Any = None, **more: Any) -> Self:
        """See ``psycopg.Cursor``."""
        return super().execute(_numbered(query), params, **more)

    def executemany(self, query: Any, params_seq: Any, **more: Any) -> None:
        """See ``psycopg.Cursor``."""
        super().executemany(_numbered(query), params_seq, **more)


@lru_cache(maxsize=256)
def _numbered(statement: str) -> str:
    first, *others = statement.split("%s")
    return first + "".join(f"${number}{text}" for number, text in enumerate(others, 1))


def _primary() -> BaseDatabaseWrapper:
    """The thread's own connection, looked up once: Django's ``connection`` looks it up again for each attribute."""
    return connections[DEFAULT_DB_ALIAS]


@cache
def columns(model: type[Model], table: str) -> str:
    """A model's columns as ``select`` takes them; ``table`` is the name that the statement gives it."""
    return ", ".join(f"{table}.{_column(model, name)}" for name in _fields(model))


def _objects(row: Sequence[Any], models: Sequence[type[Model]], connection: BaseDatabaseWrapper) -> list[Any]:
    found: list[Any] = []
    rest = list(row)
    for model in models:
        names = tuple(_fields(model))
        values, rest = rest[: len(names)], rest[len(names) :]
        for place, convert, expression in _converters(model, connection.alias):
            values[place] = convert(values[place], expression, connection)
        found.append(model.from_db(connection.alias, names, values))
    return found + rest


@cache
def _converters(model: type[Model], using: str) -> list[tuple[int, Callable[..., Any], Any]]:
    """By place, what makes Python's values of a database's."""
    connection = connections[using]
    expressions = [field.get_col(model._meta.db_table) for field in _fields(model).values()]
    return [
        (place, convert, expression)
        for place, expression in enumerate(expressions)
        for convert in (
            *connection.ops.get_db_converters(expression),
            *expression.get_db_converters(connection),
        )
    ]


def insert(model: type[Model], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows in one statement: values by attribute, the same ones in each; the others are their defaults."""
    sql, row = _insertion(model, tuple(rows[0]))
    values = [value for each in rows for value in prepared(model, each.items())]
    with _cursor(_primary()) as cursor:
        cursor.execute(f"{sql} {', '.join([row] * len(rows))}", values)


def change(
    model: type[Model],
    rows: Sequence[tuple[dict[str, Any], dict[str, Any]]],
    *,
    only: tuple[str, str] | None = None,
    near: str = "",
) -> int:
    """Change rows, no two alike: of each what finds it and what is new, the same attributes in each.

    ``only`` is an attribute and a plain word that it must be; ``near``, of a table with partitions, the attribute that
    they go by: to plan for each row costs more there than all the rest. Returns how many rows there were.
    """
    found, new = tuple(rows[0][0]), tuple(rows[0][1])
    values = [[*prepared(model, changed.items()), *prepared(model, which.items())] for which, changed in rows]
    connection = _primary()
    with _cursor(connection) as cursor:
        if len(values) == 1:
            cursor.execute(_change(model, found, new, only), values[0])
        elif near and connection.vendor == "postgresql":
            columns: list[Any] = [list(column) for column in zip(*values, strict=True)]
            where = columns[len(new) + found.index(near)]
            cursor.execute(_change_all(model, found, new, only, near), [*columns, min(where), max(where)])
        else:
            cursor.executemany(_change(model, found, new, only), values)
        return int(cursor.rowcount)


def prepared(model: type[Model], values: Iterable[tuple[str, Any]]) -> list[Any]:
    """Values by attribute, as the database takes them."""
    fields, texts, connection = _fields(model), _texts(model), _primary()
    return [
        value
        if value is None or (type(value) is str and name in texts)
        else fields[name].get_db_prep_save(value, connection)
        for name, value in values
    ]


@cache
def _fields(model: type[Model]) -> "dict[str, Field[Any, Any]]":
    return {field.attname: field for field in model._meta.concrete_fields}


@cache
def _texts(model: type[Model]) -> frozenset[str]:
    """The attributes whose text is stored as it is: asking the field takes longer than all the rest."""
    return frozenset(name for name, field in _fields(model).items() if isinstance(field, CharField | TextField))


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


@cache
def _change_all(
    model: type[Model], found: tuple[str, ...], new: tuple[str, ...], only: tuple[str, str] | None, near: str
) -> str:
    """For a list of each attribute's values: planned once for all rows, however many."""
    table = model._meta.db_table
    given = {name: _primary().ops.quote_name(f"given_{name}") for name in (*new, *found)}
    lists = ", ".join(f"%s::{_type(model, name)}[]" for name in given)
    changes = ", ".join(f"{_column(model, name)} = {given[name]}" for name in new)
    finds = [f"{table}.{_column(model, name)} = {given[name]}" for name in found]
    # By this PostgreSQL knows which partitions to look into.
    finds.append(f"{table}.{_column(model, near)} BETWEEN %s AND %s")
    if only is not None:
        finds.append(f"{table}.{_column(model, only[0])} = {_word(only[1])}")
    return (
        f"UPDATE {table} SET {changes} FROM UNNEST({lists}) AS given ({', '.join(given.values())})"  # noqa: S608
        f" WHERE {' AND '.join(finds)}"
    )


def _type(model: type[Model], name: str) -> str:
    """A column's, without its length: to be too long is an error, and not cut off."""
    return str(_fields(model)[name].db_type(_primary())).partition("(")[0]


def _column(model: type[Model], name: str) -> str:
    return _primary().ops.quote_name(str(_fields(model)[name].column))
