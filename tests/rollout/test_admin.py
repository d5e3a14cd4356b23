import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from chat.models import User
from rollout.changes import change_rollout, describe
from rollout.models import Evaluation, Rollout, RolloutChange
from tests.chat.factories import UserFactory
from tests.metrics.factories import NOW
from tests.rollout.factories import ADA, RolloutFactory

pytestmark = pytest.mark.django_db

NAME = "gemini-flash-lite"
LIST = "/admin/rollout/rollout/"
ADD = f"{LIST}add/"


@pytest.fixture
def admin(client: Client) -> Client:
    """A superuser's browser."""
    client.force_login(UserFactory(username="ada", is_staff=True, is_superuser=True))
    return client


def staff_with(*permissions: str) -> Client:
    user = UserFactory(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def rollout(name: str = NAME) -> Any:
    return Rollout.objects.get(name=name)


def state(name: str = NAME) -> dict[str, Any]:
    return describe(rollout(name))


def page(name: str = NAME) -> str:
    return reverse("admin:rollout_rollout_change", args=[rollout(name).pk])


def filled(**changes: Any) -> dict[str, Any]:
    """The default rollout's page, filled in as it is shown, with some fields typed over."""
    current = rollout()
    stages = list(current.stages.order_by("position"))
    fields: dict[str, Any] = {
        "state": "percentage",
        "percent": current.percent,
        "why": "",
        "expected_version": current.version,
        "languages": current.languages,
        "latency_target_ms": current.latency_target_ms,
        "min_cost_reduction": current.min_cost_reduction,
        "max_error_increase": current.max_error_increase,
        "min_sample": current.min_sample,
        "note": current.note,
        "stages-TOTAL_FORMS": len(stages),
        "stages-INITIAL_FORMS": len(stages),
    }
    for index, stage in enumerate(stages):
        fields |= stage_fields(index, stage.percent, pk=stage.pk)
    return {**fields, **changes}


def stage_fields(index: int, percent: Any, *, pk: int | None = None) -> dict[str, Any]:
    return {
        f"stages-{index}-id": pk or "",
        f"stages-{index}-rollout": rollout().pk,
        f"stages-{index}-percent": percent,
        f"stages-{index}-min_days": 7,
        f"stages-{index}-min_sample": 100,
    }


def text_of(answer: Any) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode())))


def saved(answer: Any) -> bool:
    return bool(answer.status_code == 302)


# --- the page ---


def test_the_page_shows_the_state_in_words_and_hides_what_must_stay_off(admin):
    html = admin.get(page()).content.decode()

    for words in ("On, by percentage", "Forced for everyone", "Off"):
        assert words in html
    for field in ("everyone", "testing", "authenticated", "rollout", "name", "baseline", "candidate"):
        assert f' name="{field}"' not in html


def test_each_field_has_a_label(admin):
    html = admin.get(page()).content.decode()
    form = html[html.index('id="rollout_form"') :]

    for tag in re.findall(r"<(?:input|select|textarea)\b[^>]*>", form):
        if re.search(r'type="(hidden|submit)"', tag):
            continue
        named = re.search(r'\bid="([^"]+)"', tag)
        assert 'aria-label="' in tag or (named and f'for="{named[1]}"' in form), tag


def test_nothing_on_the_page_needs_an_inline_style_or_script(admin):
    for path in (page(), LIST, ADD):
        html = admin.get(path).content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)", html)
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", html)


def test_saving_is_a_change_like_any_other(admin):
    tester, group = UserFactory(username="bob"), Group.objects.create(name="beta")

    answer = admin.post(
        page(), filled(percent="12.5", why="A quiet week", staff="on", users=[tester.pk], groups=[group.pk])
    )

    assert saved(answer)
    line = RolloutChange.objects.get()
    assert line.changes == {
        "percent": ["5.00", "12.50"],
        "staff": [False, True],
        "users": [[], ["bob"]],
        "groups": [[], ["beta"]],
    }
    assert (line.actor, line.source, line.changed_by, line.why) == (
        "ada",
        "admin",
        User.objects.get(username="ada"),
        "A quiet week",
    )


@pytest.mark.parametrize(("word", "everyone"), [("percentage", None), ("forced", True), ("off", False)])
def test_each_state_can_be_chosen(admin, word, everyone):
    change_rollout(NAME, {"enabled": everyone is False}, actor=ADA)

    assert saved(admin.post(page(), filled(state=word)))
    assert rollout().everyone is everyone


def test_saving_without_a_change_leaves_no_line(admin):
    assert saved(admin.post(page(), filled()))

    assert not RolloutChange.objects.exists()
    assert rollout().version == 1


def test_the_ramp_is_saved_in_order_with_the_rest(admin):
    fields = filled(percent=10, **stage_fields(4, "50"))
    fields |= {"stages-TOTAL_FORMS": 5, "stages-1-percent": "20", "stages-2-DELETE": "on"}

    assert saved(admin.post(page(), fields))

    assert [stage[0] for stage in state()["stages"]] == ["5.00", "20.00", "50.00", "100.00"]
    assert RolloutChange.objects.get().changes.keys() == {"percent", "stages"}


