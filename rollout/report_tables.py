"""A report's document in words: what its page, its mail and the terminal show alike.

Knows the document and words, no storage. Figures are texts for people; the JSON document is for programs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import formats
from django.utils.translation import gettext as _

from metrics.failures import outcome_in_words
from rollout import tables, text
from rollout.models import Report, Verdict
from rollout.words import percentage

Document = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Table:
    """``head`` names the columns after the first, which holds each row's label."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def title_of(document: Document) -> str:
    """``gemini-flash-lite, week of 16 Nov. 2026``."""
    first_day = date.fromisoformat(document["firstDay"])
    days = _("week of %(day)s") if document["kind"] == Report.Kind.WEEKLY else "%(day)s"
    return f"{document['rollout']}, {days % {'day': formats.date_format(first_day)}}"


def lead(document: Document) -> list[str]:
    """The report in a few sentences: the decision and its reason, the split, the money."""
    said = [_decision(document), _split(document)]
    saved = document["arms"]["candidate"]["savedUsd"]
    if saved is not None:
        said.append(
            _("The candidate saved %(saved)s in this time, %(total)s since the beginning.")
            % {"saved": text.usd(saved), "total": text.usd(document["savedSinceBeginningUsd"])}
        )
    return said


def report_tables(document: Document) -> list[Table]:
    """Every table of a report that has something to show, in the order in which they are read."""
    arms = [_("Candidate"), _("Baseline")]
    money = [*text.cost_rows(document), *_saving_rows(document)]
    found = [
        Table(title=_("Traffic and quality"), head=arms, rows=text.arm_rows(document)),
        Table(title=_("Against the week before"), head=arms, rows=_week_rows(document)),
        Table(title=_("How requests ended"), head=arms, rows=_counted(document, "outcomes", outcome_in_words)),
        Table(title=_("Errors by class"), head=arms, rows=_counted(document, "errorsByClass")),
        Table(title=_("Percentiles"), head=arms, rows=tables.percentile_rows(document)),
        Table(title=_("Cost"), head=[_("US dollars")], rows=money),
        Table(title=_("Tokens"), head=arms, rows=_token_rows(document)),
        Table(title=_("Satisfaction"), head=arms, rows=_rating_rows(document)),
        Table(title=_("Requests that decide nothing"), head=[_("Requests")], rows=text.other_rows(document)),
        Table(
            title=_("Day by day") if document["kind"] == Report.Kind.WEEKLY else _("Hour by hour"),
            head=[
                _("Candidate's requests"),
                _("Baseline's requests"),
                _("Candidate's errors"),
                _("Baseline's errors"),
                _("Candidate's first token, p50"),
                _("Baseline's first token, p50"),
                _("Saved"),
            ],
            rows=_series_rows(document),
        ),
        Table(title=_("Changes"), head=[_("Who"), _("What"), _("Why")], rows=_change_rows(document)),
    ]
    return [table for table in found if table.rows]


def _decision(document: Document) -> str:
    decision = document["decision"]
    if decision is None:
        return _("Nothing had been decided by then.")
    return _("Decision at the end: %(verdict)s, at %(percent)s, since %(since)s. %(reason)s") % {
        "verdict": Verdict(decision["verdict"]).label,
        "percent": percentage(str(decision["percent"])),
        "since": _moment(decision["since"], document),
        "reason": decision["reason"],
    }


def _split(document: Document) -> str:
    split = document["split"]
    if split["expectedPercentage"] is None:
        return _("There was no traffic that decides.")
    share = _("The candidate got %(split)s.") % {"split": text.split_in_words(document)}
    srm = split["srm"]
    if srm is None:
        return f"{share} {_('The share of people was changed in this time, so that people are not held against it.')}"
    told = (
        _("People did not come to the arms as the percentage says: look for a fault before trusting any figure.")
        if srm["alarm"]
        else _("People came to the arms as the percentage says.")
    )
    return f"{share} {told}"


