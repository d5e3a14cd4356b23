"""A decision in words that product staff understand. Knows the codes and the translations, no storage."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from rollout import ramp_words
from rollout.decisions import Criterion, Decision, Shortfall

# Translated where they are used: a page says a few of them, many times.
_TITLES = {
    "errors": gettext_noop("Errors"),
    "latency": gettext_noop("Latency"),
    "p95_latency": gettext_noop("Slowest answers (p95)"),
    "cost": gettext_noop("Cost"),
    "satisfaction": gettext_noop("Satisfaction"),
}
_STATES = {
    "inside": gettext_noop("Inside the margin"),
    "harm": gettext_noop("Outside the margin"),
    "unproven": gettext_noop("Not yet proven"),
    "not_measured": gettext_noop("Not measured yet"),
    "waived": gettext_noop("Left out"),
}
_MEASURES = {
    "errors": gettext_noop("Candidate minus baseline, in points of 100 requests"),
    "latency": gettext_noop("The candidate slower than the baseline by"),
    "p95_latency": gettext_noop("More of the candidate's requests beyond the baseline's p95"),
    "cost": gettext_noop("Saved, of the baseline's cost"),
    "satisfaction": gettext_noop("The candidate's rating below the baseline's by"),
}
_UNITS = {
    "points": gettext_noop("%(value)s points"),
    "percent": gettext_noop("%(value)s %%"),
    "stars": gettext_noop("%(value)s stars"),
}
_RESULTS = {
    "inside": gettext_noop("%(title)s: inside the margin%(figures)s."),
    "harm": gettext_noop("%(title)s: proven to be outside the margin%(figures)s."),
    "unproven": gettext_noop("%(title)s: not yet proven%(figures)s%(more)s."),
    "not_measured": gettext_noop("%(title)s: not measured yet."),
    "waived": gettext_noop("%(title)s: too few ratings, left out."),
}
_FIGURES = {
    "errors": gettext_noop(" (%(estimate)+.2f points, at most %(margin)+.2f)"),
    "latency": gettext_noop(" (%(estimate)+.1f %%, at most %(margin)+.1f %%)"),
    "p95_latency": gettext_noop(" (%(estimate)+.2f points of requests beyond the limit, at most %(margin).0f)"),
    "cost": gettext_noop(" (%(estimate).1f %% saved, at least %(margin).1f %%)"),
    "satisfaction": gettext_noop(" (%(estimate)+.2f stars below the baseline, at most %(margin)+.2f)"),
}


def recommendation(decision: Decision, *, is_on: bool, next_percent: Decimal | None) -> str:
    """What to do next, in one sentence. ``next_percent`` is the ramp's next stage, ``None`` at its end."""
    if not is_on:
        return _("The rollout is off: enable it to gather figures.")
    if decision.verdict == "GO" and next_percent is None:
        return _("Every criterion is met, and the ramp is at its end.")
    return {
        "GO": _("Go on: raise the percentage to %(percent)s."),
        "HOLD": _("Hold: stay at this percentage and look at what is worse."),
        "ROLLBACK": _("Roll back: disable the rollout and look into what is worse."),
        "NOT_ENOUGH_DATA": _("Wait: there is not enough data yet."),
    }[decision.verdict] % {"percent": "" if next_percent is None else percentage(next_percent)}


def reason(decision: Decision) -> str:
    """Why, in a few short sentences: what decided first, then each criterion or what is missing."""
    return " ".join([*_overall(decision), *map(_shortfall, decision.missing), *_criteria(decision)])


def _overall(decision: Decision) -> list[str]:
    said = []
    if decision.srm:
        said.append(
            _("People do not come to the arms as the percentage says: look for a fault before trusting any figure.")
        )
    if decision.harm:
        said.append(_("The candidate is proven to be worse than its margins allow."))
    if decision.signalled:
        said.append(_("A signal is proven to be outside its margin. Signals hold, and do not turn back."))
    elif decision.worse and not decision.harm:
        said.append(_("The candidate is proven to be worse than the baseline, though not beyond its margins."))
    if decision.slower_than_target:
        said.append(_("The candidate is slower than the latency target."))
    if decision.no_concurrent_baseline:
        said.append(_("Nobody gets the baseline at this percentage: there is nothing to compare with now."))
    if decision.window_inside is False:
        said.append(_("The newest requests are not inside every margin."))
    return said


