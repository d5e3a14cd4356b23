"""The suite's own world: its environment, its servers and its fixtures.

The environment is set before Django's settings are read, once, and says where servers *will* be; a
server starts with the first test that needs it, and ends with the session, also on Ctrl-C.
"""

import atexit
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import django
import pytest
from django.conf import settings
from environs import Env
from hypothesis import settings as hypothesis_settings

from tests.services import live, postgres
from tests.services.chromium import find_chromium

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page, Playwright
    from redis import Redis

    from simulator.upstream import Upstream

ROOT = Path(__file__).resolve().parent.parent
DATABASE = os.environ.get("TEST_DATABASE", "sqlite")
if DATABASE not in ("sqlite", "postgres"):
    raise pytest.UsageError(f"TEST_DATABASE must be sqlite or postgres, not {DATABASE!r}")
if settings.configured:
    raise pytest.UsageError("settings were read before the suite could set them: unset DJANGO_SETTINGS_MODULE")

HOME = Path(tempfile.mkdtemp(prefix="sluice-tests-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
POSTGRES_HOME = HOME.with_name(f"{HOME.name}-postgres")
UPSTREAM = live.reserve_port()
UPSTREAM_URL = live.url_of(UPSTREAM)

ENVIRONMENT = {
    "DJANGO_SETTINGS_MODULE": "config.settings",
    "SECRET_KEY": "for-tests-alone-and-long-enough-to-be-taken",
    "DATABASE_URL": postgres.database_url(POSTGRES_HOME)
    if DATABASE == "postgres"
    else f"sqlite:///{HOME / 'unused.sqlite3'}",
    "REDIS_URL": f"unix://{HOME / 'redis.sock'}",
    "OPENAI_API_KEY": "test-openai-key",
    "OPENAI_BASE_URL": f"{UPSTREAM_URL}/v1",
    "GEMINI_API_KEY": "test-gemini-key",
    "GEMINI_BASE_URL": UPSTREAM_URL,
}


def _enter_environment() -> None:
    # Whatever the developer's shell or .env says, a test sees the defaults and what is set here.
    for name in re.findall(r"^#? ?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE):
        os.environ.pop(name, None)
    os.environ.update(ENVIRONMENT)
    with mock.patch.object(Env, "read_env"):
        # Now, and not when pytest-django would: conftest files below may import models.
        django.setup()
    # The pages of a test come without collectstatic, straight from the apps' folders.
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    settings.WHITENOISE_AUTOREFRESH = settings.WHITENOISE_USE_FINDERS = True
    # The real one is slow on purpose.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


_enter_environment()

# How long an example takes says more about the machine than about what it shows.
hypothesis_settings.register_profile("sluice", deadline=None)
hypothesis_settings.load_profile("sluice")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database-tests", action="store_true", help="only tests that use the database")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", default=None):
        # This process runs no tests; its workers inherit its environment, and must read settings of their own.
        del os.environ["DJANGO_SETTINGS_MODULE"]


def pytest_unconfigure() -> None:
    UPSTREAM.close()


def pytest_report_header() -> str:
    return f"database: {DATABASE}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--database-tests"):
        others = [item for item in items if not _uses_database(item)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if _uses_database(item)]
    elsewhere = [item for item in items if not _is_of_this_database(item)]
    config.hook.pytest_deselected(items=elsewhere)
    items[:] = [item for item in items if _is_of_this_database(item)]
    # Playwright keeps an event loop running in the main thread from its first use on, where asyncio.run() and
    # Django's ORM then refuse to work: whatever needs no browser runs before it.
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


def _is_of_this_database(item: pytest.Item) -> bool:
    """Long tests that show the same on both databases run with one of them: pages with SQLite, the rest says which."""
    marker = item.get_closest_marker("only_on")
    if marker is not None:
        return bool(marker.args[0] == DATABASE)
    return item.get_closest_marker("browser") is None or DATABASE == "sqlite"


def _uses_database(item: pytest.Item) -> bool:
    fixtures = {"db", "transactional_db"} & {*getattr(item, "fixturenames", ())}
    return bool(fixtures) or item.get_closest_marker("django_db") is not None


# --- Redis ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def redis_server() -> "Iterator[Redis]":
    """A client to the suite's Redis, which is empty when a test starts."""
    from tests.services.redis import throwaway_redis

    with throwaway_redis(HOME / "redis.sock") as client:
        yield client


@pytest.fixture(autouse=True)
def _empty_redis(redis_server: "Redis") -> None:
    from api.counting import redis_pause
    from chat.admission import breakers

    redis_server.flushall()
    breakers.forget()
    redis_pause.end()


# --- The database ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> Iterator[None]:
    if DATABASE == "postgres":
        with postgres.throwaway_postgres(POSTGRES_HOME):
            yield
    else:
        # A file, not memory: the app's threads each open a connection of their own.
        settings.DATABASES["default"]["TEST"]["NAME"] = str(HOME / "test.sqlite3")
        yield


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    # PostgreSQL's goes with its server; to be dropped it would have to wait for whoever is still connected.
    return DATABASE == "postgres"


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """pytest-django's, but after a test that commits our own way to empty the database, which is quicker."""
    from django.test import TransactionTestCase

    from tests.services.rows import empty_database

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _case: empty_database())
        yield


