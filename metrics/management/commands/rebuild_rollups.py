"""``manage.py rebuild_rollups``: the roll-ups made anew from the calls."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from metrics.people import count_people
from metrics.rebuild import RebuildRefused, rebuild_rollups
from metrics.rollup import roll_up


class Command(BaseCommand):
    """Safe to run while Sluice runs: what ends meanwhile is added afterwards."""

    help = "Makes the roll-ups anew from the calls. They come out the same, to the last digit."

    def handle(self, *args: Any, **options: Any) -> None:
        """Rebuild, and say how much there was."""
        try:
            calls = rebuild_rollups(clock=timezone.now)
        except RebuildRefused:
            raise CommandError(_("Another rebuild is at work. Try again when it is done.")) from None
        roll_up(now=timezone.now())
        count_people(now=timezone.now())
        self.stdout.write(ngettext("Rolled up %(n)d call.", "Rolled up %(n)d calls.", calls) % {"n": calls})
