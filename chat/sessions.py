"""Django's sessions in the database, each found by SQL that is made once: every request looks for one.

The setting SESSION_ENGINE names this module. Rows, keys and what is in them are Django's own.
"""

from functools import cache
from typing import Any

from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone

from metrics import statements


class SessionStore(db.SessionStore):
    """Loads as Django's does. The class has the same name, with which Django signs what is in a session."""

    def load(self) -> dict[str, Any]:
        """What is in it; nothing, and the key is forgotten, where it is unknown or expired."""
        found = [("session_key", self.session_key), ("expire_date", timezone.now())]
        with connection.cursor() as cursor:
            cursor.execute(_sql(), statements.prepared(Session, found))
            row = cursor.fetchone()
        if row is None:
            self._session_key = None
            return {}
        return self.decode(row[0])


@cache
def _sql() -> str:
    return f"SELECT session_data FROM {Session._meta.db_table} WHERE session_key = %s AND expire_date > %s"  # noqa: S608
