"""Daily and weekly reports: built when their days are over, and frozen. Part of rollout's services.

What a report says is ``report_document``'s. Is told the time; days are cut in ``TIME_ZONE``, with 23 or 25 hours where
clocks change.
"""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from rollout.models import Report, Rollout, live_rollouts
from rollout.report_document import document_of, period

Kind = Report.Kind
# After this long, what ends late no longer changes a report by itself; building it again does.
SETTLED_AFTER = timedelta(hours=3)


class ReportNotFound(ValueError):
    """No such report; the text says why."""


def build_report(kind: str, rollout: str, first_day: date, *, now: datetime) -> Report:
    """Build the report of the day or week that begins on ``first_day``. Returns the newest version.

    The same figures as before make no new version; other ones do, and the version before stays. Safe to run at any
    time, and twice at once.
    """
    versions = Report.objects.filter(kind=kind, rollout=rollout, first_day=first_day)
    earlier = versions.filter(is_newest=True).first()
    document = document_of(kind, rollout, first_day, earlier=None if earlier is None else earlier.document)
    with transaction.atomic():
        # The rollout's row orders builders; a retired one has no row and no second builder either.
        Rollout.objects.select_for_update().filter(name=rollout).first()
        last = versions.filter(is_newest=True).first()
        if last is not None and last.document == document:
            return last
        versions.update(is_newest=False)
        return Report.objects.create(
            kind=kind,
            rollout=rollout,
            first_day=first_day,
            version=1 if last is None else last.version + 1,
            built_at=now,
            document=document,
        )


def build_days(rollouts: Iterable[str], first: date, last: date, *, now: datetime) -> Iterator[Report]:
    """Build the reports of these days, both ends included, and of their weeks; those that are over by ``now``."""
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    starts = {Kind.DAILY: days, Kind.WEEKLY: list(dict.fromkeys(map(monday, days)))}
    for rollout in rollouts:
        for kind in Kind:
            for start in starts[kind]:
                if period(kind, start)[1] <= now:
                    yield build_report(kind, rollout, start, now=now)


def build_due_reports(*, now: datetime) -> int:
    """Build every report that is due: periods that are over and have none, or ended within the last three hours.

    A worker that was off catches up here. Returns how many were built or looked at.
    """
    done = 0
    for rollout, created in live_rollouts().order_by("name").values_list("name", "created"):
        for kind in Kind:
            for first_day in _due(kind, rollout, created, now):
                build_report(kind, rollout, first_day, now=now)
                done += 1
    return done


def find_report(kind: str, rollout: str, day: date, *, version: int | None = None) -> Report:
    """The report that has ``day`` in it, its newest version unless another is asked for. Raises ReportNotFound."""
    first_day = monday(day) if kind == Kind.WEEKLY else day
    which = {"is_newest": True} if version is None else {"version": version}
    report = Report.objects.filter(kind=kind, rollout=rollout, first_day=first_day, **which).first()
    if report is None:
        raise ReportNotFound(
            _("There is no such report. It is built when its days are over; manage.py build_reports builds older ones.")
        )
    return report


def parse_day(text: str) -> date:
    """A day from what a person or a program typed. Raises ReportNotFound: of what is no day there is no report."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007
    except ValueError:
        raise ReportNotFound(_("Not a date: %(text)s. Write it as YYYY-MM-DD.") % {"text": text}) from None


def local_day(at: datetime) -> date:
    """The day in ``TIME_ZONE``."""
    return at.astimezone(ZoneInfo(settings.TIME_ZONE)).date()


def monday(day: date) -> date:
    """The first day of its week."""
    return day - timedelta(days=day.weekday())


def _due(kind: Kind, rollout: str, created: datetime, now: datetime) -> Iterator[date]:
    step = timedelta(days=7 if kind == Kind.WEEKLY else 1)
    newest = Report.objects.filter(kind=kind, rollout=rollout).order_by("-first_day").first()
    day = local_day(created) if newest is None else newest.first_day
    day = monday(day) if kind == Kind.WEEKLY else day
    while (end := period(kind, day)[1]) <= now:
        if newest is None or day > newest.first_day or now - end < SETTLED_AFTER:
            yield day
        day += step
