"""What beginning an answer on the page costs, whatever the machine: statements, and threads waited for."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chat import generation, services
from chat.admission import breakers
from chat.models import Conversation, Message, User
from config import asgi
from simulator.upstream import Upstream
from tests.chat.factories import ConversationFactory, MessageFactory, UserFactory
from tests.gateway.test_cost import Threads, first_words


def statements_of_send(user: User, conversation: Conversation | None) -> list[str]:
    def send() -> None:
        services.send(
            user=user,
            text="Hello",
            model="chat-model",
            conversation_id=None if conversation is None else conversation.id,
            client_id=None,
            language="",
            now=timezone.now(),
        )
        Message.objects.update(state=Message.State.COMPLETE)

    # Whatever is read once a process is read.
    send()
    with CaptureQueriesContext(connection) as captured:
        send()
    # The last one is this test's own.
    words = first_words([query["sql"] for query in captured][:-1])
    return [word for word in words if word not in ("SAVEPOINT", "RELEASE")]


@pytest.mark.django_db
def test_a_first_message_takes_four_statements():
    assert statements_of_send(UserFactory(), None) == ["INSERT", "SELECT", "INSERT", "INSERT"]


@pytest.mark.django_db
def test_a_later_message_takes_three_more_however_much_was_said(settings: Any):
    conversation = ConversationFactory()
    for _turn in range(40):
        MessageFactory(conversation=conversation, text="said", created_at=timezone.now())

    sent = statements_of_send(conversation.user, conversation)

    assert sent == ["SELECT", "UPDATE", "UPDATE", "SELECT", "SELECT", "INSERT", "INSERT"]


def session_of(user: User) -> str:
    store = SessionStore()
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store.create()
    assert store.session_key is not None
    return store.session_key


class Browser:
    """Requests to the whole app, without a server around it."""

    def __init__(self, session: str) -> None:
        self._session = session

    async def ask(self, method: str, path: str, **form: str) -> tuple[int, bytes]:
        headers = {
            "host": "localhost",
            "cookie": f"sessionid={self._session}; csrftoken={'a' * 32}",
            "x-csrftoken": "a" * 32,
            "accept": "application/json",
            "content-type": "application/x-www-form-urlencoded",
        }
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        coming = iter([{"type": "http.request", "body": urlencode(form).encode()}])
        sent: list[Any] = []

        async def receive() -> Any:
            return next(coming, None) or await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        await asgi.application(scope, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.django_db(transaction=True)
def test_asking_and_reading_take_a_database_thread_once_each_and_djangos_own_twice(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
):
    browser = Browser(session_of(UserFactory()))
    database, django = Threads(), Threads()
    monkeypatch.setattr("chat.threads._pool", database)
    monkeypatch.setattr("config.asgi._answers_thread", django)

    async def hops(method: str, path: str, **form: str) -> tuple[bytes, Sequence[int]]:
        before = database.hops, django.hops
        status, body = await browser.ask(method, path, **form)
        assert status in (200, 201)
        return body, (database.hops - before[0], django.hops - before[1])

    async def converse() -> list[Sequence[int]]:
        # The breakers are looked at once a second, whoever asks.
        await breakers.refresh()
        body, asking = await hops("POST", "/messages", text="Hello", model="chat-model")
        body, reading = await hops("GET", f"/answers/{json.loads(body)['reply']}/events")
        assert b"event: done" in body
        await generation.shut_down(grace_s=0)
        return [asking, reading]

    # Django says by signals that a request begins, and that it has ended. The answer's own end is one of the reader's
    # three, and what the page shows at the end the other.
    assert asyncio.run(converse()) == [(1, 2), (3, 2)]
    assert Session.objects.count() == 1
