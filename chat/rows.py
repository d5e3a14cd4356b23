"""Chats and messages by SQL that is made once: what each answer writes and looks up, and is always the same.

Part of chat's services; all else goes through the models.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any
from uuid import UUID, uuid4

from chat.models import Conversation, Message
from metrics import statements

# What is written of a new message; the rest are defaults.
_WRITTEN = (
    *("id", "conversation_id", "role", "text", "created_at", "state", "reply_to_id"),
    *("served_model", "alive_at", "client_id"),
)


def add_conversation(**values: Any) -> Conversation:
    """Store a new chat; values by attribute."""
    row = {"id": uuid4(), **values}
    statements.insert(Conversation, [row])
    return Conversation(**row)


def add_messages(messages: Sequence[Message]) -> None:
    """Store new messages, at least one, all of them or none. Raises IntegrityError as the table's constraints say."""
    statements.insert(Message, [{name: getattr(message, name) for name in _WRITTEN} for message in messages])


def change_running(changes: Sequence[tuple[UUID, dict[str, Any]]]) -> None:
    """Of each reply its id and what is new, the same attributes in each; one that has ended stays as it is."""
    rows = [({"id": reply_id}, new) for reply_id, new in changes]
    statements.change(Message, rows, only=("state", Message.State.RUNNING.value))


def state_of(reply_id: UUID, *, user_id: int) -> str | None:
    """How a person's own reply stands; ``None`` where there is none."""
    found = statements.fetch(_state_sql(), [*statements.prepared(Message, [("id", reply_id)]), user_id])
    return str(found[0][0]) if found else None


@cache
def _state_sql() -> str:
    messages, conversations = Message._meta.db_table, Conversation._meta.db_table
    return f"""
        SELECT reply.state FROM {messages} reply JOIN {conversations} chat ON chat.id = reply.conversation_id
        WHERE reply.id = %s AND reply.role = '{Message.Role.ASSISTANT.value}' AND chat.user_id = %s
    """  # noqa: S608