# --- The simulated upstream and the app, over HTTP ------------------------------------------


@pytest.fixture(scope="session")
def _upstream_server() -> Iterator[live.Changeable]:
    app = live.Changeable()
    with live.serving(app, UPSTREAM):
        yield app


@pytest.fixture
def upstream(_upstream_server: live.Changeable) -> "Upstream":
    """The vendors' stand-in that the settings point at: quick, faultless, and new for each test."""
    from simulator.behaviour import Behaviour, Behaviours
    from simulator.upstream import Upstream

    quick = Behaviour(ttft_ms=5, tokens_per_s=2000, jitter=0, min_words=20, max_words=40)
    _upstream_server.app = simulator = Upstream(Behaviours(openai=quick, gemini=quick), seed=1, slow_answer_s=4)
    return simulator


@pytest.fixture
def live_app(transactional_db: None, upstream: "Upstream", monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The whole app behind uvicorn, on the test's database; gives its base URL.

    What the app writes is committed, so the test sees it; the server ends before the database is flushed.
    """
    from config import asgi

    # An answer that still runs when its test is through is ended, not waited for.
    monkeypatch.setattr(settings, "DRAIN_S", 0.0)
    with live.serving(asgi.application, live.reserve_port()) as url:
        yield url


# --- The browser ----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def base_url() -> None:
    """None: the app's address is known per test. (pytest-playwright's own is a method, which pytest 9.2 warns of.)"""


@pytest.fixture(scope="session")
def playwright(playwright: "Playwright") -> "Iterator[Playwright]":
    # Its sync API keeps an event loop running in this thread, where the ORM refuses to work. Nothing of
    # ours runs in that loop, so the test may use the ORM all the same.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    yield playwright
    # While a loop runs the ORM has connections of its own for it. Once it has stopped nobody finds them any more.
    django.db.connections.close_all()


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    path = find_chromium()
    if path is None:
        pytest.fail('no Chromium on PATH: install one, or leave these tests out with -m "not browser"')
    # Chromium's sandbox needs rights that root and containers have not; the pages are our own.
    args = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    return {**browser_type_launch_args, "executable_path": path, "args": args}


@pytest.fixture
def console_errors() -> list[str]:
    """What the page complained of so far; a test that provokes a complaint reads it and clears the list."""
    return []


@pytest.fixture
def page(live_app: str, page: "Page", console_errors: list[str]) -> "Iterator[Page]":
    """A page on which any console error fails the test: script errors, CSP violations, failed loads.

    It comes after the app and goes before it: a page that outlives its server complains of that.
    """

    def note(message: "ConsoleMessage") -> None:
        if message.type == "error":
            console_errors.append(f"{message.text} ({message.location.get('url', '')})")

    page.on("console", note)
    page.on("pageerror", lambda error: console_errors.append(str(error)))
    yield page
    if not page.is_closed():
        # A round trip brings in what the page has said and Playwright has not told yet.
        page.evaluate("0")
    assert not console_errors