@pytest.mark.parametrize("percent", ["101", "-1", "nan", "inf", "1e309", "12.345", "abc", "", "5" * 5000])
def test_no_percentage_is_an_error_on_its_field(admin, percent):
    answer = admin.post(page(), filled(percent=percent, why="mine"))

    assert answer.status_code == 200
    assert "percent" in answer.context["adminform"].form.errors
    assert state()["percent"] == "5.00"
    assert not RolloutChange.objects.exists()


def test_somebody_elses_change_is_shown_and_what_was_typed_is_kept(admin):
    fields = filled(percent="35", why="mine", **{"stages-3-percent": "90"})
    change_rollout(NAME, {"enabled": False}, actor=ADA, why="An outage")

    answer = admin.post(page(), fields)

    html = answer.content.decode()
    assert answer.status_code == 200
    assert "The rollout was changed by somebody else in the meantime." in html
    for typed in ('name="percent" value="35"', 'name="why" value="mine"', 'name="stages-3-percent" value="90"'):
        assert typed in html
    assert "Enabled: yes → no" in html
    assert "An outage" in html
    assert (state()["enabled"], state()["percent"]) == (False, "5.00")
    assert not saved(admin.post(page(), fields))


def test_a_page_that_names_no_version_is_not_saved(admin):
    fields = filled(percent=35)
    del fields["expected_version"]

    assert not saved(admin.post(page(), fields))
    assert state()["percent"] == "5.00"


def test_a_refusal_at_the_very_end_is_an_error_on_the_form(admin):
    change_rollout(NAME, {"enabled": False}, actor=ADA)
    RolloutFactory(name="rival", baseline="chat-model", candidate="chat-model-reasoning")

    answer = admin.post(page(), filled(percent=35, why="mine"))

    assert answer.status_code == 200
    assert "Another rollout of the same baseline model is on. Disable it first." in text_of(answer)
    assert 'name="why" value="mine"' in answer.content.decode()
    assert (state()["enabled"], state()["percent"]) == (False, "5.00")


def test_the_history_is_on_the_page_and_behind_its_button(admin):
    change_rollout(NAME, {"percent": 15}, actor=ADA, why="<b>ready</b>", now=NOW)
    change_rollout(NAME, {"forced": True}, actor=ADA, now=NOW + timedelta(hours=1))

    html = admin.get(page()).content.decode()
    assert html.index("Forced for everyone: no → yes") < html.index("Percentage: 5 % → 15 %")
    assert "ada (command line)" in html
    assert "&lt;b&gt;ready&lt;/b&gt;" in html

    history = admin.get(reverse("admin:rollout_rollout_history", args=[rollout().pk]), follow=True)
    assert "Percentage: 5 % → 15 %" in text_of(history)


def test_a_rollout_that_there_is_not_is_told(admin):
    for path in (f"{LIST}999/change/", f"{LIST}999/history/"):
        assert "doesn’t exist" in text_of(admin.get(path, follow=True))


def test_a_rollout_is_not_deleted(admin):
    assert admin.post(reverse("admin:rollout_rollout_delete", args=[rollout().pk]), {"post": "yes"}).status_code == 403
    assert rollout()


# --- a new one ---


def new(**changes: Any) -> dict[str, Any]:
    fields = filled(percent=5, state="off", expected_version=1)
    fields |= {"stages-TOTAL_FORMS": 0, "stages-INITIAL_FORMS": 0}
    return {**fields, "name": "second", "baseline": "chat-model", "candidate": "chat-model-reasoning", **changes}


def test_a_new_rollout_offers_the_catalogue_and_begins_closed(admin):
    html = admin.get(ADD).content.decode()

    assert '<option value="gemini-flash-lite">' in html
    assert '<option value="off" selected>' in html


def test_a_new_rollout_is_made_with_its_history(admin):
    assert saved(admin.post(ADD, new(why="To compare")))

    assert [stage[0] for stage in state("second")["stages"]] == ["5.00", "15.00", "35.00", "100.00"]
    line = RolloutChange.objects.get()
    assert (line.rollout, line.actor, line.source, line.why) == ("second", "ada", "admin", "To compare")
    assert admin.get(page("second")).status_code == 200


def test_a_new_rollout_can_have_a_ramp_of_its_own(admin):
    stages = {**stage_fields(0, "50"), **stage_fields(1, "10"), "stages-TOTAL_FORMS": 2}
    for index in range(2):
        stages[f"stages-{index}-rollout"] = ""

    assert saved(admin.post(ADD, new(**stages)))
    assert [stage[0] for stage in state("second")["stages"]] == ["10.00", "50.00"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": NAME}, "name"),
        ({"name": "two words"}, "name"),
        ({"baseline": "no-such-model"}, "baseline"),
        ({"candidate": ""}, "candidate"),
        ({"candidate": "chat-model"}, "__all__"),
        ({"state": "percentage"}, "__all__"),
    ],
)
def test_a_new_rollout_that_makes_no_sense_is_shown_with_its_error(admin, changes, field):
    answer = admin.post(ADD, new(why="mine", **changes))

    assert answer.status_code == 200
    assert set(answer.context["adminform"].form.errors) == {field}
    assert 'name="why" value="mine"' in answer.content.decode()
    assert Rollout.objects.count() == 1


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
    rival = RolloutFactory(name="rival", baseline="chat-model", candidate="chat-model-reasoning", everyone=False)

    told = text_of(act(admin, "enable", rollout(), rival))

    assert "“rival”: Another rollout of the same baseline model is on." in told
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
