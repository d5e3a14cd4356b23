from typing import Any

import pytest
from django.contrib.auth import get_user
from django.test import Client

from chat import accounts
from chat.models import Conversation, User
from tests.chat.factories import ConversationFactory, UserFactory

pytestmark = pytest.mark.django_db

PASSWORD = "a-long-enough-password"


@pytest.fixture
def guest(client: Client) -> User:
    """Somebody who chats as a guest in ``client``."""
    guest = accounts.create_guest()
    client.force_login(guest)
    return guest


def sign_up(client: Client, username: str = "Ada", **more: str) -> Any:
    return client.post("/accounts/signup/", {"username": username, "password": PASSWORD, **more})


def log_in(client: Client, username: str, **more: str) -> Any:
    return client.post("/accounts/login/", {"username": username, "password": PASSWORD, **more})


def test_a_guest_has_no_password_that_works():
    guest = accounts.create_guest()

    assert guest.is_guest
    assert not guest.has_usable_password()


def test_two_guests_are_two_people():
    first, second = accounts.create_guest(), accounts.create_guest()

    assert first.username != second.username
    assert first.unit != second.unit


def test_signing_up_keeps_the_guests_row_unit_and_chats():
    guest = accounts.create_guest()
    chat = ConversationFactory(user=guest)

    account = accounts.sign_up(guest, "Ada", PASSWORD, "ada@Example.COM")

    assert (account.pk, account.unit) == (guest.pk, guest.unit)
    assert (account.username, account.email, account.is_guest) == ("Ada", "ada@example.com", False)
    assert account.check_password(PASSWORD)
    assert chat in account.conversations.all()


@pytest.mark.parametrize("who", ["nobody", "somebody with an account"])
def test_signing_up_without_being_a_guest_makes_a_new_person(who: str):
    user = UserFactory() if who != "nobody" else None

    account = accounts.sign_up(user, "Ada", PASSWORD)

    assert account.pk != getattr(user, "pk", None)
    assert User.objects.filter(is_guest=False).count() == (2 if user else 1)


def test_a_guest_signs_up_only_once():
    guest = accounts.create_guest()
    first = accounts.sign_up(guest, "Ada", PASSWORD)

    second = accounts.sign_up(guest, "Babbage", PASSWORD)

    assert second.pk != first.pk
    first.refresh_from_db()
    assert first.username == "Ada"


@pytest.mark.parametrize("username", ["Ada", "ada", "ADA"])
def test_a_name_is_taken_whatever_its_case(username: str):
    UserFactory(username="Ada")
    guest = accounts.create_guest()

    with pytest.raises(accounts.UsernameTaken):
        accounts.sign_up(guest, username, PASSWORD)

    guest.refresh_from_db()
    assert guest.is_guest


def test_adopting_takes_a_guests_chats_and_nobody_elses():
    account, other = UserFactory(), ConversationFactory()
    chat = ConversationFactory(user=accounts.create_guest())

    assert accounts.adopt_conversations(chat.user, account) == 1
    assert accounts.adopt_conversations(other.user, account) == 0

    assert list(account.conversations.all()) == [chat]


def test_the_sign_up_page_makes_the_guest_an_account_and_stays_signed_in(client: Client, guest: User):
    response = sign_up(client, next="/c/5b6e0dd7-2aa5-4a6f-9d0c-6a9c0f0e8c11/")

    assert response.status_code == 302
    assert response.url == "/c/5b6e0dd7-2aa5-4a6f-9d0c-6a9c0f0e8c11/"
    user = get_user(client)
    assert isinstance(user, User)
    assert (user.pk, user.username, user.is_guest) == (guest.pk, "Ada", False)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"username": "TAKEN"}, "That name is taken"),
        ({"username": "a b"}, "Enter a valid username"),
        ({"username": ""}, "This field is required"),
        ({"username": "Ada", "password": "1234"}, "too short"),
        ({"username": "Ada", "password": "password"}, "too common"),
        ({"username": "lovelace", "password": "lovelace1"}, "too similar"),
        ({"username": "Ada", "email": "nonsense"}, "valid email"),
    ],
)
def test_a_bad_sign_up_says_why_and_changes_nothing(client: Client, guest: User, fields: dict[str, str], words: str):
    UserFactory(username="Taken")

    response = client.post("/accounts/signup/", {"username": "", "password": PASSWORD, **fields})

    assert response.status_code == 200
    assert words in response.content.decode()
    guest.refresh_from_db()
    assert guest.is_guest


def test_logging_in_brings_the_guests_chats_and_keeps_the_accounts_unit(client: Client, guest: User):
    account = UserFactory(username="Ada")
    old, new = ConversationFactory(user=account), ConversationFactory(user=guest)

    response = log_in(client, "Ada")

    assert response.status_code == 302
    assert set(Conversation.objects.filter(user=account)) == {old, new}
    unit = account.unit
    account.refresh_from_db()
    assert account.unit == unit
    assert get_user(client) == account


def test_a_failed_log_in_leaves_the_guest_as_it_was(client: Client, guest: User):
    chat = ConversationFactory(user=guest)
    UserFactory(username="Ada")

    response = client.post("/accounts/login/", {"username": "Ada", "password": "wrong"})

    assert "Please enter a correct" in response.content.decode()
    chat.refresh_from_db()
    assert chat.user == guest


@pytest.mark.parametrize("page", ["/accounts/login/", "/accounts/signup/"])
@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"]
)
def test_next_never_leads_off_the_site(client: Client, page: str, elsewhere: str):
    UserFactory(username="Ada")
    username = "Ada" if "login" in page else "Babbage"

    response = client.post(page, {"username": username, "password": PASSWORD, "next": elsewhere})

    assert response.status_code == 302
    assert response.headers["location"] == "/"


@pytest.mark.parametrize("page", ["/accounts/login/", "/accounts/signup/"])
def test_whoever_has_an_account_is_sent_on(client: Client, page: str):
    client.force_login(UserFactory())

    response = client.get(f"{page}?next=/api/docs/")

    assert response.status_code == 302
    assert response.headers["location"] == "/api/docs/"


def test_logging_out_needs_a_post(client: Client):
    client.force_login(UserFactory())

    assert client.get("/accounts/logout/").status_code == 405
    assert client.post("/accounts/logout/").status_code == 302
    assert not get_user(client).is_authenticated


@pytest.mark.parametrize("path", ["/accounts/signup/", "/accounts/login/", "/accounts/logout/"])
def test_without_the_csrf_token_nothing_happens(path: str):
    client = Client(enforce_csrf_checks=True)
    UserFactory(username="Ada")

    response = client.post(path, {"username": "Ada", "password": PASSWORD})

    assert response.status_code == 403
    assert "Go back, reload the page, and try again." in response.content.decode()
    assert not get_user(client).is_authenticated
