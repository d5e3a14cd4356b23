"""What an answer costs that does not depend on the machine: trips to the database, and threads it waits for."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chat.attempts import new_attempt
from gateway import answering
from gateway.keys import create_key
from gateway.wire import parse_completion
from tests.chat.factories import UserFactory
from tests.metrics.factories import NOW

pytestmark = pytest.mark.django_db


def asked(key: str, **more: Any) -> list[str]:
    """The statements of one answer, from its beginning to its end."""
    body = {"model": "chat-model", "messages": [{"role": "user", "content": "Hello"}], **more}
    completion = parse_completion(json.dumps(body).encode())
    # Whatever is read once a process is read.
    answering.begin(authorization=f"Bearer {key}", named_unit="", completion=completion, now=NOW)
    with CaptureQueriesContext(connection) as begun:
        job = answering.begin(authorization=f"Bearer {key}", named_unit="", completion=completion, now=NOW)
    attempt = new_attempt(job.served_model, 0.0)
    with CaptureQueriesContext(connection) as ended:
        answering.end(job, attempt, NOW)
    return [query["sql"].split(maxsplit=1)[0] for query in (*begun, *ended)]


def test_an_answer_takes_four_statements_to_begin_and_one_to_end():
    _key, text = create_key(name="shop", owner=UserFactory())

    assert asked(text) == ["SELECT", "SELECT", "SELECT", "INSERT", "UPDATE"]


def test_somebody_who_is_named_takes_one_more_to_be_found():
    _key, text = create_key(name="shop", owner=UserFactory())

    assert asked(text, user="somebody").count("SELECT") == 4


def test_without_limits_in_dollars_nothing_is_spent_on_them():
    _key, text = create_key(name="shop", owner=UserFactory(), requests_per_minute=1000, tokens_per_minute=10**6)

    assert len(asked(text)) == 5
