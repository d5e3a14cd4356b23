"""``manage.py build_reports``: build the daily reports of some days anew, from their calls."""

from datetime import UTC, date, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from metrics.reports import build_daily_report


class Command(BaseCommand):
    """Safe to run at any time: a report is replaced by what its calls say now."""

    help = "Builds the daily reports of a range of UTC days."

    def add_arguments(self, parser: CommandParser) -> None:
        """The range, both ends included."""
        parser.add_argument("--from", dest="first", metavar="DATE", help=_("First day, YYYY-MM-DD; default yesterday."))
        parser.add_argument("--to", dest="last", metavar="DATE", help=_("Last day, YYYY-MM-DD; default today."))

    def handle(self, *args: Any, **options: Any) -> None:
        """Build, and say what was built, day by day."""
        now = timezone.now()
        today = now.astimezone(UTC).date()
        last = _day(options["last"], default=today)
        first = _day(options["first"], default=min(last, today - timedelta(days=1)))
        if not first <= last <= today:
            raise CommandError(_("The first day must not come after the last, nor the last after today."))
        for ordinal in range(first.toordinal(), last.toordinal() + 1):
            day = date.fromordinal(ordinal)
            built = build_daily_report(day, now=now)
            told = ngettext("%(day)s: %(n)d report", "%(day)s: %(n)d reports", built)
            self.stdout.write(told % {"day": day, "n": built})


def _day(text: str | None, *, default: date) -> date:
    if text is None:
        return default
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(_("Not a date: %(text)s. Write it as YYYY-MM-DD.") % {"text": text}) from None
