"""Notices of what happens to a rollout: kept for each of its targets, and sent by ``deliveries``. Part of services.

Whatever goes wrong here is logged and holds nobody up: a rollback does not wait for its news.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, Literal, ParamSpec

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from rollout import ramp_words, words
from rollout.deliveries import Target, post
from rollout.models import NoticeTarget, RampMode, Rollout, Verdict

logger = logging.getLogger(__name__)

Event = Literal[
    "rolled_back", "advanced", "completed", "held", "approval", "proposed", "decision", "autopilot_failed", "test"
]

_P = ParamSpec("_P")


def _holds_nobody_up(keep: Callable[Concatenate[Rollout, _P], int]) -> Callable[Concatenate[Rollout, _P], int]:
    """Whatever fails within is undone and logged alone; the transaction around it stays whole."""

    @wraps(keep)
    def kept(rollout: Rollout, /, *args: _P.args, **kwargs: _P.kwargs) -> int:
        try:
            with transaction.atomic():
                return keep(rollout, *args, **kwargs)
        except Exception:
            logger.exception("A notice could not be kept", extra={"rollout": rollout.name})
            return 0

    return kept


@_holds_nobody_up
def notify(
    rollout: Rollout, event: Event, *, subject: str, text: str, facts: Mapping[str, Any], key: str, now: datetime
) -> int:
    """Keep a notice for each target of the rollout that is on. Returns for how many.

    ``facts`` are JSON values. The same ``key`` is the same notice: a target gets it once. Never raises.
    """
    return post(
        rollout=rollout.name,
        event=event,
        key=key,
        targets=[
            Target(target.channel, str(target), target.pk)
            for target in NoticeTarget.objects.filter(rollout=rollout, is_on=True)
        ],
        write=lambda: {"subject": subject, "text": _with_link(rollout, text), "facts": dict(facts)},
        now=now,
    )


def notify_test(target: NoticeTarget, *, actor: str, now: datetime) -> int:
    """Keep a test notice for one target, also one that is off is told so. Returns 1."""
    with translation.override(settings.LANGUAGE_CODE):
        message = {
            "subject": _("Test notice of %(rollout)s") % {"rollout": target.rollout.name},
            "text": _("%(who)s asked for this test. Notices arrive here.") % {"who": actor},
            "facts": {"target": target.pk},
        }
    return post(
        rollout=target.rollout.name,
        event="test",
        key=f"test:{target.pk}:{now.isoformat()}",
        targets=[Target(target.channel, str(target), target.pk)],
        write=lambda: message,
        now=now,
    )


@_holds_nobody_up
def notify_decision(
    rollout: Rollout, *, number: int, before: str, reason: str, figures: Mapping[str, Any], now: datetime
) -> int:
    """Another decision was reached; ``number`` tells it from all others, ``before`` is "" for the first.

    ``figures``: the verdict and each criterion's, as ``rollout.evaluation.figures_of`` has them.
    """
    with translation.override(settings.LANGUAGE_CODE):
        subject = _("%(rollout)s: the decision is now %(verdict)s") % {
            "rollout": rollout.name,
            "verdict": Verdict(figures["verdict"]).label,
        }
    facts = {
        "before": before or None,
        "reason": reason,
        "percent": f"{rollout.percent:.2f}",
        **figures,
    }
    return notify(rollout, "decision", subject=subject, text=reason, facts=facts, key=f"decision:{number}", now=now)


@_holds_nobody_up
def notify_step(
    rollout: Rollout,
    event: Event,
    *,
    key: str,
    action: str,
    code: str,
    reason: str,
    figures: Mapping[str, Any],
    now: datetime,
) -> int:
    """The autopilot did something, or waits for somebody. Of a manual ramp only failures are told: nobody asked it.

    ``figures`` as for a decision; empty where none was reached.
    """
    if rollout.ramp_mode == RampMode.MANUAL and event != "autopilot_failed":
        return 0
    with translation.override(settings.LANGUAGE_CODE):
        subject = ramp_words.notice(event) % {"rollout": rollout.name, "percent": words.percentage(rollout.percent)}
    facts = {
        "action": action,
        "code": code,
        "reason": reason,
        "mode": rollout.ramp_mode,
        "percent": f"{rollout.percent:.2f}",
        "state": rollout.ramp_state,
        **figures,
    }
    return notify(rollout, event, subject=subject, text=reason, facts=facts, key=key, now=now)


def _with_link(rollout: Rollout, text: str) -> str:
    if not settings.SITE_URL:
        return text
    return f"{text}\n{settings.SITE_URL}{reverse('admin:rollout_rollout_ramp', args=[rollout.pk])}"
