"""People who ask and steer."""

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from chat.models import User
from tests.chat.factories import UserFactory


@pytest.fixture
def reader() -> User:
    return UserFactory(username="reader")


@pytest.fixture
def staff() -> User:
    user = UserFactory(username="staff", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="change_rollout"))
    return user


@pytest.fixture
def admin(client: Client) -> Client:
    """A superuser's browser."""
    client.force_login(UserFactory(username="ada", is_staff=True, is_superuser=True))
    return client
