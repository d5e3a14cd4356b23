from typing import Any

import pytest
from django.test import Client

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
    ModelCallFactory.create_batch(2)
    ModelCallFactory(candidate=True)
    ModelCallFactory(candidate=True, failed=True, reason="manual")

    assert listed(admin, {}) == 4
    assert listed(admin, {"arm__exact": "candidate"}) == 2
    assert listed(admin, {"outcome__exact": "error"}) == 1
    assert listed(admin, {"reason": "manual"}) == 1
    assert listed(admin, {"served_model": "chat-model"}) == 2
    assert listed(admin, {"rollout": "no-such-rollout"}) == 0


def test_a_call_is_found_by_its_unit_and_its_ids_and_nothing_breaks_on_anything_else(admin):
    call = ModelCallFactory(unit="ada")
    ModelCallFactory()

    for term in ("ada", call.answer_id, call.pk):
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
