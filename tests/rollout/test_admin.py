import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse

from chat.models import User
from rollout.changes import change_rollout
from rollout.models import Rollout, RolloutChange
from tests.chat.factories import UserFactory
from tests.metrics.factories import NOW
from tests.rollout.factories import ADA
from tests.rollout.steps import ADD, LIST, NAME, filled, page, rollout, saved, stage_fields, state, text_of

pytestmark = pytest.mark.django_db


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


def test_somebody_elses_change_of_the_ramp_is_called_by_its_name_too(admin):
    fields = filled(percent="35")
    change_rollout(NAME, {"stages": [{"percent": 50}]}, actor=ADA)

    answer = admin.post(page(), fields)

    assert "The rollout was changed by somebody else in the meantime." in text_of(answer)
    assert state()["percent"] == "5.00"


def test_a_page_that_names_no_version_is_not_saved(admin):
    fields = filled(percent=35)
    del fields["expected_version"]

    assert not saved(admin.post(page(), fields))
    assert state()["percent"] == "5.00"


def test_a_refusal_at_the_very_end_is_an_error_on_the_form(admin):
    answer = admin.post(page(), filled(percent=35, why="mine", **{"stages-1-percent": "5"}))

    assert answer.status_code == 200
    assert "Each stage must have a higher percentage than the one before." in text_of(answer)
    assert 'name="why" value="mine"' in answer.content.decode()
    assert state()["percent"] == "5.00"


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
        ({"priority": "-1"}, "priority"),
    ],
)
def test_a_new_rollout_that_makes_no_sense_is_shown_with_its_error(admin, changes, field):
    answer = admin.post(ADD, new(why="mine", **changes))

    assert answer.status_code == 200
    assert set(answer.context["adminform"].form.errors) == {field}
    assert 'name="why" value="mine"' in answer.content.decode()
    assert Rollout.objects.count() == 1
