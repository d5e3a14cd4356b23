import json
import logging
import sys
from typing import Any

import pytest

from config.logs import JsonFormatter, LineFormatter, choose_format

FORGED = "2026-11-24 12:00:00,000 INFO root You have been paid"
HOSTILE = f"good\r\n{FORGED}\x1b[31m\u2028\x85\ud800 end"


def record(message: str, *args: object, exc_info: Any = None, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("chat.services", logging.INFO, __file__, 1, message, args, exc_info)
    vars(made).update(fields)
    return made


def raised(message: str) -> Any:
    try:
        raise ValueError(message)
    except ValueError:
        return sys.exc_info()


@pytest.mark.parametrize("wanted", ["text", "json"])
@pytest.mark.parametrize("terminal", [True, False])
def test_a_format_that_is_asked_for_is_taken_wherever_the_lines_go(wanted: str, terminal: bool):
    assert choose_format(wanted, terminal=terminal) == wanted


def test_by_itself_a_terminal_gets_text_and_a_collector_json():
    assert choose_format("auto", terminal=True) == "text"
    assert choose_format("auto", terminal=False) == "json"


def test_a_json_line_says_when_who_what_and_each_field():
    made = record("Model routing: %s → %s", "a", "b", call_id="7", ttft_ms=120, ok=True, arm=None)
    made.created = 1_795_521_600.25

    assert json.loads(JsonFormatter().format(made)) == {
        "time": "2026-11-24T12:00:00.250+00:00",
        "level": "INFO",
        "logger": "chat.services",
        "message": "Model routing: a → b",
        "call_id": "7",
        "ttft_ms": 120,
        "ok": True,
        "arm": None,
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {"a": 1}, b"\xff", logging])
def test_a_value_that_json_does_not_have_becomes_text(value: object):
    said = json.loads(JsonFormatter().format(record("x", value=value)), parse_constant=pytest.fail)

    assert said["value"] == str(value)


def test_a_field_that_is_named_like_one_of_ours_keeps_both():
    said = json.loads(JsonFormatter().format(record("the message", level="deep", time="late")))

    assert (said["level"], said["level_"], said["time_"]) == ("INFO", "deep", "late")


@pytest.mark.parametrize("formatter", [LineFormatter(), JsonFormatter()])
def test_no_value_can_forge_a_line_or_drive_a_terminal(formatter: logging.Formatter):
    line = formatter.format(record("%s", HOSTILE, field=HOSTILE))

    assert len(line.splitlines()) == 1
    assert line.isprintable()


def test_in_json_hostile_text_comes_back_as_it_was():
    assert json.loads(JsonFormatter().format(record("%s", HOSTILE)))["message"] == HOSTILE


def test_in_json_a_traceback_is_one_field():
    line = JsonFormatter().format(record("It failed", exc_info=raised(HOSTILE)))

    said = json.loads(line)
    assert len(line.splitlines()) == 1
    assert said["message"] == "It failed"
    assert said["exception"].startswith("Traceback")
    assert FORGED in said["exception"]


def test_in_text_no_line_of_a_traceback_looks_like_an_event():
    first, *rest = LineFormatter().format(record("It failed", exc_info=raised(HOSTILE))).splitlines()

    assert first.endswith("chat.services It failed")
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    assert any(FORGED in line for line in rest)


def test_in_text_the_fields_follow_the_message():
    assert (
        LineFormatter()
        .format(record("Routed", call_id="7", arm="candidate"))
        .endswith("INFO chat.services Routed call_id=7 arm=candidate")
    )
