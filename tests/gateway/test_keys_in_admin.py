"""Applications' keys in admin, and on the command line."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from gateway.keys import create_key, find_key
from gateway.models import ApiKey
from tests.chat.factories import UserFactory

pytestmark = pytest.mark.django_db

KEYS = "/admin/gateway/apikey/"
NEW: dict[str, Any] = {"name": "shop", "may_name_units": "on", "models_allowed": ["chat-model"]}


@pytest.fixture
def staff(client: Client) -> Any:
    user = UserFactory(is_staff=True)
    rights = ("add_apikey", "view_apikey", "change_apikey")
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    client.force_login(user)
    return user


def test_a_new_key_is_shown_once_and_kept_nowhere(client, staff):
    page = client.post(f"{KEYS}add/", {**NEW, "owner": staff.pk})

    text = page.context["text"]
    key = ApiKey.objects.get()
    assert page.status_code == 200
    assert text in page.content.decode()
    assert find_key(text, now=timezone.now()) == key
    assert key.models_allowed == ["chat-model"]
    assert not any(text in cookie.output() or cookie.key == "messages" for cookie in page.cookies.values())
    assert text not in client.get(KEYS).content.decode()


def test_who_may_not_look_accounts_up_makes_keys_of_their_own(client, staff):
    other = UserFactory()

    assert client.post(f"{KEYS}add/", {**NEW, "owner": other.pk}).status_code == 200
    assert not ApiKey.objects.exists()
    assert f'<option value="{staff.pk}" selected>' in client.get(f"{KEYS}add/").content.decode()


def test_a_revoked_key_says_so_and_who_did_it(client, staff):
    key, _text = create_key(name="shop", owner=staff)
    client.post(KEYS, {"action": "revoke", "_selected_action": [key.pk]})

    listed = client.get(KEYS).content.decode()

    assert "1 key was revoked." in listed
    assert '<td class="field-state">revoked</td>' in listed
    assert "revoked" in client.get(f"{KEYS}{key.pk}/history/").content.decode().lower()
    assert key.prefix in client.get(f"{KEYS}{key.pk}/change/").content.decode()


def test_limits_are_told_in_words_and_calls_are_a_click_away(client, staff):
    key, _text = create_key(name="shop", owner=staff, requests_per_minute=6000, dollars_per_day=Decimal("2.50"))

    assert "6000 requests a minute, $2.50 a day" in client.get(KEYS).content.decode()
    link = f"/admin/metrics/modelcall/?q={key.prefix}"
    assert link not in client.get(KEYS).content.decode()

    staff.user_permissions.add(Permission.objects.get(codename="view_modelcall"))

    assert link in client.get(KEYS).content.decode()
    assert client.get(link).status_code == 200


def test_a_key_of_the_command_line_may_end_by_itself(capsys):
    owner = UserFactory()
    call_command("create_api_key", owner.username, "shop", "--expires-in", "3")

    text = capsys.readouterr().out.strip()
    assert find_key(text, now=timezone.now()) is not None
    assert find_key(text, now=timezone.now() + timedelta(days=3, minutes=1)) is None


@pytest.mark.parametrize(
    ("option", "value"), [("--dollars-per-day", "abc"), ("--dollars-per-day", "0"), ("--expires-in", "0")]
)
def test_a_limit_that_is_none_is_refused_in_words(option, value):
    owner = UserFactory()
    with pytest.raises(CommandError, match=r"dollars|expires"):
        call_command("create_api_key", owner.username, "shop", option, value)

    assert not ApiKey.objects.exists()
