from datetime import datetime, timedelta

import pytest

from rollout.changes import change_rollout
from rollout.models import RolloutChange
from tests.rollout.factories import ADA
from tests.rollout.steps import NAME, PATH, post, signed_in, state

pytestmark = pytest.mark.django_db


def test_a_change_answers_with_the_new_state(staff):
    answer = post(signed_in(staff), {"geminiFlashLiteEnabled": True, "trafficPercentage": 12.5, "forceModel": NAME})

    assert answer.status_code == 200
    document = answer.json()
    assert datetime.fromisoformat(document.pop("timestamp")).utcoffset() == timedelta(0)
    assert document == {
        "success": True,
        "newConfig": {"geminiFlashLiteEnabled": True, "trafficPercentage": 12.5, "forceModel": NAME},
        "updatedBy": "staff",
    }
    line = RolloutChange.objects.get()
    assert (line.actor, line.source, line.changed_by) == ("staff", "api", staff)
    assert line.changes == {"percent": ["5.00", "12.50"], "forced": [False, True]}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"trafficPercentage": 0}, (True, False, "0.00")),
        ({"trafficPercentage": 100}, (True, False, "100.00")),
        ({"trafficPercentage": 15.0}, (True, False, "15.00")),
        ({"geminiFlashLiteEnabled": False}, (False, False, "5.00")),
        ({"geminiFlashLiteEnabled": False, "forceModel": None}, (False, False, "5.00")),
        ({"forceModel": NAME}, (True, True, "5.00")),
        ({"forceModel": None}, (True, False, "5.00")),
    ],
)
def test_each_field_can_be_changed_alone(staff, body, found):
    assert post(signed_in(staff), body).status_code == 200

    assert (state()["enabled"], state()["forced"], state()["percent"]) == found


def test_null_ends_a_force(staff):
    change_rollout(NAME, {"forced": True}, actor=ADA)

    answer = post(signed_in(staff), {"forceModel": None})

    assert answer.json()["newConfig"]["forceModel"] is None
    assert state()["forced"] is False


BAD_BODIES = {
    "empty": "",
    "no object": "[]",
    "a number": "5",
    "null": "null",
    "text": '"on"',
    "nothing in it": "{}",
    "malformed": '{"trafficPercentage": 5',
    "not UTF-8": b'{"trafficPercentage": 5, "x": "\xff"}',
    "NaN": '{"trafficPercentage": NaN}',
    "Infinity": '{"trafficPercentage": -Infinity}',
    "too large for a float": '{"trafficPercentage": 1e309}',
    "too many digits": f'{{"trafficPercentage": {"9" * 5000}}}',
    "many digits": f'{{"trafficPercentage": {"9" * 4000}}}',
    "deep": "[" * 4000,
    "deep and closed": f'{{"trafficPercentage": {"[" * 2000}{"]" * 2000}}}',
    "a percentage as text": '{"trafficPercentage": "15"}',
    "a percentage as boolean": '{"trafficPercentage": true}',
    "a percentage as null": '{"trafficPercentage": null}',
    "a percentage as list": '{"trafficPercentage": [15]}',
    "above": '{"trafficPercentage": 100.01}',
    "below": '{"trafficPercentage": -0.01}',
    "too fine": '{"trafficPercentage": 12.345}',
    "a switch as number": '{"geminiFlashLiteEnabled": 1}',
    "a switch as text": '{"geminiFlashLiteEnabled": "false"}',
    "a switch as null": '{"geminiFlashLiteEnabled": null}',
    "unknown": '{"trafficPercentage": 15, "everyone": true}',
    "misspelt": '{"trafficpercentage": 15}',
    "unknown with a lone surrogate": '{"\\ud800": 1}',
    "forced, unknown model": '{"trafficPercentage": 15, "forceModel": "gpt-9"}',
    "forced, with a blank": '{"forceModel": " gemini-flash-lite"}',
    "forced, empty": '{"forceModel": ""}',
    "forced, true": '{"forceModel": true}',
    "forced, lone surrogate": '{"forceModel": "\\ud800"}',
    "forced and off": '{"trafficPercentage": 15, "geminiFlashLiteEnabled": false, "forceModel": "gemini-flash-lite"}',
    "one good, one bad": '{"geminiFlashLiteEnabled": false, "trafficPercentage": 101}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_bad_input_is_refused_in_words_and_changes_nothing(staff, body):
    before = state()

    answer = post(signed_in(staff), body)

    assert answer.status_code == 400
    assert answer.json().keys() == {"error", "code"}
    assert answer.json()["error"]
    assert state() == before
    assert not RolloutChange.objects.exists()


def test_a_body_of_megabytes_is_not_read(staff):
    answer = post(signed_in(staff), f'{{"trafficPercentage": 15, "x": "{"x" * 3_000_000}"}}')

    assert answer.status_code == 413
    assert answer.json() == {"error": "The body is too large.", "code": "too_large"}


def test_a_form_is_not_json(staff):
    answer = signed_in(staff).post(PATH, {"trafficPercentage": "15"})

    assert answer.status_code == 415
    assert "error" in answer.json()


def test_forcing_the_baseline_is_called_by_its_name(staff):
    answer = post(signed_in(staff), {"forceModel": "chat-model"})

    assert answer.status_code == 400
    assert "disable the rollout instead" in answer.json()["error"]


def test_a_disabled_rollout_is_not_forced(staff):
    change_rollout(NAME, {"enabled": False}, actor=ADA)

    answer = post(signed_in(staff), {"forceModel": NAME})

    assert answer.status_code == 400
    assert "disabled" in answer.json()["error"]


# --- the schema ---


def test_the_schema_says_what_the_api_does(client, reader):
    schema = client.get("/api/schema/?format=json").json()

    assert PATH in schema["paths"]
    assert f"{PATH}/" not in schema["paths"]
    answers = schema["paths"][PATH]["post"]["responses"]
    assert set(answers) == {"200", "400", "401", "403", "409", "413", "415"}
    fields = schema["components"]["schemas"]["Status"]["properties"]
    assert set(fields) == set(signed_in(reader).get(PATH).json())
