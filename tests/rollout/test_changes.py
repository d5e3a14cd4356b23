import threading
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction

from rollout.changes import RESET, ChangeRefused, RolloutNotFound, VersionConflict, change_rollout, parse_percent
from rollout.defaults import RAMP
from rollout.models import Rollout, RolloutChange
from rollout.pilot import tick
from rollout.services import route
from tests.chat.factories import UserFactory
from tests.metrics.factories import NOW
from tests.rollout.factories import ADA
from tests.rollout.steps import NAME, state


def change(changes: dict[str, Any], **options: Any) -> Rollout:
    return change_rollout(NAME, changes, actor=ADA, now=NOW, **options)


@pytest.mark.parametrize(
    ("given", "percent"),
    [(15, "15.00"), (0, "0.00"), (100, "100.00"), (12.34, "12.34"), (0.1, "0.10"), (" 7.5 ", "7.50"), ("-0", "0.00")],
)
def test_a_percentage_is_taken_exactly(given, percent):
    assert str(parse_percent(given)) == percent


@pytest.mark.parametrize(
    "given",
    [
        True,
        None,
        [15],
        -1,
        101,
        100.001,
        12.345,
        1e-9,
        float("nan"),
        float("inf"),
        10**5000,
        Decimal("NaN"),
        "",
        "nan",
        "1e1",
        "1_0",
        "٥",
        "0x5",
        "5" * 5000,
    ],
    ids=lambda given: repr(given)[:12] if not isinstance(given, int) else str(given)[:12] if given < 1000 else "huge",
)
def test_what_is_no_percentage_is_refused(given):
    with pytest.raises(ChangeRefused) as refused:
        parse_percent(given)

    assert refused.value.field == "percent"


@pytest.mark.django_db
def test_a_change_is_written_with_who_when_where_what_and_why():
    user = UserFactory(username="ada")
    actor = ADA.__class__(name="ada", source="admin", user_id=user.pk)

    change_rollout(NAME, {"percent": 15, "staff": True}, actor=actor, why="A quiet week", now=NOW)

    line = RolloutChange.objects.get()
    assert line.changes == {"percent": ["5.00", "15.00"], "staff": [False, True]}
    assert (line.actor, line.source, line.changed_by, line.changed_at) == ("ada", "admin", user, NOW)
    assert line.why == "A quiet week"


@pytest.mark.django_db
def test_history_outlives_the_account():
    user = UserFactory(username="ada")
    change_rollout(NAME, {"percent": 15}, actor=ADA.__class__(name="ada", source="api", user_id=user.pk))

    user.delete()

    assert RolloutChange.objects.get().actor == "ada"


@pytest.mark.django_db
def test_nothing_to_change_leaves_no_line_and_no_new_version():
    change({"percent": 15})
    before = Rollout.objects.get(name=NAME)

    after = change({"percent": "15.00", "enabled": True})

    assert after.version == before.version
    assert Rollout.objects.get(name=NAME).version == before.version
    assert RolloutChange.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"percent": 50, "enabled": False, "forced": True}, "forced"),
        ({"percent": 50, "min_sample": 0}, "min_sample"),
        ({"percent": 50, "max_error_increase": Decimal(101)}, "max_error_increase"),
        ({"staff": True, "percent": 101}, "percent"),
        ({"percent": 50, "everyone": True}, "everyone"),
        ({"percent": 50, "stages": [{"percent": 15}, {"percent": 15}]}, "stages"),
    ],
)
def test_a_refused_change_changes_nothing(changes, field):
    before = state()

    with pytest.raises(ChangeRefused) as refused:
        change(changes)

    assert refused.value.field == field
    assert state() == before
    assert not RolloutChange.objects.exists()


@pytest.mark.django_db
def test_disabling_ends_a_force_and_enabling_does_not_bring_it_back():
    change({"forced": True})
    assert (state()["enabled"], state()["forced"]) == (True, True)

    change({"enabled": False})
    assert (state()["enabled"], state()["forced"]) == (False, False)

    change({"enabled": True})
    assert (state()["enabled"], state()["forced"]) == (True, False)


@pytest.mark.django_db
def test_a_disabled_rollout_is_forced_only_when_it_is_enabled_in_the_same_change():
    change({"enabled": False})

    with pytest.raises(ChangeRefused):
        change({"forced": True})
    change({"enabled": True, "forced": True})

    assert state()["forced"]


