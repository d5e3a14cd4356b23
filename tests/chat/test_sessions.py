from datetime import timedelta

import pytest
from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.utils import timezone

from chat.sessions import SessionStore

pytestmark = pytest.mark.django_db


def stored(**values: str) -> str:
    """By Django's own class: sessions go on from before and after ours."""
    session = db.SessionStore()
    session.update(values)
    session.save()
    assert session.session_key is not None
    return session.session_key


def test_a_session_holds_what_was_put_into_it():
    session = SessionStore(stored(colour="blue"))

    assert session["colour"] == "blue"
    session["colour"] = "red"
    session.save()
    assert db.SessionStore(session.session_key)["colour"] == "red"


@pytest.mark.parametrize("key", ["unknownunknown", None])
def test_an_unknown_key_is_an_empty_session_that_is_not_created_under_it(key: str | None):
    session = SessionStore(key)

    assert dict(session.items()) == {}
    assert session.session_key is None


def test_an_expired_session_is_over_to_the_second():
    key = stored(colour="blue")
    Session.objects.filter(pk=key).update(expire_date=timezone.now() - timedelta(seconds=1))

    assert SessionStore(key).get("colour") is None

    Session.objects.filter(pk=key).update(expire_date=timezone.now() + timedelta(minutes=1))
    assert SessionStore(key).get("colour") == "blue"
