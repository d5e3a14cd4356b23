"""``manage.py seed_demo``: a history to look at."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from chat.demo import AlreadySeeded, seed_demo
from rollout.changes import RolloutNotFound


class Command(BaseCommand):
    """Safe to run at each start: it only ever seeds once."""

    help = "Makes two weeks of made-up history, marked as demo data. `delete_demo` removes it."

    def add_arguments(self, parser: CommandParser) -> None:
        """How long, how many, and which."""
        parser.add_argument("--days", type=int, default=14, metavar="N", help="days up to now (14)")
        parser.add_argument("--people", type=int, default=600, metavar="N", help="people who chat (600)")
        parser.add_argument("--seed", type=int, default=7, metavar="N", help="another number, another history (7)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Seed, and say what was made."""
        days, people = options["days"], options["people"]
        if not (1 <= days <= 365 and 1 <= people <= 100_000):
            raise CommandError("--days must be from 1 to 365, --people from 1 to 100000.")
        try:
            calls = seed_demo(days=days, people=people, seed=options["seed"], now=timezone.now())
        except AlreadySeeded:
            self.stdout.write("There is demo data already; nothing was added. `manage.py delete_demo` removes it.")
        except RolloutNotFound as missing:
            raise CommandError(str(missing)) from None
        else:
            self.stdout.write(f"Made {days} days of demo data: {people} people, {calls} calls.")
