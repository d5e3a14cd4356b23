import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from metrics.admin import BoundedPaginator
from metrics.rollup import roll_up
from tests.chat.factories import UserFactory
from tests.metrics.factories import ModelCallFactory

pytestmark = pytest.mark.django_db

CALLS = "/admin/metrics/modelcall/"


@pytest.fixture
def admin(client: Client) -> Client:
    """A superuser's browser."""
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


def listed(admin: Client, query: dict[str, Any]) -> int:
    answer: Any = admin.get(CALLS, query)
    assert answer.status_code == 200
    return len(answer.context["cl"].result_list)


def test_calls_can_be_filtered_by_what_staff_ask_for(admin):
    now = timezone.now()
    ModelCallFactory.create_batch(2, started_at=now)
    ModelCallFactory(candidate=True, started_at=now)
    ModelCallFactory(candidate=True, failed=True, reason="manual", started_at=now)

    assert listed(admin, {}) == 4
    assert listed(admin, {"arm__exact": "candidate"}) == 2
    assert listed(admin, {"outcome__exact": "error"}) == 1
    assert listed(admin, {"reason": "manual"}) == 1
    assert listed(admin, {"served_model": "chat-model"}) == 2
    assert listed(admin, {"rollout": "no-such-rollout"}) == 0


def test_older_calls_are_listed_where_they_are_asked_for_or_searched(admin):
    now = timezone.now()
    ages = [timedelta(hours=1), timedelta(days=2), timedelta(days=8), timedelta(days=80)]
    calls = [ModelCallFactory(started_at=now - age, unit="a" * 32) for age in ages]

    found = {since: listed(admin, {"since": since}) for since in ("day", "week", "month", "all", "nonsense")}

    assert found == {"day": 1, "week": 2, "month": 3, "all": 4, "nonsense": 2}
    assert listed(admin, {}) == 2
    assert listed(admin, {"q": "a" * 32}) == 4
    assert listed(admin, {"q": str(calls[-1].pk)}) == 1
    assert listed(admin, {"q": "a" * 32, "since": "day"}) == 1
    page = admin.get(CALLS, {"arm__exact": "candidate"}).content.decode()
    assert re.search(r'class="selected">\s*<a href="\?arm__exact=candidate&amp;since=week">7 days', page)


def test_what_calls_are_filtered_by_costs_the_same_however_many_there_are(admin):
    ModelCallFactory.create_batch(2)
    ModelCallFactory(candidate=True, surface="v1")
    roll_up(now=timezone.now())

    with CaptureQueriesContext(connection) as asked:
        page = admin.get(CALLS)

    assert b"?surface=v1" in page.content
    assert b"?served_model=chat-model" in page.content
    assert b"_facets" not in page.content
    read = [query["sql"] for query in asked if 'FROM "metrics_modelcall"' in query["sql"]]
    # One counts them, up to a limit, and one lists them.
    assert ["COUNT" in sql for sql in read] == [True, False]
    assert f"LIMIT {BoundedPaginator.most + 1}" in read[0]


def test_more_calls_than_anybody_pages_through_are_not_counted(admin, monkeypatch):
    ModelCallFactory.create_batch(3, started_at=timezone.now())
    assert b"3 calls" in admin.get(CALLS).content

    monkeypatch.setattr(BoundedPaginator, "most", 2)

    assert b"more than 2 calls" in admin.get(CALLS).content
    assert listed(admin, {"p": 1}) == 3


def test_a_call_is_found_by_its_unit_its_application_and_its_ids_and_nothing_breaks_on_anything_else(admin):
    unit = uuid4().hex
    call = ModelCallFactory(unit=unit, application="sk-sluice-shop")
    ModelCallFactory()

    for term in (unit, "sk-sluice-shop", call.answer_id, call.pk, f"chatcmpl-{call.answer_id.hex}", f" {call.pk} "):
        assert listed(admin, {"q": str(term)}) == 1
    for term in ("%", "_", "'", "no-such-thing", "\x00", "x" * 3000):
        assert listed(admin, {"q": term}) in (0, 2)


def test_a_call_says_in_words_why_it_was_rated_badly(admin):
    call = ModelCallFactory(rating=1, rating_reason="style")

    assert b"Wrong tone or length" in admin.get(f"{CALLS}{call.pk}/change/").content


def test_a_call_can_be_looked_at_and_not_touched(admin):
    call = ModelCallFactory(candidate=True)

    assert admin.get(CALLS).status_code == 200
    assert admin.get(f"{CALLS}{call.pk}/change/").status_code == 200
    assert admin.post(f"{CALLS}{call.pk}/change/", {"arm": "baseline"}).status_code == 403
    assert admin.post(f"{CALLS}{call.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin.get(f"{CALLS}add/").status_code == 403
    assert b"delete_selected" not in admin.get(CALLS).content
