"""The terms that staff meet, each explained in a sentence."""

from django.utils.translation import gettext as _


def glossary() -> list[tuple[str, str]]:
    """Each term that staff meet, with a sentence that explains it."""
    return [
        (_("Baseline"), _("The model that people get today.")),
        (_("Candidate"), _("The cheaper model that a rollout moves people to.")),
        (_("Arm"), _("The baseline's people or the candidate's; each person stays in one as long as the share stays.")),
        (_("Share"), _("The percentage of people, not of requests, who get the candidate.")),
        (_("Priority"), _("Among rollouts of one baseline, which is asked first; the next ones share the rest.")),
        (_("Control"), _("Somebody whom no rollout of the baseline takes: compared with one rollout's candidates.")),
        (_("Run"), _("From one start of the rollout to the next; only requests of the present run decide.")),
        (
            _("Stretch"),
            _("A time under one share; arms are compared only within a stretch, so a busy hour fools nobody."),
        ),
        (
            _("Window"),
            _("The newest requests alone, since the last 2,000 or the last change: shows harm that begins late."),
        ),
        (_("Estimate"), _("What the requests so far say about the difference between the arms.")),
        (_("Interval"), _("Where the true difference lies almost surely, however often one has looked.")),
        (_("Margin"), _("How much worse than the baseline the candidate may be.")),
        (_("Inside"), _("Proven to keep its margin: 20 times likelier so than not.")),
        (_("Not yet proven"), _("The estimate may be good, but too few people have been measured to be sure.")),
        (
            _("Errors"),
            _("Requests that failed, timed out, were refused or brought no text; a person's own stop is none."),
        ),
        (_("Latency"), _("The typical time to the first visible word, or to the last, as the rollout says.")),
        (
            _("Slowest answers (p95)"),
            _("How many of the candidate's requests are slower than nearly all of the baseline's."),
        ),
        (_("Saved"), _("What the same tokens would have cost at the baseline's price, minus what they cost.")),
        (_("Satisfaction"), _("The mean of people's ratings, from 1 to 5; left out below 30 ratings an arm.")),
        (
            _("Split"),
            _("How people came to the arms; if not as the share says, something is broken and nothing is decided."),
        ),
        (_("Guardrail"), _("A criterion that turns the rollout back when it is proven to be outside its margin.")),
        (_("Signal"), _("A criterion that only holds the rollout when it is proven to be outside its margin.")),
        (_("Watch only"), _("Measured and shown, and without a say.")),
        (_("Stage"), _("A step of the ramp: a share, and the days, requests and people it takes before the next.")),
        (_("Ramp"), _("The stages from a small share to everyone; manual, assisted, or automatic.")),
        (_("Autopilot"), _("Looks every minute: turns back at harm, holds, or goes on, as the ramp's mode lets it.")),
        (_("Approval"), _("A person's word that the next stage may begin; it counts for that stage alone.")),
        (_("Second person"), _("Who must agree to a share above the rollout's limit; never who proposed it.")),
        (_("Go"), _("Every criterion is proven to be inside its margin: raise the share.")),
        (_("Hold"), _("Stay at this share: the candidate is worse than the baseline, or the split is wrong.")),
        (_("Roll back"), _("The candidate is proven to be worse than its margins allow: turn it off.")),
        (_("Not enough data"), _("Wait: nothing is proven yet, in either direction.")),
    ]
