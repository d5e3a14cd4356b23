from typing import Any

import pytest
from django.test import Client

from rollout.changes import change_rollout
from rollout.models import Evaluation, Rollout, RolloutChange
from tests.metrics.factories import NOW
from tests.rollout.factories import ADA, RolloutFactory
from tests.rollout.steps import ADD, LIST, NAME, filled, page, rollout, saved, staff_with, state, text_of

pytestmark = pytest.mark.django_db


# --- the list ---


def act(client: Client, action: str, *rollouts: Rollout, **fields: Any) -> Any:
    chosen = {"action": action, "_selected_action": [row.pk for row in rollouts or [rollout()]]}
    return client.post(LIST, {**chosen, **fields}, follow=True)


def test_the_list_says_how_each_stands(admin):
    listed = text_of(admin.get(LIST))

    assert "gemini-flash-lite chat-model → gemini-flash-lite On, by percentage 5 % Not enough data" in listed


def test_disabling_asks_first_and_then_disables_with_the_reason(admin):
    asked = act(admin, "disable")
    assert "everyone gets the baseline" in text_of(asked)
    assert state()["enabled"] is True

    done = act(admin, "disable", confirmed="yes", why="An outage")
    assert "1 rollout was changed." in text_of(done)
    assert state()["enabled"] is False
    line = RolloutChange.objects.get()
    assert (line.actor, line.source, line.why) == ("ada", "admin", "An outage")


def test_enable_and_reset_do_what_they_say(admin):
    change_rollout(NAME, {"enabled": False, "percent": 35}, actor=ADA)

    act(admin, "enable")
    assert (state()["enabled"], state()["percent"]) == (True, "35.00")

    act(admin, "reset")
    assert (state()["enabled"], state()["percent"]) == (True, "5.00")


def test_what_cannot_be_enabled_is_told_and_the_rest_is_done(admin):
    change_rollout(NAME, {"enabled": False}, actor=ADA)
    rival = RolloutFactory(name="rival", everyone=False, min_sample=0)

    told = text_of(act(admin, "enable", rollout(), rival))

    assert "“rival”: Ensure this value is greater than or equal to 1." in told
    assert "1 rollout was changed." in told
    assert (rollout().is_on, rollout("rival").is_on) == (True, False)


# --- who may ---


def test_who_may_only_look_can_only_look():
    viewer = staff_with("view_rollout")
    change_rollout(NAME, {"percent": 15}, actor=ADA)

    html = viewer.get(page()).content.decode()
    assert "On, by percentage" in html
    assert "Percentage: 5 % → 15 %" in html
    assert 'name="percent"' not in html
    assert 'name="stages-0-percent"' not in html
    assert "_save" not in html

    assert viewer.post(page(), filled(percent=50)).status_code == 403
    for action in ("enable", "disable", "reset"):
        act(viewer, action, confirmed="yes")
    assert (state()["enabled"], state()["percent"]) == (True, "15.00")


def test_who_may_change_rollouts_may_change_their_ramp_but_make_none():
    changer = staff_with("change_rollout", "view_rollout")
    fields = filled(percent=10, **{"stages-3-percent": "90"})

    assert saved(changer.post(page(), fields))
    assert state()["percent"] == "10.00"
    assert state()["stages"][-1][0] == "90.00"
    assert changer.get(ADD).status_code == 403


def test_staff_without_a_permission_see_nothing():
    nobody = staff_with()

    for path in (LIST, page(), "/admin/rollout/rolloutchange/", "/admin/rollout/evaluation/"):
        assert nobody.get(path).status_code == 403


def test_history_and_evaluations_can_only_be_read(admin):
    change_rollout(NAME, {"percent": 15}, actor=ADA)
    Evaluation.objects.create(
        rollout=NAME, verdict="HOLD", reason="Latency is worse.", percent=5, evidence={}, first_at=NOW, last_at=NOW
    )

    for model, row in (("rolloutchange", RolloutChange.objects.get()), ("evaluation", Evaluation.objects.get())):
        path = f"/admin/rollout/{model}/"
        assert admin.get(path).status_code == 200
        assert admin.get(f"{path}{row.pk}/change/").status_code == 200
        assert admin.post(f"{path}{row.pk}/change/", {"why": "other"}).status_code == 403
        assert admin.post(f"{path}{row.pk}/delete/", {"post": "yes"}).status_code == 403
        assert admin.get(f"{path}add/").status_code == 403
