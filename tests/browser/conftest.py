"""Who looks at the pages."""

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Page

from tests.chat.factories import UserFactory


@pytest.fixture
def staff_page(page: Page, live_app: str) -> Page:
    """A page with a superuser signed in."""
    UserFactory(username="bob")
    client = Client()
    client.force_login(UserFactory(username="ada", is_staff=True, is_superuser=True))
    name = settings.SESSION_COOKIE_NAME
    page.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": live_app}])
    return page
