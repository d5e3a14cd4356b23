"""``manage.py create_api_key``: a key for an application, printed once."""

from argparse import ArgumentTypeError
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from gateway.keys import create_key

# Ten years, as tokens have them.
MOST_DAYS = 3_650


def _dollars(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ArgumentTypeError(f"not an amount: {text!r}") from None


class Command(BaseCommand):
    """The key is the only line on standard output."""

    help = "Makes an API key for an application that sends its requests to /v1."

    def add_arguments(self, parser: CommandParser) -> None:
        """Whose, and how much."""
        parser.add_argument("username", help="the account that owns the key")
        parser.add_argument("name", help="the application's name")
        parser.add_argument("--models", default="", metavar="KEYS", help="model keys with commas between; default all")
        parser.add_argument("--requests-per-minute", type=int, metavar="N")
        parser.add_argument("--tokens-per-minute", type=int, metavar="N")
        parser.add_argument("--dollars-per-day", type=_dollars, metavar="USD")
        parser.add_argument("--expires-in", type=int, metavar="DAYS", help="no good after so many days; default never")
        parser.add_argument("--owner-only", action="store_true", help="the application may not name units")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make and print it."""
        people: Any = get_user_model().objects
        owner = people.filter(username=options["username"]).first()
        if owner is None:
            raise CommandError(f"There is no account named {options['username']}.")
        days = options["expires_in"]
        if days is not None and not 1 <= days <= MOST_DAYS:
            raise CommandError(f"--expires-in must be 1 to {MOST_DAYS} days.")
        limits = {name: options[name] for name in ("requests_per_minute", "tokens_per_minute", "dollars_per_day")}
        try:
            _key, text = create_key(
                name=options["name"],
                owner=owner,
                may_name_units=not options["owner_only"],
                models_allowed=[key for key in options["models"].split(",") if key],
                expires_at=None if days is None else timezone.now() + timedelta(days=days),
                **limits,
            )
        except ValidationError as error:
            told = [f"{name}: {' '.join(messages)}" for name, messages in error.message_dict.items()]
            raise CommandError(" ".join(told)) from error
        self.stdout.write(text)
