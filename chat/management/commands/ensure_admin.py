"""The first superuser, for set-ups that nobody answers questions in."""

import os
import secrets
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from config.paths import VAR_DIR

USERNAME = "admin"


class Command(BaseCommand):
    help = (
        "Makes the superuser 'admin' where there is none, with the password from ADMIN_PASSWORD or a made-up one, "
        "and keeps that in var/admin-password. With ADMIN_PASSWORD set, an existing admin gets that password."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        User = get_user_model()
        wanted = os.environ.get("ADMIN_PASSWORD", "")
        admin = User.objects.filter(username__iexact=USERNAME).first()
        if admin is None:
            password = wanted or secrets.token_urlsafe(12)
            # Kept first: a password that only the database knows would lock everybody out.
            _keep(password)
            User.objects.create_superuser(username=USERNAME, password=password)
            told = "password from ADMIN_PASSWORD" if wanted else f"password {password}"
            self.stdout.write(f"Made the superuser {USERNAME}, {told} (kept in var/admin-password)")
        elif not admin.is_superuser:
            raise CommandError(f"The account {USERNAME!r} exists and is not a superuser; rename it first.")
        elif wanted and not admin.check_password(wanted):
            _keep(wanted)
            admin.set_password(wanted)
            admin.save(update_fields=["password"])
            self.stdout.write(f"The superuser {USERNAME} now has the password from ADMIN_PASSWORD")


def _keep(password: str) -> None:
    """Write ``password`` where its owner alone can read it, also if the file was there with wider rights."""
    VAR_DIR.mkdir(mode=0o700, exist_ok=True)
    path: Path = VAR_DIR / "admin-password"
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{password}\n")
