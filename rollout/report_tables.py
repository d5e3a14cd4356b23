"""A report's document as tables in words: what its page, its mail and its CSV file show alike.

Knows the document and words, no storage. A table's figures are texts for people; the JSON document is for programs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from rollout import tables, text


@dataclass(frozen=True, kw_only=True)
class Table:
    """``head`` names the columns after the first, which holds each row's label."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def report_tables(document: Mapping[str, Any]) -> list[Table]:
    """Every table of a report that has something to show, in the order in which they are read."""
    arms = [_("Candidate"), _("Baseline")]
    found = [
        Table(title=_("Traffic and quality"), head=arms, rows=text.arm_rows(document)),
        Table(title=_("Percentiles"), head=arms, rows=tables.percentile_rows(document)),
        Table(title=_("Cost"), head=[_("US dollars")], rows=text.cost_rows(document)),
    ]
    return [table for table in found if table.rows]
