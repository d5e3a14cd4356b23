"""A report as a file for programs and spreadsheets: one figure a row. Knows the document, no storage."""

from collections.abc import Iterator, Mapping
from typing import Any

from metrics.csv_text import csv_text

_HEAD = ("rollout", "kind", "first_day", "start", "arm", "figure", "value")
_ARMS = ("candidate", "baseline")

Cell = str | int | float | bool | None


def report_csv(document: Mapping[str, Any]) -> str:
    """One row a figure: which report, the slice's start ("" for the whole), the arm ("" for both), figure and value.

    Names and units are the JSON document's; parts of a figure are joined by dots: ``outcomes.ok``. What is not known is
    empty.
    """
    key = (document["rollout"], document["kind"], document["firstDay"])
    return csv_text([_HEAD, *([*key, *row] for row in _rows(document))])


def _rows(document: Mapping[str, Any]) -> Iterator[tuple[Cell, ...]]:
    for arm in _ARMS:
        for figure, value in _flat(document["arms"][arm]):
            yield "", arm, figure, value
        for figure, value in _flat(document.get("weekOverWeek", {}).get(arm, {})):
            yield "", arm, f"weekOverWeek.{figure}", value
    for part in ("split", "savedSinceBeginningUsd", "projectedUsd", "otherRequests"):
        for figure, value in _flat({part: document[part]}):
            yield "", "", figure, value
    for figure, value in _flat(document["decision"] or {}):
        yield "", "", f"decision.{figure}", value
    for point in document["series"]:
        for arm in _ARMS:
            for figure, value in _flat(point[arm]):
                yield point["start"], arm, figure, value


def _flat(part: Mapping[str, Any]) -> Iterator[tuple[str, Cell]]:
    for name, value in part.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", deeper) for inner, deeper in _flat(value))
        else:
            yield name, value
