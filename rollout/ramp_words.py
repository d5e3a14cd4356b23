"""A ramp in words that staff understand: its states, verbs, steps and news. Knows the codes and the translations."""

from django.utils.translation import gettext as _


def ramp_state(code: str) -> str:
    """Where a ramp is, inside a sentence."""
    return {
        "pending": _("not started"),
        "running": _("running"),
        "paused": _("paused"),
        "completed": _("completed"),
        "rolled_back": _("rolled back"),
    }[code]


def verb_refused(*, why: str, verb: str, state: str) -> str:
    """Why a verb does not fit, in a sentence that names the state. ``why`` and ``verb`` are ``rollout.ramp``'s."""
    text = {
        "state": _("A ramp that is %(state)s can't be %(done)s."),
        "no_stages": _("The ramp has no stages. It is %(state)s."),
        "last_stage": _("The ramp is in its last stage; complete it instead. It is %(state)s."),
        "not_last_stage": _("The ramp has stages left; it is completed in its last one. It is %(state)s."),
        "needs_approval": _("The next stage needs approval first. The ramp is %(state)s."),
        "nothing_to_approve": _("Nothing waits for approval. The ramp is %(state)s."),
        "forced": _("The candidate is forced for everyone; end that first. The ramp is %(state)s."),
    }[why]
    done = {
        "start": _("started"),
        "pause": _("paused"),
        "resume": _("resumed"),
        "advance": _("advanced"),
        "approve": _("approved"),
        "roll_back": _("rolled back"),
        "complete": _("completed"),
        "restart": _("restarted"),
    }[verb]
    return text % {"state": ramp_state(state), "done": done}


def step(code: str, *, here: str = "", following: str = "", have: int = 0, need: int = 0, earliest: str = "") -> str:
    """The autopilot's answer in a sentence; where the decision is why, its reason goes after it.

    ``code`` is ``rollout.autopilot``'s; percentages and moment are in words. ``have`` of ``need`` are the requests or
    people that an arm has, where they are too few.
    """
    return {
        "off": _("The rollout is off; a person starts it."),
        "harm": _("Turn back."),
        "completed": _("The ramp is completed. Harm is still looked for."),
        "paused": _("The ramp is paused; a person resumes it. Harm is still looked for."),
        "forced": _("The candidate is forced for everyone; a person ends that. Harm is still looked for."),
        "off_ramp": _("The percentage is above the ramp's last stage; a person decides."),
        "srm": _("Hold until the fault is found."),
        "no_traffic": _("There was no request for 24 hours: hold."),
        "sample": _("This stage has had %(have)s of %(need)s requests in each arm."),
        "people": _("This stage has had %(have)s of %(need)s people in each arm."),
        "time": _("This stage lasts until %(earliest)s at least."),
        "worse": _("Hold."),
        "undecided": _("Not everything is proven yet."),
        "finished": _("Every criterion is met in the last stage: the ramp is completed."),
        "approval": _("Every criterion is met; %(following)s waits for approval."),
        "ready": _("Every criterion is met: go on from %(here)s to %(following)s."),
        "failed": _("The autopilot could not look at this rollout. Nothing was changed; see the log."),
    }[code] % {
        "here": here,
        "following": following,
        "have": f"{have:,}",
        "need": f"{need:,}",
        "earliest": earliest,
    }


def notice(event: str) -> str:
    """A notice's subject, with places for ``rollout`` and ``percent``; ``event`` is ``rollout.notices``'s."""
    return {
        "rolled_back": _("%(rollout)s was rolled back at %(percent)s"),
        "advanced": _("%(rollout)s goes on to %(percent)s"),
        "completed": _("%(rollout)s is completed at %(percent)s"),
        "held": _("%(rollout)s is held at %(percent)s"),
        "approval": _("%(rollout)s waits for approval at %(percent)s"),
        "proposed": _("%(rollout)s at %(percent)s: a step is proposed"),
        "autopilot_failed": _("The autopilot could not look at %(rollout)s"),
    }[event]


def verb(code: str) -> str:
    """A verb of the ramp, as a button says it."""
    return {
        "start": _("Start"),
        "pause": _("Pause"),
        "resume": _("Resume"),
        "advance": _("Go on to the next stage"),
        "approve": _("Approve the next stage"),
        "roll_back": _("Roll back"),
        "complete": _("Complete"),
        "restart": _("Restart from the first stage"),
    }[code]
