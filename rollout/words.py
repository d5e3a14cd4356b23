"""A decision in words that product staff understand. Knows the codes and the translations, no storage."""

from collections.abc import Iterable

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from rollout.decisions import Criterion, Decision, Shortfall


def recommendation(decision: Decision) -> str:
    """What to do next, in one sentence."""
    return {
        "GO": _("Go on: raise the percentage to the next stage."),
        "HOLD": _("Hold: stay at this percentage until every criterion is met."),
        "ROLLBACK": _("Roll back: disable the rollout and look into the candidate's errors."),
        "NOT_ENOUGH_DATA": _("Wait: there is not enough data yet."),
    }[decision.verdict]


def reason(decision: Decision) -> str:
    """Why, in one short sentence for each criterion or missing piece."""
    if decision.verdict == "NOT_ENOUGH_DATA":
        return " ".join(_shortfall(item) for item in decision.missing)
    return " ".join(_criteria(decision.criteria))


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
