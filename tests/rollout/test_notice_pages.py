"""Where notices go, and what became of them, in admin."""

import json
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from rollout.deliveries import deliver_due
from rollout.models import Delivery, NoticeTarget
from tests.chat.factories import UserFactory
from tests.metrics.factories import NOW
from tests.rollout.notice_steps import target, tell
from tests.rollout.steps import NAME, rollout, staff_with, text_of

TARGETS = "/admin/rollout/noticetarget/"


def typed(**fields: Any) -> dict[str, Any]:
    return {"rollout": rollout().pk, "channel": "webhook", "address": "https://1.1.1.1/x", "is_on": "on", **fields}


@pytest.mark.django_db
def test_a_target_is_added_tested_and_shows_what_became_of_it(admin, receiver):
    admin.post(f"{TARGETS}add/", typed(address=f"{receiver.url}/verysecret", note="On call"))
    hook = NoticeTarget.objects.get()
    assert "verysecret" not in text_of(admin.get(TARGETS))

    page = admin.post(f"{TARGETS}{hook.pk}/test/", follow=True)
    assert "A test notice is on its way" in text_of(page)
    deliver_due(clock=timezone.now)

    assert json.loads(receiver.taken[0][2])["event"] == "test"
    shown = text_of(admin.get(f"{TARGETS}{hook.pk}/change/"))
    assert "test sent 1" in shown
    assert hook.secret in shown


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"address": "https://127.0.0.1/x"}, "has an address that is not public"),
        ({"address": "http://1.1.1.1/x"}, "must begin with https://"),
        ({"address": "https://ada:word@1.1.1.1/"}, "no user name and no password"),
        ({"address": "https://no-such-host.invalid/"}, "can't be found"),
        ({"channel": "email", "address": "nobody"}, "Enter a valid email address"),
    ],
)
def test_an_address_that_nothing_can_be_sent_to_is_refused_and_stays_typed(admin, fields, told):
    answer = admin.post(f"{TARGETS}add/", typed(**fields))

    assert told in text_of(answer)
    assert fields["address"] in answer.content.decode()
    assert not NoticeTarget.objects.exists()


@pytest.mark.django_db
def test_who_may_not_steer_sees_no_targets():
    hook = target("https://1.1.1.1/x")
    client = staff_with("view_rollout", "view_noticetarget")

    for path in (TARGETS, f"{TARGETS}add/", f"{TARGETS}{hook.pk}/change/"):
        assert client.get(path).status_code == 403
    assert client.post(f"{TARGETS}{hook.pk}/test/").status_code == 403
    assert not Delivery.objects.exists()


@pytest.mark.django_db
def test_viewers_see_what_was_told_and_no_address():
    target("https://1.1.1.1/verysecret")
    tell()
    shown = text_of(staff_with("view_rollout").get(f"/admin/rollout/delivery/?rollout={NAME}"))

    assert "held webhook" in shown
    assert "verysecret" not in shown
    assert staff_with().get("/admin/rollout/delivery/").status_code == 403


@pytest.mark.django_db
def test_a_target_that_is_off_is_not_tested(admin):
    hook = target("https://1.1.1.1/x", is_on=False)

    assert "is off" in text_of(admin.post(f"{TARGETS}{hook.pk}/test/", follow=True))
    assert not Delivery.objects.exists()
    assert admin.get(f"{TARGETS}{hook.pk}/test/").status_code == 405


@pytest.mark.django_db
def test_a_test_notice_needs_the_pages_own_token():
    hook = target("https://1.1.1.1/x")
    client = Client(enforce_csrf_checks=True)
    client.force_login(UserFactory(is_staff=True, is_superuser=True))

    assert client.post(f"{TARGETS}{hook.pk}/test/").status_code == 403
    assert not Delivery.objects.exists()


@pytest.mark.django_db
def test_a_rollouts_page_leads_to_its_own_deliveries(admin):
    target("ada@example.com", channel="email")
    tell("Of this one.")
    Delivery.objects.create(
        rollout="another", event="held", channel="email", target="eve@example.com", key="k", message={}, created_at=NOW
    )

    page = admin.get(f"/admin/rollout/rollout/{rollout().pk}/change/").content.decode()
    path = f"/admin/rollout/delivery/?rollout={NAME}"
    assert path in page
    shown = text_of(admin.get(path))
    assert "ada@example.com" in shown
    assert "eve@example.com" not in shown
