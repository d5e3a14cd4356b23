"""``manage.py build_reports``: build the reports of any days of the past anew."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.translation import gettext as _

from rollout.models import Rollout
from rollout.reports import ReportNotFound, build_days, local_day, parse_day


class Command(BaseCommand):
    """Safe to run at any time: figures that are the same make no new version."""

    help = "Builds the daily reports of a range of days, and the weekly reports of the weeks that it touches."

    def add_arguments(self, parser: CommandParser) -> None:
        """The range, both ends included."""
        parser.add_argument("--from", dest="first", metavar="DATE", help=_("First day, YYYY-MM-DD; default yesterday."))
        parser.add_argument("--to", dest="last", metavar="DATE", help=_("Last day, YYYY-MM-DD; default yesterday."))

    def handle(self, *args: Any, **options: Any) -> None:
        """Build, and say what was built."""
        now = timezone.now()
        yesterday = local_day(now) - timedelta(days=1)
        try:
            last = parse_day(options["last"]) if options["last"] else yesterday
            first = parse_day(options["first"]) if options["first"] else min(last, yesterday)
        except ReportNotFound as refused:
            raise CommandError(str(refused)) from None
        if not first <= last <= yesterday:
            raise CommandError(_("The first day must not come after the last, and the last must be over."))
        rollouts = Rollout.objects.order_by("name").values_list("name", flat=True)
        for report in build_days(rollouts, first, last, now=now):
            built = _("%(rollout)s %(kind)s %(day)s: version %(version)d")
            self.stdout.write(
                built
                % {
                    "rollout": report.rollout,
                    "kind": report.get_kind_display(),
                    "day": report.first_day,
                    "version": report.version,
                }
            )
