"""What a day or week of a rollout came to, as one JSON document. Part of rollout's services.

Read from the roll-ups, so a busy day costs what a quiet one does; only its people are counted from the calls. Names
and units are the status document's.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings

from metrics import reading
from metrics.health import Health
from metrics.replica import from_replica
from metrics.slices import day_bounds
from metrics.stats import log_srm_e_value
from rollout import words
from rollout.decisions import SRM_LIMIT
from rollout.models import Evaluation, Report, RolloutChange
from rollout.report_series import days_of, hours_of, series_of, week_over_week
from rollout.serializers import ArmSerializer

Document = dict[str, Any]


def period(kind: str, first_day: date) -> tuple[datetime, datetime]:
    """The report's beginning and end in UTC."""
    zone = ZoneInfo(settings.TIME_ZONE)
    last_day = first_day + timedelta(days=6 if kind == Report.Kind.WEEKLY else 0)
    return day_bounds(first_day, zone)[0], day_bounds(last_day, zone)[1]


@from_replica
def document_of(kind: str, rollout: str, first_day: date, *, earlier: Mapping[str, Any] | None) -> Document:
    """The figures of the day or week that begins on ``first_day``; ``earlier`` is the version before, if any."""
    since, until = bounds = period(kind, first_day)
    is_week = kind == Report.Kind.WEEKLY
    changes = list(
        RolloutChange.objects.filter(rollout=rollout, changed_at__gte=since, changed_at__lt=until).order_by(
            "changed_at", "id"
        )
    )
    return {
        "kind": kind,
        "rollout": rollout,
        "firstDay": first_day.isoformat(),
        "since": since.isoformat(),
        "until": until.isoformat(),
        "timeZone": settings.TIME_ZONE,
        **_figures(reading.health(rollout=rollout, since=since, until=until), changes),
        "savedSinceBeginningUsd": _known(reading.UpTo(rollout=rollout, until=until).saved_usd()),
        "changes": [_change(change) for change in changes],
        "decision": _decision(rollout, until, earlier),
        "series": series_of(rollout, days_of(first_day) if is_week else hours_of(bounds)),
        **({"weekOverWeek": week_over_week(rollout, first_day)} if is_week else {}),
    }


def _figures(health: Health, changes: Sequence[RolloutChange]) -> dict[str, Any]:
    candidate, baseline = health.candidate, health.baseline
    return {
        "arms": {"candidate": ArmSerializer(candidate).data, "baseline": ArmSerializer(baseline).data},
        "split": {
            "expectedPercentage": health.expected_percent,
            "actualPercentage": health.actual_percent,
            "expectedRequests": float(health.expected_candidate),
            "actualRequests": candidate.requests,
            "srm": None if any(_moves_people(change) for change in changes) else _srm(health),
        },
        "projectedUsd": _known(health.projected_savings_usd),
        "otherRequests": dict(health.other),
    }


def _moves_people(change: RolloutChange) -> bool:
    """Whether somebody may be in the other arm after it: then people can't be held against one percentage."""
    return not {"percent", "enabled", "forced", "salt"}.isdisjoint(change.changes)


def _srm(health: Health) -> dict[str, Any] | None:
    """Whether people came to the arms as the one percentage of this time says; null without people."""
    candidate, baseline = health.candidate.people or 0, health.baseline.people or 0
    if not candidate + baseline:
        return None
    evidence = log_srm_e_value(candidate, baseline, float(health.expected_candidate / health.requests))
    return {"logE": evidence, "alarm": evidence >= math.log(SRM_LIMIT)}


def _known(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)


def _change(change: RolloutChange) -> dict[str, Any]:
    return {
        "at": change.changed_at.isoformat(),
        "who": change.actor,
        "source": change.source,
        "why": change.why,
        "what": [f"{label}: {old} → {new}" for label, old, new in words.change_in_words(change.changes)],
    }


def _decision(rollout: str, until: datetime, earlier: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """As it stood when the period ended; ``None`` before the first.

    The reason goes on being renewed as long as a decision stands: another version of the report keeps the earlier one.
    """
    last = Evaluation.objects.filter(rollout=rollout, first_at__lt=until).first()
    if last is None:
        return None
    stood = {"verdict": last.verdict, "since": last.first_at.isoformat(), "percent": float(last.percent)}
    before = (earlier or {}).get("decision") or {}
    return {**stood, "reason": before["reason"] if stood.items() <= before.items() else last.reason}
