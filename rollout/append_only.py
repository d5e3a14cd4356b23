"""The database's own refusal to change or delete a rollout's history. Knows the engines' triggers.

Made after each migration: on SQLite, a migration that alters the table makes it anew and loses its triggers.
"""

from typing import Any

from django.db import connections

from rollout.models import RolloutChange

_TRIGGER = "rollout_history_is_append_only"

_POSTGRESQL = """
CREATE OR REPLACE FUNCTION {trigger}() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the history of rollouts is append-only' USING ERRCODE = 'restrict_violation'; END $$;
CREATE OR REPLACE TRIGGER {trigger} BEFORE UPDATE OR DELETE ON {table}
FOR EACH ROW EXECUTE FUNCTION {trigger}();
"""

_SQLITE = """
CREATE TRIGGER IF NOT EXISTS {trigger}_{event} BEFORE {event} ON {table}
BEGIN SELECT RAISE(ABORT, 'the history of rollouts is append-only'); END
"""


def forbid_changes(*, using: str, **_: Any) -> None:
    """Make the triggers where they are missing (a receiver of ``post_migrate``)."""
    connection = connections[using]
    table = RolloutChange._meta.db_table
    with connection.cursor() as cursor:
        if table not in connection.introspection.table_names(cursor):
            return
        if connection.vendor == "postgresql":
            cursor.execute(_POSTGRESQL.format(trigger=_TRIGGER, table=table))
        elif connection.vendor == "sqlite":
            for event in ("update", "delete"):
                cursor.execute(_SQLITE.format(trigger=_TRIGGER, table=table, event=event))
