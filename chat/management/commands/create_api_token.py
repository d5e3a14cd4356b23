"""``manage.py create_api_token USER``: a token on standard output, alone, ready for a script to read."""

from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.translation import gettext as _

from chat import tokens
from chat.models import ApiToken, User

MOST_DAYS = 3650


class Command(BaseCommand):
    """The token is stored as a digest: what is printed here is the only copy."""

    help = "Makes an API token for an account and prints it, this once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Whose token, and what to call it."""
        parser.add_argument("user", help=_("The account's user name."))
        parser.add_argument("--name", default="", help=_("What the token is for, for the list in admin."))
        parser.add_argument("--read-only", action="store_true", help=_("It can look and change nothing."))
        parser.add_argument(
            "--expires-in", type=int, metavar="DAYS", help=_("After so many days it is no good. Without: never.")
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the token. CommandError for an account that could not use it."""
        user = User.objects.filter(username=options["user"], is_guest=False).first()
        if user is None:
            raise CommandError(_("There is no account named %(name)s.") % {"name": options["user"]})
        if not user.is_active:
            raise CommandError(_("The account %(name)s is not active.") % {"name": user.username})
        try:
            ApiToken._meta.get_field("name").run_validators(options["name"])
        except ValidationError as error:
            raise CommandError(error.messages[0]) from error
        days = options["expires_in"]
        if days is not None and not 1 <= days <= MOST_DAYS:
            raise CommandError(_("--expires-in must be 1 to %(most)d days.") % {"most": MOST_DAYS})
        _token, text = tokens.create_token(
            user=user,
            name=options["name"],
            expires_at=None if days is None else timezone.now() + timedelta(days=days),
            is_read_only=options["read_only"],
        )
        self.stdout.write(text)
