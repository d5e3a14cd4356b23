import asyncio
import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from chat.admission import breakers
from chat.models import ApiToken, BreakerChange, Conversation, User
from tests.chat.factories import ApiTokenFactory, ConversationFactory, MessageFactory, UserFactory

pytestmark = pytest.mark.django_db

SECRET = "what-nobody-else-may-read"
TOKENS = "/admin/chat/apitoken/"
CHATS = "/admin/chat/conversation/"
PEOPLE = "/admin/chat/user/"


@pytest.fixture
def ada() -> User:
    return UserFactory(username="ada", is_staff=True, is_superuser=True)


@pytest.fixture
def admin(client: Client, ada: User) -> Client:
    """A superuser's browser."""
    client.force_login(ada)
    return client


def staff_with(*permissions: str) -> tuple[Client, User]:
    user = UserFactory(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client, user


def html(answer: Any) -> str:
    assert answer.status_code == 200
    return str(answer.content.decode())


# --- tokens ---


def test_a_token_is_shown_once_and_works(admin, ada):
    made = html(admin.post(f"{TOKENS}add/", {"name": "nightly", "user": ada.pk}))

    shown = re.search(r">(sluice_[\w-]{43})<", made)
    assert shown
    bearer = {"Authorization": f"Bearer {shown[1]}"}
    assert Client().get("/api/gemini-rollout-status", headers=bearer).status_code == 200
    token = ApiToken.objects.get()
    assert (token.name, token.user) == ("nightly", ada)
    for page in (TOKENS, f"{TOKENS}{token.pk}/change/", "/admin/"):
        assert shown[1] not in html(admin.get(page))
    assert shown[1] not in str(ApiToken.objects.values().get())


def test_revoking_ends_a_token_and_keeps_it_listed(admin):
    token = ApiTokenFactory()

    told = html(admin.post(TOKENS, {"action": "revoke", "_selected_action": [token.pk]}, follow=True))

    assert "1 token was revoked." in told
    assert token.prefix in told
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_a_token_keeps_its_account_and_its_digest(admin):
    token = ApiTokenFactory()
    other = UserFactory()

    admin.post(f"{TOKENS}{token.pk}/change/", {"name": "renamed", "user": other.pk, "digest": "0", "revoked_at": ""})

    kept = ApiToken.objects.get()
    assert (kept.name, kept.user, kept.digest) == ("renamed", token.user, token.digest)


def test_nobody_makes_a_token_that_acts_as_somebody_mightier(ada):
    maker, themselves = staff_with("add_apitoken")

    assert "Select a valid choice" in html(maker.post(f"{TOKENS}add/", {"name": "", "user": ada.pk}))
    assert not ApiToken.objects.exists()

    assert maker.post(f"{TOKENS}add/", {"name": "", "user": themselves.pk}).status_code == 200
    assert ApiToken.objects.get().user == themselves


def test_guests_get_no_tokens(admin):
    guest = UserFactory(guest=True)

    admin.post(f"{TOKENS}add/", {"name": "", "user": guest.pk})

    assert not ApiToken.objects.exists()


def test_who_may_only_look_at_tokens_revokes_none():
    viewer, _user = staff_with("view_apitoken")
    token = ApiTokenFactory()

    viewer.post(TOKENS, {"action": "revoke", "_selected_action": [token.pk]})

    assert ApiToken.objects.get().revoked_at is None


# --- what people said ---


def test_no_page_of_admin_shows_what_was_said(admin, ada):
    chat = ConversationFactory(user=ada, title=SECRET)
    message = MessageFactory(conversation=chat, text=SECRET)
    pages = [
        CHATS,
        f"{CHATS}?q=ada",
        f"{PEOPLE}{ada.pk}/change/",
        f"{PEOPLE}{ada.pk}/delete/",
        f"{PEOPLE}{ada.pk}/history/",
        "/admin/",
    ]
    for page in pages:
        assert SECRET not in html(admin.get(page))
    chosen = {"action": "delete_selected", "_selected_action": [ada.pk]}
    assert SECRET not in html(admin.post(PEOPLE, chosen))

    for page in ("change", "delete", "history"):
        assert admin.get(f"{CHATS}{chat.pk}/{page}/").status_code == 404
    assert admin.get(f"/admin/chat/message/{message.pk}/change/").status_code == 404


def test_the_list_of_conversations_counts_their_messages(admin):
    chat = ConversationFactory()
    MessageFactory.create_batch(3, conversation=chat)

    assert '<td class="field-messages_in_it">3</td>' in html(admin.get(CHATS))


# --- people ---


def test_people_are_listed_guests_marked_and_found_by_name(admin):
    UserFactory(guest=True)
    UserFactory(username="bob")

    assert "guest-" in html(admin.get(PEOPLE, {"is_guest__exact": "1"}))
    assert "bob" in html(admin.get(PEOPLE, {"q": "bob"}))


def test_a_person_can_be_added_and_deleted_with_all_that_is_theirs(admin):
    password = "another-long-password"
    fields = {"username": "carl", "usable_password": "true", "password1": password, "password2": password}
    assert admin.post(f"{PEOPLE}add/", fields).status_code == 302
    carl = User.objects.get(username="carl")
    assert carl.unit
    assert not carl.is_guest
    ConversationFactory(user=carl)
    ApiTokenFactory(user=carl)

    assert admin.post(f"{PEOPLE}{carl.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not User.objects.filter(username="carl").exists()
    assert not Conversation.objects.exists()
    assert not ApiToken.objects.exists()


def test_a_persons_unit_is_shown_and_never_changed(admin, ada):
    page = f"{PEOPLE}{ada.pk}/change/"
    assert ada.unit in html(admin.get(page))

    fields = {"username": "ada", "unit": "0" * 32, "is_guest": "on", "is_staff": "on", "is_superuser": "on"}
    admin.post(page, {**fields, "is_active": "on", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"})

    kept = User.objects.get(pk=ada.pk)
    assert (kept.unit, kept.is_guest) == (ada.unit, False)


# --- breakers ---


@pytest.mark.django_db(transaction=True)
def test_pages_say_at_their_head_which_models_are_failing(settings):
    settings.BREAKER_FAILURES, settings.BREAKER_COOL_DOWN_S = 1, 60
    staff = staff_with("view_rollout")[0]
    other = staff_with("view_user")[0]
    assert "has failed too often" not in html(staff.get("/admin/"))

    asyncio.run(breakers.note("gemini-flash-lite", "failed", ""))

    assert "Gemini Flash Lite has failed too often: it is left alone until" in html(staff.get("/admin/"))
    assert "has failed too often" in html(staff.get("/admin/rollout/rollout/"))
    assert "has failed too often" not in html(other.get("/admin/"))
    assert "has failed too often" not in html(Client().get("/admin/login/"))


def test_whoever_may_see_rollouts_sees_how_breakers_stand_and_nobody_changes_it():
    change = BreakerChange.objects.create(
        upstream="gemini-flash-lite", state="open", why="failures", failures=10, changed_at=timezone.now()
    )
    staff, _user = staff_with("view_rollout")

    assert "too many of the last attempts failed" in html(staff.get("/admin/chat/breakerchange/"))
    assert "breakerchange" in html(staff.get("/admin/"))
    assert staff.get("/admin/chat/breakerchange/add/").status_code == 403
    assert staff.post(f"/admin/chat/breakerchange/{change.pk}/delete/", {"post": "yes"}).status_code == 403
    assert staff_with("view_user")[0].get("/admin/chat/breakerchange/").status_code == 403
