"""A decision in words that product staff understand. Knows the codes and the translations, no storage."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from rollout.decisions import Criterion, Decision, Shortfall


def recommendation(decision: Decision, *, is_on: bool, next_percent: Decimal | None) -> str:
    """What to do next, in one sentence. ``next_percent`` is the ramp's next stage, ``None`` at its end."""
    if not is_on:
        return _("The rollout is off: enable it to gather figures.")
    if decision.verdict == "GO" and next_percent is None:
        return _("Every criterion is met, and the ramp is at its end.")
    return {
        "GO": _("Go on: raise the percentage to %(percent)s."),
        "HOLD": _("Hold: stay at this percentage until every criterion is met."),
        "ROLLBACK": _("Roll back: disable the rollout and look into the candidate's errors."),
        "NOT_ENOUGH_DATA": _("Wait: there is not enough data yet."),
    }[decision.verdict] % {"percent": "" if next_percent is None else percentage(next_percent)}


def reason(decision: Decision) -> str:
    """Why, in one short sentence for each criterion or missing piece."""
    if decision.verdict == "NOT_ENOUGH_DATA":
        return " ".join(_shortfall(item) for item in decision.missing)
    return " ".join(_criteria(decision.criteria))


def state(everyone: bool | None) -> str:
    """waffle's tri-state as staff know it."""
    return {None: _("On, by percentage"), True: _("Forced for everyone"), False: _("Off")}[everyone]


def change_in_words(changes: Mapping[str, Sequence[Any]]) -> list[tuple[str, str, str]]:
    """A line of the history, ``{"field": [old, new]}``, as label, old and new."""
    labels = {
        "enabled": _("Enabled"),
        "forced": _("Forced for everyone"),
        "percent": _("Percentage"),
        "superusers": _("Superusers test"),
        "staff": _("Staff test"),
        "languages": _("Languages that test"),
        "note": _("Note"),
        "latency_target_ms": _("Latency target (ms)"),
        "min_cost_reduction": _("Minimum cost reduction (%)"),
        "max_error_increase": _("Maximum error increase (points)"),
        "min_sample": _("Minimum sample"),
        "users": _("People who test"),
        "groups": _("Groups that test"),
        "stages": _("Ramp"),
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
    if field == "percent":
        return percentage(value)
    if field == "stages":
        value = [
            _("%(percent)s (%(days)d days, %(n)d requests)") % {"percent": percentage(percent), "days": days, "n": n}
            for percent, days, n in value
        ]
    return ", ".join(value) if isinstance(value, list) else str(value)


def percentage(value: Decimal | str) -> str:
    """A share as people write it: ``5 %``, ``12.5 %``."""
    return f"{Decimal(value).normalize():f} %"


def _shortfall(item: Shortfall) -> str:
    more = item.need - item.have
    if item.what == "candidate_requests":
        text = ngettext(
            "The candidate needs %(more)d more request (%(have)d of %(need)d).",
            "The candidate needs %(more)d more requests (%(have)d of %(need)d).",
            more,
        )
    elif item.what == "baseline_requests":
        text = ngettext(
            "The baseline needs %(more)d more request (%(have)d of %(need)d).",
            "The baseline needs %(more)d more requests (%(have)d of %(need)d).",
            more,
        )
    else:
        text = {
            "candidate_latency": _("No latency is known for the candidate."),
            "baseline_latency": _("No latency is known for the baseline."),
            "candidate_cost": _("No cost is known for the candidate: set its price in MODEL_PRICES."),
        }[item.what]
    return text % {"more": more, "have": item.have, "need": item.need}


def _criteria(criteria: Iterable[Criterion]) -> list[str]:
    return [criterion_in_words(criterion) for criterion in criteria]


def criterion_in_words(criterion: Criterion) -> str:
    """One criterion's result in a sentence, with its value and target."""
    values = {"value": criterion.value, "target": criterion.target}
    if criterion.name == "latency":
        if criterion.value is None:
            return _("Latency is not known.")
        if criterion.passed:
            return _("Latency is kept: %(value).0f ms to the first token, target %(target).0f ms.") % values
        return _("Latency is worse: %(value).0f ms to the first token, target %(target).0f ms.") % values
    if criterion.name == "cost":
        if criterion.value is None:
            return _("Cost is not known.")
        if criterion.passed:
            return _("Cost is down %(value).1f %%, at least %(target).1f %% are wanted.") % values
        return _("Cost is down only %(value).1f %%, at least %(target).1f %% are wanted.") % values
    if criterion.value is None:
        return _("Errors are not known.")
    if criterion.passed:
        return _("Errors are inside the margin: %(value)+.1f points, at most %(target).1f.") % values
    return _("Errors are outside the margin: %(value)+.1f points, at most %(target).1f.") % values
