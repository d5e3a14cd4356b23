from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from chat.models import ApiToken
from chat.tokens import find_token
from tests.chat.factories import UserFactory

pytestmark = pytest.mark.django_db


def test_the_token_alone_is_printed_and_works():
    user, out = UserFactory(username="ada"), StringIO()

    call_command("create_api_token", "ada", "--name", "nightly", stdout=out)

    (line,) = out.getvalue().splitlines()
    token = find_token(line, now=timezone.now())
    assert token is not None
    assert (token.user, token.name) == (user, "nightly")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nobody"], "There is no account named nobody."),
        (["guest-1"], "There is no account named guest-1."),
        (["gone"], "The account gone is not active."),
        (["ada", "--name", "x" * 101], "at most 100 characters"),
    ],
)
def test_an_account_that_cannot_use_a_token_gets_none(words, told):
    UserFactory(username="ada")
    UserFactory(guest=True, username="guest-1")
    UserFactory(username="gone", is_active=False)

    with pytest.raises(CommandError, match=told):
        call_command("create_api_token", *words)
    assert not ApiToken.objects.exists()
