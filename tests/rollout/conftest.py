"""People who ask and steer."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db.models.signals import post_save
from django.test import Client

from chat.models import User
from metrics.models import ModelCall
from metrics.rollup import roll_up
from tests.chat.factories import UserFactory
from tests.services.receiver import Receiver, receiving


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


@pytest.fixture(autouse=True)
def _rolled_up() -> Iterator[None]:
    """Each call that a test makes is in the roll-ups at once."""

    def count(instance: ModelCall, **_: Any) -> None:
        if instance.ended_at is not None:
            roll_up(now=instance.ended_at)

    post_save.connect(count, sender=ModelCall)
    yield
    post_save.disconnect(count, sender=ModelCall)


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.NOTICE_ALLOW_PRIVATE = True
    with receiving() as found:
        yield found
