"""Parts of the status document as rows for a page: label and figures in words. Knows words, asks nobody for figures."""

from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext as _

from metrics.words import RATING_REASONS
from rollout.text import Document, Row, milliseconds, percent, usd


def series_figures() -> list[tuple[str, str, Callable[[Any], str]]]:
    """What is drawn of a series of spans (see ``rollout.report_series``): title, key, and how a value is written."""
    return [
        (_("Requests"), "requests", "{:,}".format),
        (_("Errors"), "errorPercent", percent),
        (_("First token, p50"), "ttftP50Ms", milliseconds),
        (_("First token, p95"), "ttftP95Ms", milliseconds),
    ]


def percentile_rows(document: Document) -> list[Row]:
    """Time to first token and whole answer at p50, p95 and p99: label, the candidate's, the baseline's."""
    arms = document["arms"]
    titles = {"ttft": _("Time to first token"), "latency": _("Whole answer")}
    return [
        (
            f"{titles[measure]}, p{share}",
            milliseconds(arms["candidate"][f"{measure}P{share}Ms"]),
            milliseconds(arms["baseline"][f"{measure}P{share}Ms"]),
        )
        for measure in titles
        for share in (50, 95, 99)
    ]


def share_rows(document: Document) -> list[tuple[str, str, str, str, str]]:
    """What each open rollout of the baseline gets: name, percentage, its candidate's and its controls' share of all
    people, expected split. Nothing while there is one alone.
    """
    shares = document["shares"] if len(document["shares"]) > 1 else []
    keys = ("percentage", "candidatePercentage", "controlPercentage", "splitPercentage")
    return [(share["rollout"], *(percent(share[key]) for key in keys)) for share in shares]


def rating_rows(document: Document) -> list[Row]:
    """How many ratings of each number of stars: label, the candidate's, the baseline's."""
    candidate, baseline = (document["arms"][arm]["ratingsByStar"] for arm in ("candidate", "baseline"))
    return [
        ("★" * stars, f"{candidate.get(str(stars), 0):,}", f"{baseline.get(str(stars), 0):,}")
        for stars in range(5, 0, -1)
    ]


def rating_reason_rows(document: Document) -> list[Row]:
    """Why bad ratings were given, of the reasons that were: label, the candidate's number, the baseline's.

    Reports that were frozen before people could give reasons have none.
    """
    candidate, baseline = (document["arms"][arm].get("ratingReasons", {}) for arm in ("candidate", "baseline"))
    return [
        (str(label), f"{candidate.get(reason, 0):,}", f"{baseline.get(reason, 0):,}")
        for reason, label in RATING_REASONS.items()
        if reason in candidate or reason in baseline
    ]


def saving_rows(document: Document) -> list[tuple[str, str]]:
    """What is saved beyond the time shown: label and amount."""
    savings = document["savings"]
    return [
        (_("Saved since the beginning"), usd(savings["totalUsd"])),
        (_("This time with everyone on the candidate (projected)"), usd(savings["projectedUsd"])),
    ]
