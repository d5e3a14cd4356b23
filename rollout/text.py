"""A status as text for a terminal, a mail or a log: the command line's and the API's one renderer.

Knows the status document (see ``rollout.serializers``) and Django's terminal styles; asks nobody for figures.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.core.management.color import no_style
from django.utils.translation import gettext as _

from metrics.failures import outcome_in_words
from rollout import words
from rollout.models import Verdict
from rollout.routing import Explanation
from rollout.status import Status
from rollout.words import percentage, reason_in_words

Document = Mapping[str, Any]
Row = tuple[str, str, str]

# Colours of the decision: names of Django's terminal styles.
_VERDICT_STYLES = {"GO": "SUCCESS", "ROLLBACK": "ERROR"}


def percent(value: float | None) -> str:
    """``12.34 %``; a dash where it is not known."""
    return "–" if value is None else f"{value:.2f}".rstrip("0").rstrip(".") + " %"


def milliseconds(value: float | None) -> str:
    """``123 ms``."""
    return "–" if value is None else f"{value:.0f} ms"


def usd(value: float | None) -> str:
    """``$1,234.50``, and cents with all the digits that small sums need."""
    if value is None:
        return "–"
    sign, size = "-" if value < 0 else "", abs(value)
    return f"{sign}${size:,.2f}" if size >= 1 or not size else f"{sign}${size:.6f}"


def rating(value: float | None) -> str:
    """``4.25 of 5``."""
    return "–" if value is None else _("%(value).2f of 5") % {"value": value}


def arm_rows(document: Document) -> list[Row]:
    """What to compare the arms by: label, the candidate's figure, the baseline's."""
    candidate, baseline = document["arms"]["candidate"], document["arms"]["baseline"]

    def row(label: str, key: str, write: Any = "{:,}".format) -> Row:
        return label, write(candidate[key]), write(baseline[key])

    return [
        row(_("Requests"), "requests"),
        row(_("People"), "people"),
        row(_("Errors"), "errorPercent", percent),
        row(_("Time to first token"), "ttftMeanMs", milliseconds),
        row(_("Whole answer"), "latencyMeanMs", milliseconds),
        row(_("Answered by the other model"), "fallbacks"),
        row(_("Rating"), "ratingMean", rating),
    ]


def cost_rows(document: Document) -> list[tuple[str, str]]:
    """What the candidate's requests cost, and what they saved: label and amount."""
    candidate, baseline = document["arms"]["candidate"], document["arms"]["baseline"]
    rows = [
        (_("Candidate's requests"), usd(candidate["costUsd"])),
        (_("The same at the baseline's price"), usd(candidate["baselineCostUsd"])),
        (_("Saved"), f"{usd(candidate['savedUsd'])} ({percent(candidate['savedPercent'])})"),
        (_("Baseline's requests"), usd(baseline["costUsd"])),
    ]
    unknown = candidate["costUnknown"] + baseline["costUnknown"]
    return [*rows, (_("Calls of unknown cost"), f"{unknown:,}")] if unknown else rows


def split_in_words(document: Document) -> str:
    """The candidate's share of requests, as it should be and as it is."""
    split = document["split"]
    return _("%(actual)s of requests (%(n)d), %(expected)s expected") % {
        "actual": percent(split["actualPercentage"]),
        "n": split["actualRequests"],
        "expected": percent(split["expectedPercentage"]),
    }


def status(document: Document, style: Any = None) -> str:
    """The five sections of ``rollout status``."""
    style = style or no_style()
    return page(
        style,
        (_("ROLLOUT CONFIGURATION"), _configuration(document)),
        (_("PERFORMANCE METRICS (%(hours)dh)") % {"hours": document["timeWindowHours"]}, _performance(document)),
        (_("COST ANALYSIS"), columns(cost_rows(document))),
        (_("SUCCESS CRITERIA"), _criteria(document, style)),
        (_("RECOMMENDATION"), _recommendation(document, style)),
    )


def report(document: Document, trend: Iterable[str], style: Any = None) -> str:
    """``status`` with its head, its ``trend`` (see ``rollout.report_text``), and with everything that was counted."""
    head = _("Rollout %(rollout)s: %(baseline)s → %(candidate)s, %(since)s to %(until)s") % {
        "rollout": document["rollout"],
        "baseline": document["baseline"],
        "candidate": document["candidate"],
        "since": _minute(document["since"]),
        "until": _minute(document["until"]),
    }
    counted = page(
        style or no_style(),
        (_("TREND"), trend),
        (_("OUTCOMES"), _outcomes(document)),
        (_("REQUESTS THAT DECIDE NOTHING"), _others(document)),
    )
    return f"{head}\n\n{status(document, style)}\n{counted}"