def _criteria(decision: Decision) -> list[str]:
    if decision.missing and not decision.harm:
        return []
    return [criterion_in_words(criterion) for criterion in decision.criteria]


def criterion_title(name: str) -> str:
    """A criterion's name as staff know it."""
    return _(_TITLES[name])


def criterion_state(state: str) -> str:
    """How a criterion stands, as a label."""
    return _(_STATES[state])


def criterion_measure(name: str) -> str:
    """What a criterion's figures are, in a few words."""
    return _(_MEASURES[name])


def quantity(value: float | None, unit: str) -> str:
    """A criterion's figure with its unit: ``+0.31 points``; a dash where it is not known."""
    if value is None:
        return "–"
    return _(_UNITS[unit]) % {"value": bare_quantity(value, unit)}


def bare_quantity(value: float, unit: str) -> str:
    """The same without its unit."""
    return f"{value:+.1f}" if unit == "percent" else f"{value:+.2f}"


def criterion_in_words(criterion: Criterion) -> str:
    """One criterion's result in a sentence, with its estimate and margin."""
    text = _(_RESULTS[criterion.state])
    said = text % {
        "title": criterion_title(criterion.name),
        "figures": _figures(criterion),
        "more": _more(criterion),
    }
    return f"{said} {_('Watched only.')}" if criterion.watch_only else said


def _figures(criterion: Criterion) -> str:
    if criterion.estimate is None:
        return ""
    text = _(_FIGURES[criterion.name])
    return text % {"estimate": criterion.estimate, "margin": criterion.margin}


def _more(criterion: Criterion) -> str:
    if criterion.more_calls is None:
        return ""
    calls = ngettext(": about %(n)s more request", ": about %(n)s more requests", criterion.more_calls) % {
        "n": f"{_rounded(criterion.more_calls):,}"
    }
    return calls if criterion.days is None else f"{calls}, {_duration(criterion.days)}"


def _duration(days: float) -> str:
    if days < 1:
        hours = max(1, round(24 * days))
        return ngettext("%(n)d hour at today's traffic", "%(n)d hours at today's traffic", hours) % {"n": hours}
    whole = round(days)
    return ngettext("%(n)d day at today's traffic", "%(n)d days at today's traffic", whole) % {"n": whole}


def _rounded(n: int) -> int:
    """To two digits: more would be a promise."""
    return n if n < 100 else round(n, 2 - len(str(n)))


def reason_in_words(reason: str) -> str:
    """Why a request went where it went, for people."""
    return {
        "percentage": _("By percentage"),
        "everyone": _("Everyone gets the candidate"),
        "tester": _("Testers"),
        "manual": _("Asked for the candidate by name"),
        "disabled": _("The rollout was off"),
        "breaker_open": _("The model was failing or full"),
        "not_in_rollout": _("No rollout"),
    }.get(reason, reason)


def assignment_in_words(reason: str, *, arm: str, counts_for: str) -> str:
    """Why a unit would go where it goes; ``counts_for`` is the rollout that its request counts for."""
    if reason == "percentage":
        return {
            "candidate": _("The bucket lies below the percentage."),
            "baseline": _("The bucket does not lie below the percentage."),
        }[arm]
    return {
        "everyone": _("The rollout is forced: everyone gets the candidate."),
        "tester": _("This is one of the testers."),
        "disabled": _("The rollout is off."),
        "other_rollout": _("Another rollout, %(other)s, gives its candidate."),
        "other_control": _(
            "The bucket does not lie below the percentage; this is a control of another rollout, %(other)s."
        ),
    }[reason] % {"other": counts_for}


def arm(name: str) -> str:
    """An arm as staff know it; "" is another rollout's business."""
    return {"candidate": _("Candidate"), "baseline": _("Baseline"), "": _("Neither: another rollout's")}[name]


