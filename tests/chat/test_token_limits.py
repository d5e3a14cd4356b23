"""Tokens that end by themselves, and tokens that can only look."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from chat.models import ApiToken
from chat.tokens import TokenExpired, create_token, find_token
from tests.chat.factories import UserFactory
from tests.metrics.factories import NOW

pytestmark = pytest.mark.django_db
PATH = "/api/gemini-rollout-status"


def test_a_token_is_good_until_the_moment_it_expires():
    token, text = create_token(user=UserFactory(), expires_at=NOW)

    assert find_token(text, now=NOW - timedelta(microseconds=1)) == token
    with pytest.raises(TokenExpired):
        find_token(text, now=NOW)


def test_a_revoked_token_is_unknown_also_after_its_time():
    _token, text = create_token(user=UserFactory(), expires_at=NOW)
    ApiToken.objects.update(revoked_at=NOW)

    assert find_token(text, now=NOW) is None


def test_an_expired_token_is_refused_in_words(client: Client):
    _token, text = create_token(user=UserFactory(), expires_at=timezone.now())

    answer = client.get(PATH, headers={"Authorization": f"Bearer {text}"})

    assert answer.status_code == 401
    assert answer.json() == {"error": "This token has expired.", "code": "token_expired"}
    assert answer["WWW-Authenticate"] == "Bearer"


def test_the_command_makes_tokens_that_end_and_that_only_look():
    UserFactory(username="ada")
    out = StringIO()

    call_command("create_api_token", "ada", "--read-only", "--expires-in", "30", stdout=out)

    token = find_token(out.getvalue().strip(), now=timezone.now())
    assert token is not None
    assert token.is_read_only
    assert token.expires_at is not None
    assert timedelta(days=29) < token.expires_at - timezone.now() <= timedelta(days=30)


@pytest.mark.parametrize("days", ["0", "-1", "3651", "soon"])
def test_a_time_that_is_none_makes_no_token(days):
    UserFactory(username="ada")

    with pytest.raises(CommandError, match="expires-in"):
        call_command("create_api_token", "ada", f"--expires-in={days}")
    assert not ApiToken.objects.exists()


def test_staff_give_a_token_its_limits_and_change_them(client: Client):
    ada = UserFactory(username="ada", is_staff=True, is_superuser=True)
    client.force_login(ada)
    limits = {"is_read_only": "on", "expires_at_0": "2027-01-31", "expires_at_1": "12:00:00"}

    client.post("/admin/chat/apitoken/add/", {"name": "nightly", "user": ada.pk, **limits})
    token = ApiToken.objects.get()
    assert token.is_read_only
    assert token.expires_at is not None
    assert token.expires_at.isoformat() == "2027-01-31T12:00:00+00:00"
    assert "Jan. 31, 2027" in client.get("/admin/chat/apitoken/").content.decode()

    client.post(f"/admin/chat/apitoken/{token.pk}/change/", {"name": "nightly", "expires_at_0": "", "expires_at_1": ""})
    changed = ApiToken.objects.get()
    assert (changed.is_read_only, changed.expires_at) == (False, None)
