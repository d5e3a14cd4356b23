"""Migrations that the version before survives: web processes are restarted one after another, after them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django_migration_linter import MigrationLinter

from chat.models import Message
from metrics.models import ModelCall
from tests.chat.factories import ConversationFactory
from tests.conftest import DATABASE

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
# Migrations after these are looked at. Raised when none of the versions before it runs any more.
BASELINE = {
    "api": "0001_initial",
    "chat": "0004_breaker_changes",
    "gateway": "0001_initial",
    "metrics": "0005_modelcall_application",
    "rollout": "0013_retirement",
}
# The oldest state of the two busiest tables whose code can still write them.
OLDEST = {"metrics": "0003_outcomes_and_changed_at", "chat": "0001_initial"}

GRAPH = MigrationLoader(None).graph


def newer(app: str, name: str) -> list[str]:
    """The app's migrations after this one, in their order."""
    (newest,) = GRAPH.leaf_nodes(app)
    plan = [migration for of_app, migration in GRAPH.forwards_plan(newest) if of_app == app]
    return plan[plan.index(name) + 1 :]


def older_states() -> list[tuple[str, str]]:
    """Every state of ``OLDEST``'s apps but the present one."""
    return [(app, state) for app, oldest in OLDEST.items() for state in [oldest, *newer(app, oldest)[:-1]]]


def older_model(app: str, state: str, name: str) -> Any:
    """A model as the code knew it when this was the app's newest migration."""
    return MigrationLoader(connection).project_state((app, state)).apps.get_model(app, name)


def lint(*migrations: tuple[str, str]) -> MigrationLinter:
    linter = MigrationLinter(str(ROOT), no_cache=True, quiet=["ok", "ignore", "warning"])
    for migration in migrations:
        linter.lint_migration(linter.migration_loader.disk_migrations[migration])
    return linter


needs_postgres = pytest.mark.skipif(
    DATABASE != "postgres", reason="several versions side by side need PostgreSQL: SQLite is for one machine"
)


@needs_postgres
@pytest.mark.django_db
def test_no_new_migration_breaks_the_version_before(capsys: pytest.CaptureFixture[str]) -> None:
    new = [(app, name) for app, baseline in BASELINE.items() for name in newer(app, baseline)]

    linter = lint(*new)

    assert not linter.has_errors, capsys.readouterr().out
    assert linter.nb_total == len(new)


@needs_postgres
@pytest.mark.django_db
def test_a_column_that_the_version_before_would_leave_empty_is_found() -> None:
    assert lint(("metrics", "0005_modelcall_application")).has_errors


@pytest.mark.django_db
@pytest.mark.parametrize("state", [state for app, state in older_states() if app == "metrics"])
def test_older_code_opens_and_closes_calls_in_the_newest_tables(state: str) -> None:
    older = older_model("metrics", state, "ModelCall")
    names = {"requested_model": "chat-model", "assigned_model": "chat-model", "served_model": "chat-model"}

    call = older.objects.create(
        answer_id=uuid4(), surface="page", reason="percentage", unit="0" * 32, started_at=NOW, **names
    )
    older.objects.filter(pk=call.pk).update(outcome="ok", ended_at=NOW, ttft_ms=20, output_tokens=3)

    row = ModelCall.objects.get(pk=call.pk)
    assert (row.outcome, row.output_tokens, row.pending) == ("ok", 3, True)
    assert (row.application, row.rating_reason, row.counted_rating_reason) == ("", "", "")


@pytest.mark.django_db
@pytest.mark.parametrize("state", [state for app, state in older_states() if app == "chat"])
def test_older_code_writes_messages_in_the_newest_tables(state: str) -> None:
    older = older_model("chat", state, "Message")
    chat = ConversationFactory()

    reply = older.objects.create(conversation_id=chat.pk, role="assistant", state="running", created_at=NOW)
    older.objects.filter(pk=reply.pk).update(text="An answer.", state="complete", served_model="chat-model")

    row = Message.objects.get(pk=reply.pk)
    assert (row.text, row.state, row.rating, row.rating_reason) == ("An answer.", "complete", None, "")