def state(everyone: bool | None) -> str:
    """waffle's tri-state as staff know it."""
    return {None: _("On, by percentage"), True: _("Forced for everyone"), False: _("Off")}[everyone]


def change_in_words(changes: Mapping[str, Sequence[Any]]) -> list[tuple[str, str, str]]:
    """A line of the history, ``{"field": [old, new]}``, as label, old and new."""
    labels = {
        "enabled": _("Enabled"),
        "forced": _("Forced for everyone"),
        "percent": _("Percentage"),
        "split": _("Expected split"),
        "priority": _("Priority"),
        "is_retired": _("Retired"),
        "superusers": _("Superusers test"),
        "staff": _("Staff test"),
        "languages": _("Languages that test"),
        "note": _("Note"),
        "latency_target_ms": _("Latency target (ms)"),
        "min_cost_reduction": _("Minimum cost reduction (%)"),
        "max_error_increase": _("Maximum error increase (points)"),
        "min_sample": _("Minimum sample"),
        "latency_measure": _("What latency is"),
        "latency_margin": _("Latency margin (%)"),
        "p95_measure": _("What p95 latency is"),
        "p95_margin": _("p95 latency margin (%)"),
        "satisfaction_margin": _("Satisfaction margin (points of 5)"),
        "cost_goal": _("Cost goal (%)"),
        "watch_only": _("Watch only"),
        "signals": _("Signals"),
        "ramp_mode": _("Ramp mode"),
        "ramp_state": _("Ramp"),
        "approved_percent": _("Approved next percentage"),
        "second_pair_above": _("Second person above (%)"),
        "users": _("People who test"),
        "groups": _("Groups that test"),
        "stages": _("Stages"),
        "salt": _("Everyone assigned anew"),
        "baseline": _("Baseline model"),
        "candidate": _("Candidate model"),
    }
    return [(labels.get(field, field), _value(field, old), _value(field, new)) for field, (old, new) in changes.items()]


def _value(field: str, value: Any) -> str:
    if value in (None, "", []):
        return "–"
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if field in ("percent", "split"):
        return percentage(value)
    if field == "ramp_state":
        return ramp_words.ramp_state(value)
    if field == "approved_percent":
        return percentage(value)
    if field == "stages":
        value = [_stage(*stage) for stage in value]
    return ", ".join(value) if isinstance(value, list) else str(value)


def _stage(percent: str, days: int, n: int, people: int = 0, needs_approval: bool = False) -> str:
    said = _("%(percent)s (%(days)d days, %(n)d requests, %(people)d people)") % {
        "percent": percentage(percent),
        "days": days,
        "n": n,
        "people": people,
    }
    return f"{said[:-1]}, {_('needs approval')})" if needs_approval else said


def percentage(value: Decimal | str) -> str:
    """A share as people write it: ``5 %``, ``12.5 %``."""
    return f"{Decimal(value).normalize():f} %"


def _shortfall(item: Shortfall) -> str:
    more = item.need - item.have
    text = {
        "candidate_requests": ngettext(
            "The candidate needs %(more)d more request (%(have)d of %(need)d%(days)s).",
            "The candidate needs %(more)d more requests (%(have)d of %(need)d%(days)s).",
            more,
        ),
        "baseline_requests": ngettext(
            "The baseline needs %(more)d more request (%(have)d of %(need)d%(days)s).",
            "The baseline needs %(more)d more requests (%(have)d of %(need)d%(days)s).",
            more,
        ),
        "candidate_people": ngettext(
            "The candidate needs %(more)d more person (%(have)d of %(need)d).",
            "The candidate needs %(more)d more people (%(have)d of %(need)d).",
            more,
        ),
        "baseline_people": ngettext(
            "The baseline needs %(more)d more person (%(have)d of %(need)d).",
            "The baseline needs %(more)d more people (%(have)d of %(need)d).",
            more,
        ),
    }[item.what]
    days = "" if item.days is None else f"; {_duration(item.days)}"
    return text % {"more": more, "have": item.have, "need": item.need, "days": days}
