"""``manage.py delete_demo``: the demo data goes, everything else stays."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from chat.demo import delete_demo


class Command(BaseCommand):
    """Safe to run when there is none."""

    help = "Removes all demo data: its people, their chats and calls; the daily reports are built anew without it."

    def handle(self, *args: Any, **options: Any) -> None:
        """Remove, and say what was removed."""
        gone = delete_demo(now=timezone.now())
        self.stdout.write(
            f"Removed {gone.people} demo people, {gone.conversations} conversations and {gone.calls} calls; "
            f"built the reports of {gone.days} days anew."
        )
