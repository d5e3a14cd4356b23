"""``manage.py create_api_key``: a key for an application, printed once."""

from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.keys import create_key


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
        parser.add_argument("--dollars-per-day", type=Decimal, metavar="USD")
        parser.add_argument("--owner-only", action="store_true", help="the application may not name units")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make and print it."""
        people: Any = get_user_model().objects
        owner = people.filter(username=options["username"]).first()
        if owner is None:
            raise CommandError(f"There is no account named {options['username']}.")
        limits = {name: options[name] for name in ("requests_per_minute", "tokens_per_minute", "dollars_per_day")}
        try:
            _key, text = create_key(
                name=options["name"],
                owner=owner,
                may_name_units=not options["owner_only"],
                models_allowed=[key for key in options["models"].split(",") if key],
                **limits,
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(text)
