"""What a model is shown of a conversation. Part of chat's services."""

from collections.abc import Iterator
from itertools import count

from django.conf import settings

from chat.models import Message
from chat.providers.base import ChatMessage

TURNS_A_PAGE = 50


def prompt(question: Message, *, with_earlier: bool) -> list[ChatMessage]:
    """The newest turns that fit into CONTEXT_CHARS, oldest first, the question last."""
    turns = [ChatMessage(role="user", content=question.text)]
    room = settings.CONTEXT_CHARS - len(question.text)
    for role, text in _said_before(question) if with_earlier else ():
        room -= len(text)
        if room < 0:
            break
        turns.append(ChatMessage(role="user" if role == Message.Role.USER else "assistant", content=text))
    return turns[::-1]


def _said_before(question: Message) -> Iterator[tuple[str, str]]:
    """Role and text, newest first. Read by the page: one statement is enough for nearly all."""
    said = (
        question.conversation.messages.filter(created_at__lt=question.created_at, replaced=False)
        .exclude(text="")
        .order_by("-created_at")
        .values_list("role", "text")
    )
    for start in count(0, TURNS_A_PAGE):
        page = list(said[start : start + TURNS_A_PAGE])
        yield from page
        if len(page) < TURNS_A_PAGE:
            return