def standing(current: Status) -> str:
    """The rollout's state in a sentence, with whom it affects."""
    rollout = current.rollout
    values = {"rollout": rollout.name, "percent": percentage(rollout.percent), "affected": current.affected}
    return {
        None: _("%(rollout)s is at %(percent)s: %(affected)s get the candidate."),
        True: _("%(rollout)s is forced: %(affected)s get the candidate."),
        False: _("%(rollout)s is off: %(affected)s get the candidate."),
    }[rollout.everyone] % values


def _minute(moment: str) -> str:
    """An ISO moment in UTC, to the minute."""
    return f"{moment[:10]} {moment[11:16]} UTC"


def page(style: Any, *sections: tuple[str, Iterable[str]]) -> str:
    """Sections one below the other, each with its heading."""
    return "\n".join(
        "\n".join([style.MIGRATE_HEADING(heading), *(f"  {line}".rstrip() for line in lines), ""])
        for heading, lines in sections
    )


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns side by side: the first to the left, the rest to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return [
        "   ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _configuration(document: Document) -> list[str]:
    config = document["rolloutConfig"]
    rows = (
        (_("Rollout"), document["rollout"]),
        (_("Enabled"), _("yes") if config["enabled"] else _("no")),
        (_("Traffic"), percent(config["trafficPercentage"])),
        (_("Forced"), config["forceModel"] or _("no")),
        (_("Affected"), config["estimatedUsersAffected"]),
    )
    return labelled([*rows, *_expected_split(document)])


def _expected_split(document: Document) -> list[tuple[str, str]]:
    """Where other rollouts of the baseline make it differ from the percentage."""
    if len(document["shares"]) < 2:
        return []
    return [
        (
            _("Expected split"),
            _("%(split)s of its people, beside %(others)s")
            % {
                "split": percent(share["splitPercentage"]),
                "others": ", ".join(
                    other["rollout"] for other in document["shares"] if other["rollout"] != document["rollout"]
                ),
            },
        )
        for share in document["shares"]
        if share["rollout"] == document["rollout"]
    ]


def explanation(found: Explanation) -> str:
    """Which arm a unit would get in a rollout, and why."""
    return "\n".join(
        labelled(
            [
                (_("Unit"), found.unit),
                (_("Arm"), words.arm(found.arm)),
                (_("Model"), found.model),
                (_("Why"), f"{found.reason_in_words} ({found.reason})"),
                (_("Bucket"), f"{found.bucket:.4f}"),
                (_("Percentage"), percentage(found.percent)),
                (_("Counts for"), found.rollout),
            ]
        )
    )


def labelled(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Labels and what they say, all of it to the left."""
    width = max(len(label) for label, _value in rows)
    return [f"{label.ljust(width)}   {value}" for label, value in rows]


def _performance(document: Document) -> list[str]:
    if not document["metrics"]["totalRequests"]:
        return [_("No requests yet.")]
    improvement = document["metrics"]["averageLatency"]["improvement"]
    lines = columns([("", document["candidate"], document["baseline"]), *arm_rows(document)])
    if improvement is not None:
        faster = _("%(percent)s faster") if improvement >= 0 else _("%(percent)s slower")
        lines.append(_("The candidate is %(how)s.") % {"how": faster % {"percent": percent(abs(improvement))}})
    return [*lines, _("Candidate's share: %(split)s.") % {"split": split_in_words(document)}]


def _criteria(document: Document, style: Any) -> list[str]:
    paint = {"inside": style.SUCCESS, "harm": style.ERROR}
    return [paint.get(criterion["state"], style.WARNING)(criterion["words"]) for criterion in document["criteria"]]


def _recommendation(document: Document, style: Any) -> list[str]:
    verdict = document["decision"]
    paint = getattr(style, _VERDICT_STYLES.get(verdict, "WARNING"))
    lines = [paint(str(Verdict(verdict).label)), document["evaluation"]["recommendation"]]
    return [*lines, document["reason"]]


def _outcomes(document: Document) -> list[str]:
    candidate, baseline = (document["arms"][arm]["outcomes"] for arm in ("candidate", "baseline"))
    rows = [
        (outcome_in_words(outcome), f"{candidate.get(outcome, 0):,}", f"{baseline.get(outcome, 0):,}")
        for outcome in sorted({*candidate, *baseline})
    ]
    return columns([("", document["candidate"], document["baseline"]), *rows]) if rows else [_("None.")]


def other_rows(document: Document) -> list[tuple[str, str]]:
    """Requests that decide nothing: why they went where they went, and how many."""
    return [(reason_in_words(reason), f"{count:,}") for reason, count in document["otherRequests"].items()]


def _others(document: Document) -> list[str]:
    return columns(other_rows(document)) or [_("None.")]
