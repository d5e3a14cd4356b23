"""Rows as CSV that a spreadsheet can open without running anything. Pure."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

# A spreadsheet takes a cell that begins like this for a formula, or looks past it for one.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as RFC 4180 has them. Booleans are ``true`` and ``false``, ``None`` is empty, numbers stay as they are.

    A text that a spreadsheet would take for a formula gets a quote before it.
    """
    text = io.StringIO()
    csv.writer(text).writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
