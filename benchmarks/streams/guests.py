"""Guests with sessions, made in bulk so that a run measures answers: ``python -m benchmarks.streams.guests 500``.

Prints a JSON list of their session keys. Needs Sluice's environment.
"""

import argparse
import json
import os
import sys
from datetime import timedelta
from uuid import uuid4


def _sessions(count: int) -> list[str]:
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session
    from django.utils import timezone

    from chat.models import User

    guests = [User(username=f"guest-{uuid4().hex[:16]}", is_guest=True) for _ in range(count)]
    User.objects.bulk_create(guests)
    store, until = SessionStore(), timezone.now() + timedelta(days=1)
    rows = []
    for guest in guests:
        backend = "django.contrib.auth.backends.ModelBackend"
        data = {
            SESSION_KEY: str(guest.pk),
            BACKEND_SESSION_KEY: backend,
            HASH_SESSION_KEY: guest.get_session_auth_hash(),
        }
        rows.append(Session(session_key=uuid4().hex, session_data=store.encode(data), expire_date=until))
    Session.objects.bulk_create(rows)
    return [row.session_key for row in rows]


def main() -> None:
    """Make them."""
    import django

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    json.dump(_sessions(options.count), sys.stdout)


if __name__ == "__main__":
    main()