@pytest.mark.django_db
def test_a_percentage_can_be_set_while_the_rollout_is_off():
    change({"enabled": False})
    change({"percent": 35})

    assert (state()["enabled"], state()["percent"]) == (False, "35.00")


@pytest.mark.django_db
def test_reset_goes_back_to_the_beginning_and_keeps_the_testers():
    change({"percent": 35, "forced": True, "staff": True})

    change(dict(RESET))

    found = state()
    assert (found["enabled"], found["forced"], found["percent"], found["staff"]) == (True, False, "5.00", True)


@pytest.mark.django_db
def test_somebody_elses_change_in_between_is_not_overwritten():
    seen = Rollout.objects.get(name=NAME).version
    change({"enabled": False})

    with pytest.raises(VersionConflict) as refused:
        change({"enabled": True, "percent": 35}, expected_version=seen)

    assert refused.value.code == "conflict"
    assert (state()["enabled"], state()["percent"]) == (False, "5.00")


@pytest.mark.django_db
def test_testers_and_the_ramp_are_replaced_whole():
    first, second = UserFactory(username="ada"), UserFactory(username="bob")
    group = Group.objects.create(name="beta")
    change({"users": [first], "groups": [group]})

    change({"users": [second], "stages": [{"percent": 10, "min_days": 1, "min_sample": 5}, {"percent": "50.5"}]})

    assert state()["users"] == ["bob"]
    assert state()["groups"] == ["beta"]
    assert state()["stages"] == [["10.00", 1, 5, 20, False], ["50.50", 7, 100, 20, False]]
    assert RolloutChange.objects.latest("id").changes["users"] == [["ada"], ["bob"]]


@pytest.mark.django_db
def test_a_ramp_that_stays_keeps_its_rows():
    stages = Rollout.objects.get(name=NAME).stages
    before = list(stages.values_list("pk", flat=True))

    change({"percent": 15, "stages": RAMP})

    assert list(stages.values_list("pk", flat=True)) == before


@pytest.mark.django_db
def test_assigning_everyone_anew_is_recorded():
    before = state()["salt"]

    change({"rerandomise": True})

    assert state()["salt"] != before
    assert RolloutChange.objects.get().changes == {"salt": [before, state()["salt"]]}


@pytest.mark.django_db
def test_a_rollout_that_there_is_not_cannot_be_changed():
    with pytest.raises(RolloutNotFound):
        change_rollout("nobody", {"percent": 5}, actor=ADA)


@pytest.mark.django_db(transaction=True)
def test_changes_at_the_same_moment_each_leave_their_line():
    start = threading.Barrier(4)

    def set_traffic(percent: int) -> None:
        start.wait()
        change_rollout(NAME, {"percent": percent}, actor=ADA)
        connection.close()

    threads = [threading.Thread(target=set_traffic, args=(percent,)) for percent in (10, 20, 30, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    steps = [line.changes["percent"] for line in RolloutChange.objects.order_by("id")]
    assert [old for old, _new in steps] == ["5.00", *(new for _old, new in steps[:-1])]
    assert state()["percent"] == steps[-1][1]
    assert Rollout.objects.get(name=NAME).version == 5


# --- retirement ---


@pytest.mark.django_db
def test_a_rollout_is_retired_when_it_is_off_and_then_takes_no_requests_and_keeps_its_history():
    with pytest.raises(ChangeRefused, match="is off"):
        change({"is_retired": True})
    change({"enabled": False})
    assert route(requested_model="chat-model", unit="u").reason == "disabled"

    change({"is_retired": True})

    assert route(requested_model="chat-model", unit="u").reason == "not_in_rollout"
    assert tick(clock=lambda: NOW) == 0
    assert [line.changes["is_retired"] for line in RolloutChange.objects.all()[:1]] == [[False, True]]
    with pytest.raises(ChangeRefused, match="out of retirement"):
        change({"enabled": True})
    change({"is_retired": False, "enabled": True})
    assert route(requested_model="chat-model", unit="u").reason == "percentage"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE rollout_rollout SET ramp_state = 'pending'",
        "UPDATE rollout_rollout SET ramp_state = 'rolled_back'",
        "UPDATE rollout_rollout SET is_retired = true",
        "UPDATE rollout_rollout SET everyone = false",
    ],
)
def test_state_and_switch_can_not_disagree_past_us_either(statement):
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
