"""Slices of time, read as they are asked for most: those of some cuts, one by one or added up where they lie, those of
one grain in turn, and where the newest is; and the totals, which are what all slices add up to.

Always the same statements but for their moments: to compile one anew costs more than to run it. Knows the tables and
nothing of what is in their sums. Part of metrics' services.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import orjson
from django.db import connections, router

from metrics.models import MADE_OF_OTHERS, CallTotal, RollupState, Slice
from metrics.slices import Cut, Grain
from metrics.statements import fetch

# A number of the sums by its name; PostgreSQL takes each document apart once for all of them.
_NUMBER = {"postgresql": "numbers.{0}", "sqlite": "JSON_EXTRACT(sums, '$.{0}')"}
_NUMBERS = {"postgresql": "CROSS JOIN jsonb_to_record(sums) AS numbers({0})", "sqlite": ""}
_NEWEST = f"SELECT start FROM {Slice._meta.db_table} WHERE rollout = %s AND grain = {{0}} ORDER BY start DESC LIMIT 1"  # noqa: S608
# A row there is in any case.
_EXTENT = f"""
    SELECT rolled_at, changed_at, horizon,
        ({_NEWEST.format(Grain.FIVE_MINUTES.value)}), ({_NEWEST.format(Grain.HOUR.value)}),
        {", ".join(f"{mark} = changed_at" for mark in MADE_OF_OTHERS.values())}
    FROM (SELECT 1 AS id) one LEFT JOIN {RollupState._meta.db_table} state ON state.id = one.id
"""  # noqa: S608
_IN_TURN = f"""
    SELECT start, arm, people, CAST(sums AS text), start = ({_NEWEST.format("%s")}) FROM {Slice._meta.db_table}
    WHERE rollout = %s AND reason = %s AND grain = %s AND start >= %s AND start < %s ORDER BY start
"""  # noqa: S608


class Extent(NamedTuple):
    """How far the roll-ups are (see ``RollupState``), and where a rollout's newest slices begin; ``None``: nowhere.

    Slices of these ``grains`` hold all that was added.
    """

    grains: frozenset[Grain]
    rolled_at: datetime | None
    changed_at: datetime | None
    horizon: datetime | None
    newest_five_minutes: datetime | None
    newest_hour: datetime | None


class Part(NamedTuple):
    """One arm's slice: where it begins, who was there (``None``: not counted yet), its sums, whether none is newer."""

    start: datetime
    arm: str
    people: int | None
    sums: dict[str, Any]
    is_newest: bool


def extent(rollout: str) -> Extent:
    """In one statement: whatever is asked for, this is asked first."""
    (found,) = _fetched(_EXTENT, [rollout, rollout])
    moments, hold = found[: -len(MADE_OF_OTHERS)], found[-len(MADE_OF_OTHERS) :]
    behind = {grain for grain, holds in zip(MADE_OF_OTHERS, hold, strict=True) if not holds}
    return Extent(frozenset(Grain) - behind, *map(_moment, moments))


def in_turn(*, rollout: str, reason: str, grain: Grain, since: datetime, until: datetime) -> Iterator[Part]:
    """Slices that begin in that time, oldest first."""
    given = [rollout, grain.value, rollout, reason, grain.value, *_stored([since, until])]
    for start, arm, people, sums, is_newest in _fetched(_IN_TURN, given, as_bytes=True):
        moment = _moment(start)
        assert moment is not None, "a slice begins somewhere"  # noqa: S101
        yield Part(moment, arm, people, whole_numbers(sums), bool(is_newest))


def documents(cuts: Sequence[Cut], *, rollout: str) -> Iterator[tuple[int, str, str, dict[str, Any]]]:
    """Each slice's sign, arm, reason and sums."""
    for place, arm, reason, sums in _rows("arm, reason, sums", cuts, {"rollout": rollout}):
        yield cuts[place].sign, arm, reason, whole_numbers(sums)


def added_up(names: Sequence[str], cuts: Sequence[Cut], **of: str) -> dict[str, dict[str, int]]:
    """By arm, the sum of each of these numbers, of a ``rollout``, a ``reason`` or an ``arm``; arms without slices are
    left out.
    """
    numbers, taken_apart = _summed(names)
    found: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(names, 0))
    for place, arm, *sums in _rows(f"arm, {numbers}", cuts, of, taken_apart, "GROUP BY arm"):
        for name, number in zip(names, sums, strict=True):
            found[arm][name] += cuts[place].sign * int(number or 0)
    return dict(found)


def ever(names: Sequence[str], **of: str) -> list[int]:
    """The sum of each of these numbers over all calls that ever were, by ``totals.Total``'s names: a few rows, where
    slices are more with each day.
    """
    numbers, taken_apart = _summed(names)
    which = " AND ".join(f"{column} = %s" for column in of)
    statement = f"SELECT {numbers} FROM {CallTotal._meta.db_table} {taken_apart} WHERE {which} AND NOT deleted"  # noqa: S608
    (sums,) = _fetched(statement, list(of.values()))
    return [int(number or 0) for number in sums]


def _summed(names: Sequence[str]) -> tuple[str, str]:
    """The sums of numbers of a table's documents, and what is joined to it for that."""
    vendor = connections[router.db_for_read(Slice)].vendor
    numbers = ", ".join(f"SUM({_NUMBER[vendor].format(name)})" for name in names)
    return numbers, _NUMBERS[vendor].format(", ".join(f"{name} bigint" for name in names))


def _rows(columns: str, cuts: Sequence[Cut], of: Mapping[str, str], joined: str = "", end: str = "") -> list[Any]:
    """Of each cut's slices the columns, after the cut's place."""
    which = " AND ".join(f"{column} = %s" for column in of)
    statements: list[str] = []
    given: list[Any] = []
    for place, cut in enumerate(cuts):
        statements.append(
            f"SELECT {place}, {columns} FROM {Slice._meta.db_table} {joined}"  # noqa: S608
            f" WHERE {which} AND grain = {cut.grain.value} AND start >= %s AND start < %s {end}"
        )
        given += [*of.values(), *_stored([cut.start, cut.end])]
    return _fetched(" UNION ALL ".join(statements), given) if statements else []


def _fetched(statement: str, given: Sequence[Any], *, as_bytes: bool = False) -> list[Any]:
    return fetch(statement, given, using=router.db_for_read(Slice), as_bytes=as_bytes)


def _stored(moments: Sequence[datetime]) -> list[Any]:
    """As the database compares them."""
    operations = connections[router.db_for_read(Slice)].ops
    return [operations.adapt_datetimefield_value(moment) for moment in moments]


def _moment(stored: datetime | str | None) -> datetime | None:
    """Back from the database: SQLite keeps moments as text, in UTC."""
    found = datetime.fromisoformat(stored) if isinstance(stored, str) else stored
    return found if found is None or found.tzinfo is not None else found.replace(tzinfo=UTC)


def whole_numbers(text: str) -> dict[str, Any]:
    """Sums, or lists of them, from their JSON, three times as quick as Python's own reader; which reads what has
    numbers of more than 64 bits, for they would be floats.
    """
    document: dict[str, Any] = orjson.loads(text)
    for value in document.values():
        if type(value) is float or (type(value) is list and float in map(type, value)):
            return cast("dict[str, Any]", json.loads(text))
    return document
