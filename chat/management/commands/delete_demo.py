"""``manage.py delete_demo``: the demo data goes, everything else stays."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from chat.demo import delete_demo
from metrics.rebuild import RebuildRefused


class Command(BaseCommand):
    """Safe to run when there is none."""

    help = "Removes all demo data: its people, their chats and calls; the roll-ups are made anew without it."

    def handle(self, *args: Any, **options: Any) -> None:
        """Remove, and say what was removed."""
        try:
            gone = delete_demo(clock=timezone.now)
        except RebuildRefused:
            raise CommandError(
                "The roll-ups are being made anew at this moment. Try again when that is done."
            ) from None
        self.stdout.write(
            f"Removed {gone.people} demo people, {gone.conversations} conversations and {gone.calls} calls."
        )
