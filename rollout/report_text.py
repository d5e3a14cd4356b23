"""A report, and a rollout's newest hours or days, as text for a terminal or a mail. Knows documents, no storage."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.management.color import no_style
from django.utils.translation import gettext as _

from rollout import text
from rollout.report_tables import lead, report_tables, title_of
from rollout.sparklines import sparkline
from rollout.tables import series_figures

Point = Mapping[str, Any]


def report_text(document: Mapping[str, Any], style: Any = None) -> str:
    """A stored report: its sentences, its lines, its tables."""
    sections = [
        (table.title.upper(), text.columns([["", *table.head], *table.rows])) for table in report_tables(document)
    ]
    return text.page(
        style or no_style(),
        (title_of(document), lead(document)),
        (_("TREND"), trend(document["series"])),
        *sections,
    )


def trend(series: Sequence[Point]) -> list[str]:
    """Both arms over time, a line each: what it is, little bars, the last and the greatest value."""
    if not any(point[arm]["requests"] for point in series for arm in ("candidate", "baseline")):
        return [_("No requests yet.")]
    arms = (("candidate", _("candidate")), ("baseline", _("baseline")))
    rows = []
    for title, key, write in series_figures():
        for arm, name in arms:
            values = [point[arm][key] for point in series]
            known = [value for value in values if value is not None]
            if known:
                greatest = _("at most %(value)s") % {"value": write(max(known))}
                rows.append(
                    [f"{title}, {name}", sparkline(values), _("last %(value)s") % {"value": write(known[-1])}, greatest]
                )
    return text.columns(rows)