def _saving_rows(document: Document) -> list[tuple[str, str]]:
    return [
        (_("Saved since the beginning"), text.usd(document["savedSinceBeginningUsd"])),
        (_("This time with everyone on the candidate (projected)"), text.usd(document["projectedUsd"])),
    ]


def _week_rows(document: Document) -> list[text.Row]:
    titles: Mapping[str, tuple[str, Callable[[float], str]]] = {
        "errorPercent": (_("Errors, points of 100 requests"), lambda value: f"{value:+.2f}"),
        "ttftMeanMs": (_("Time to first token, mean ms"), lambda value: f"{value:+.0f}"),
        "latencyMeanMs": (_("Whole answer, mean ms"), lambda value: f"{value:+.0f}"),
        "costPerThousandUsd": (_("Cost of a thousand requests, USD"), lambda value: f"{value:+.4f}"),
        "ratingMean": (_("Rating, stars"), lambda value: f"{value:+.2f}"),
    }
    arms = document.get("weekOverWeek")
    if arms is None:
        return []

    def written(arm: str, name: str, write: Callable[[float], str]) -> str:
        change = arms[arm][name]
        if change is None:
            return _("too few days")
        return _("%(difference)s (%(low)s to %(high)s)") % {key: write(value) for key, value in change.items()}

    return [
        (title, written("candidate", name, write), written("baseline", name, write))
        for name, (title, write) in titles.items()
    ]


def _counted(document: Document, key: str, word: Callable[[str], str] = str) -> list[text.Row]:
    """Counts by name, the most frequent first."""
    candidate, baseline = (document["arms"][arm][key] for arm in ("candidate", "baseline"))
    names = sorted({*candidate, *baseline}, key=lambda name: (-candidate.get(name, 0) - baseline.get(name, 0), name))
    return [(word(name), f"{candidate.get(name, 0):,}", f"{baseline.get(name, 0):,}") for name in names]


def _token_rows(document: Document) -> list[text.Row]:
    arms = document["arms"]
    return [
        (title, f"{arms['candidate'][key]:,}", f"{arms['baseline'][key]:,}")
        for title, key in ((_("In"), "inputTokens"), (_("Out"), "outputTokens"))
        if arms["candidate"][key] or arms["baseline"][key]
    ]


def _rating_rows(document: Document) -> list[text.Row]:
    arms = document["arms"]
    if not (arms["candidate"]["ratings"] or arms["baseline"]["ratings"]):
        return []
    count = (_("Ratings"), f"{arms['candidate']['ratings']:,}", f"{arms['baseline']['ratings']:,}")
    return [count, *tables.rating_rows(document), *tables.rating_reason_rows(document)]


def _series_rows(document: Document) -> list[Sequence[str]]:
    return [
        (
            _label(point["start"], document),
            *(f"{point[arm]['requests']:,}" for arm in ("candidate", "baseline")),
            *(text.percent(point[arm]["errorPercent"]) for arm in ("candidate", "baseline")),
            *(text.milliseconds(point[arm]["ttftP50Ms"]) for arm in ("candidate", "baseline")),
            text.usd(point["candidate"]["savedUsd"]),
        )
        for point in document["series"]
        if point["candidate"]["requests"] or point["baseline"]["requests"]
    ]


def _change_rows(document: Document) -> list[Sequence[str]]:
    return [
        (_moment(change["at"], document), change["who"], "; ".join(change["what"]), change["why"] or "–")
        for change in document["changes"]
    ]


def _label(moment: str, document: Document) -> str:
    local = datetime.fromisoformat(moment).astimezone(ZoneInfo(document["timeZone"]))
    if document["kind"] == Report.Kind.WEEKLY:
        return formats.date_format(local, "D j M")
    return formats.date_format(local, "H:i")


def _moment(moment: str, document: Document) -> str:
    """To the minute, in the report's time zone."""
    local = datetime.fromisoformat(moment).astimezone(ZoneInfo(document["timeZone"]))
    return formats.date_format(local, "DATETIME_FORMAT")
