"""Daily and weekly reports: what a stretch of local days came to, frozen once built. Part of rollout's services.

A report is read from the roll-ups, so a busy day costs what a quiet one does; only its people are counted from the
calls. Is told the time; days are cut in ``TIME_ZONE``, with 23 or 25 hours where clocks change.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction

from metrics import reading
from metrics.health import Health
from metrics.slices import day_bounds
from metrics.stats import log_srm_e_value
from rollout import words
from rollout.decisions import SRM_LIMIT
from rollout.models import Evaluation, Report, Rollout, RolloutChange
from rollout.report_weeks import week_over_week
from rollout.serializers import ArmSerializer

Kind = Report.Kind
# After this long, what ends late no longer changes a report by itself; building it again does.
SETTLED_AFTER = timedelta(hours=3)


def build_report(kind: str, rollout: str, first_day: date, *, now: datetime) -> Report:
    """Build the report of the day or week that begins on ``first_day``. Returns the newest version.

    The same figures as before make no new version; other ones do, and the version before stays. Safe to run at any
    time, and twice at once.
    """
    document = _document(kind, rollout, first_day)
    with transaction.atomic():
        # The rollout's row orders builders; a retired one has no row and no second builder either.
        Rollout.objects.select_for_update().filter(name=rollout).first()
        last = Report.objects.filter(kind=kind, rollout=rollout, first_day=first_day, is_newest=True).first()
        if last is not None and last.document == document:
            return last
        Report.objects.filter(kind=kind, rollout=rollout, first_day=first_day).update(is_newest=False)
        return Report.objects.create(
            kind=kind,
            rollout=rollout,
            first_day=first_day,
            version=1 if last is None else last.version + 1,
            built_at=now,
            document=document,
        )


def build_due_reports(*, now: datetime) -> int:
    """Build every report that is due: periods that are over and have none, or ended within the last three hours.

    A worker that was off catches up here. Returns how many were built or looked at.
    """
    done = 0
    for rollout, created in Rollout.objects.order_by("name").values_list("name", "created"):
        for kind in Kind:
            for first_day in _due(kind, rollout, created, now):
                build_report(kind, rollout, first_day, now=now)
                done += 1
    return done


def period(kind: str, first_day: date) -> tuple[datetime, datetime]:
    """The report's beginning and end in UTC."""
    zone = ZoneInfo(settings.TIME_ZONE)
    last_day = first_day + timedelta(days=6 if kind == Kind.WEEKLY else 0)
    return day_bounds(first_day, zone)[0], day_bounds(last_day, zone)[1]


def monday(day: date) -> date:
    """The first day of its week."""
    return day - timedelta(days=day.weekday())


def _due(kind: Kind, rollout: str, created: datetime, now: datetime) -> Iterator[date]:
    step = timedelta(days=7 if kind == Kind.WEEKLY else 1)
    newest = Report.objects.filter(kind=kind, rollout=rollout).order_by("-first_day").first()
    day = created.astimezone(ZoneInfo(settings.TIME_ZONE)).date() if newest is None else newest.first_day
    day = monday(day) if kind == Kind.WEEKLY else day
    while (end := period(kind, day)[1]) <= now:
        if newest is None or day > newest.first_day or now - end < SETTLED_AFTER:
            yield day
        day += step


def _document(kind: str, rollout: str, first_day: date) -> dict[str, Any]:
    since, until = period(kind, first_day)
    changes = list(_changes(rollout, since, until))
    document = {
        "kind": kind,
        "rollout": rollout,
        "firstDay": first_day.isoformat(),
        "since": since.isoformat(),
        "until": until.isoformat(),
        "timeZone": settings.TIME_ZONE,
        **_figures(reading.health(rollout=rollout, since=since, until=until), changes),
        "savedSinceBeginningUsd": _known(reading.total(rollout=rollout, until=until).saved_usd),
        "changes": [_change(change) for change in changes],
        "decision": _decision(rollout, until),
    }
    if kind == Kind.WEEKLY:
        document["weekOverWeek"] = week_over_week(rollout, first_day)
    return document


def _figures(health: Health, changes: Sequence[RolloutChange]) -> dict[str, Any]:
    candidate, baseline, requests = health.candidate, health.baseline, health.requests
    return {
        "arms": {"candidate": ArmSerializer(candidate).data, "baseline": ArmSerializer(baseline).data},
        "split": {
            "expectedPercentage": float(100 * health.expected_candidate / requests) if requests else None,
            "actualPercentage": 100 * candidate.requests / requests if requests else None,
            "expectedRequests": float(health.expected_candidate),
            "actualRequests": candidate.requests,
            "srm": None if any(_moves_people(change) for change in changes) else _srm(health),
        },
        "projectedUsd": _known(
            None
            if candidate.saved_usd is None or not candidate.requests
            else candidate.saved_usd * requests / candidate.requests
        ),
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


def _changes(rollout: str, since: datetime, until: datetime) -> Iterator[RolloutChange]:
    changes = RolloutChange.objects.filter(rollout=rollout, changed_at__gte=since, changed_at__lt=until)
    yield from changes.order_by("changed_at", "id")


def _change(change: RolloutChange) -> dict[str, Any]:
    return {
        "at": change.changed_at.isoformat(),
        "who": change.actor,
        "source": change.source,
        "why": change.why,
        "what": [f"{label}: {old} → {new}" for label, old, new in words.change_in_words(change.changes)],
    }


def _decision(rollout: str, until: datetime) -> dict[str, Any] | None:
    """As it stood when the period ended; ``None`` before the first."""
    last = Evaluation.objects.filter(rollout=rollout, first_at__lt=until).first()
    return None if last is None else {"verdict": last.verdict, "since": last.first_at.isoformat()}
