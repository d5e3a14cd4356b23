"""Slices of time, read as they are asked for most: those of some cuts, one by one or added up where they lie.

Always the same statement but for its moments: to compile it anew costs more than to run it. Knows the table of slices
and nothing of what is in their sums. Part of metrics' services.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import connections, router

from metrics.models import Slice
from metrics.slices import Cut

# A number of the sums by its name; PostgreSQL takes each document apart once for all of them.
_NUMBER = {"postgresql": "numbers.{0}", "sqlite": "JSON_EXTRACT(sums, '$.{0}')"}
_NUMBERS = {"postgresql": "CROSS JOIN jsonb_to_record(sums) AS numbers({0})", "sqlite": ""}


def documents(cuts: Sequence[Cut], *, rollout: str) -> Iterator[tuple[int, str, str, dict[str, Any]]]:
    """Each slice's sign, arm, reason and sums."""
    for place, arm, reason, sums in _rows("arm, reason, sums", cuts, {"rollout": rollout}):
        yield cuts[place].sign, arm, reason, json.loads(sums)


def added_up(names: Sequence[str], cuts: Sequence[Cut], **of: str) -> dict[str, dict[str, int]]:
    """By arm, the sum of each of these numbers, of a ``rollout``, a ``reason`` or an ``arm``; arms without slices are
    left out.
    """
    vendor = connections[router.db_for_read(Slice)].vendor
    numbers = ", ".join(f"SUM({_NUMBER[vendor].format(name)})" for name in names)
    taken_apart = _NUMBERS[vendor].format(", ".join(f"{name} bigint" for name in names))
    found: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(names, 0))
    for place, arm, *sums in _rows(f"arm, {numbers}", cuts, of, taken_apart, "GROUP BY arm"):
        for name, number in zip(names, sums, strict=True):
            found[arm][name] += cuts[place].sign * int(number or 0)
    return dict(found)


def _rows(columns: str, cuts: Sequence[Cut], of: Mapping[str, str], joined: str = "", end: str = "") -> list[Any]:
    """Of each cut's slices the columns, after the cut's place."""
    connection = connections[router.db_for_read(Slice)]
    which = " AND ".join(f"{column} = %s" for column in of)
    statements: list[str] = []
    given: list[Any] = []
    for place, cut in enumerate(cuts):
        moments = [connection.ops.adapt_datetimefield_value(moment) for moment in (cut.start, cut.end)]
        statements.append(
            f"SELECT {place}, {columns} FROM {Slice._meta.db_table} {joined}"  # noqa: S608
            f" WHERE {which} AND grain = {cut.grain.value} AND start >= %s AND start < %s {end}"
        )
        given += [*of.values(), *moments]
    if not statements:
        return []
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(statements), given)
        return list(cursor.fetchall())
