"""The export of calls: the file itself, the command, and the API over real HTTP."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.test import Client

from chat import tokens
from metrics import export
from metrics.export import COLUMNS, ExportRefused, parse_export, write_export
from metrics.models import ModelCall
from metrics.retention import delete_old_calls
from metrics.rollup import roll_up
from tests.chat.factories import UserFactory
from tests.metrics.factories import NOW, ModelCallFactory
from tests.rollout.steps import staff_with

PATH = "/api/v1/calls/export"
FORMULA = '=HYPERLINK("http://evil.example","x")'


def exported(*, since: str | None = None, until: str | None = None, rollout: str | None = None) -> list[dict[str, Any]]:
    """The calls of an export, read back from both formats, which must agree."""
    texts = {}
    for name in export.FORMATS:
        wanted = parse_export(format=name, since=since, until=until, rollout=rollout, now=NOW)
        texts[name] = "".join(write_export(wanted))
    rows = [json.loads(line) for line in texts["jsonl"].splitlines()]
    assert from_csv(texts["csv"]) == [{name: as_cell(value) for name, value in row.items()} for row in rows]
    return rows


def from_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def as_cell(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def ids(rows: list[Any]) -> list[str]:
    return [row["id"] for row in rows]


# --- the file ---


@pytest.mark.django_db
def test_a_call_comes_with_all_its_figures():
    call = ModelCallFactory(
        candidate=True, upstream_model="gemini-3.1", finish_reason="stop", rating=2, rating_reason="slow"
    )

    (row,) = exported()

    assert tuple(row) == COLUMNS
    assert (row["id"], row["answer_id"]) == (str(call.id), str(call.answer_id))
    assert (row["rollout"], row["arm"], row["percent"]) == ("gemini-flash-lite", "candidate", "5.00")
    assert (row["started_at"], row["ended_at"]) == (
        "2026-11-20T11:59:00.000000+00:00",
        "2026-11-20T11:59:02.000000+00:00",
    )
    assert (row["cost_usd"], row["baseline_cost_usd"]) == ("0.000400000000", "0.004000000000")
    assert (row["ttft_ms"], row["input_tokens"], row["is_demo"]) == (200, 300, False)
    assert (row["rating"], row["rating_reason"]) == (2, "slow")


@pytest.mark.django_db
def test_money_keeps_its_last_digit():
    ModelCallFactory(cost_usd=Decimal("1E-12"), baseline_cost_usd=Decimal("123456.789012345678"))

    (row,) = exported()

    assert (row["cost_usd"], row["baseline_cost_usd"]) == ("0.000000000001", "123456.789012345678")


@pytest.mark.django_db
def test_what_is_not_known_is_null_or_an_empty_cell():
    ModelCallFactory(failed=True)

    (row,) = exported()

    for name in ("ttft_ms", "input_tokens", "cost_usd", "baseline_cost_usd", "rating", "http_status"):
        assert row[name] is None


@pytest.mark.django_db
def test_a_pseudonym_is_one_persons_and_not_their_unit(settings):
    ModelCallFactory.create_batch(2, unit="a" * 32)
    ModelCallFactory(unit="b" * 32)

    rows = exported()
    again = exported()
    settings.SECRET_KEY = "another key, of another installation"
    elsewhere = exported()

    units = sorted(row["unit"] for row in rows)
    assert len(set(units)) == 2
    assert units == sorted(row["unit"] for row in again)
    assert not set(units) & {row["unit"] for row in elsewhere}
    assert not [unit for unit in ("a" * 32, "b" * 32) if unit in json.dumps(rows)]


@pytest.mark.django_db
def test_a_providers_error_message_stays_here():
    ModelCallFactory(failed=True, error_detail="your prompt was: my secret")

    assert "secret" not in json.dumps(exported())


@pytest.mark.django_db
@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(start):
    evil = f'{start}cmd|"/c calc",\r\n1'
    ModelCallFactory(upstream_model=evil)
    wanted = parse_export(format="csv", since=None, until=None, rollout=None, now=NOW)

    (row,) = from_csv("".join(write_export(wanted)))

    assert row["upstream_model"] == f"'{evil}"
    (line,) = "".join(
        write_export(parse_export(format="jsonl", since=None, until=None, rollout=None, now=NOW))
    ).splitlines()
    assert json.loads(line)["upstream_model"] == evil


@pytest.mark.django_db
def test_pages_join_without_a_gap_or_a_double(monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(export, "PAGE", 3)
    # Five calls of one moment lie across the end of a page.
    moments = [NOW - timedelta(minutes=minutes) for minutes in (9, 8, 5, 5, 5, 5, 5, 3, 2)]
    calls = [ModelCallFactory(started_at=moment) for moment in moments]
    wanted = parse_export(format="jsonl", since=None, until=None, rollout=None, now=NOW)

    with django_assert_num_queries(4):
        pages = list(export.pages(wanted))

    rows = [row for page in pages for row in page]
    assert [len(page) for page in pages] == [3, 3, 3]
    assert sorted(ids(rows)) == sorted(str(call.id) for call in calls)
    assert [row["started_at"] for row in rows] == sorted(row["started_at"] for row in rows)


@pytest.mark.django_db
def test_calls_that_have_not_ended_are_left_out():
    ModelCallFactory(running=True)
    ended = ModelCallFactory()

    assert ids(exported()) == [str(ended.id)]


@pytest.mark.django_db
def test_an_export_of_nothing_is_a_header_alone():
    wanted = parse_export(format="csv", since=None, until=None, rollout=None, now=NOW)

    assert "".join(write_export(wanted)) == ",".join(COLUMNS) + "\r\n"
    assert exported() == []


# --- what is asked for ---


@pytest.mark.django_db
def test_a_range_holds_its_beginning_and_not_its_end():
    early, inside, _late = (ModelCallFactory(started_at=NOW - timedelta(minutes=ago)) for ago in (30, 20, 10))

    rows = exported(since="2026-11-20T11:30:00Z", until="2026-11-20T12:50:00+01:00")

    assert ids(rows) == [str(early.id), str(inside.id)]


@pytest.mark.django_db
def test_days_are_whole_days_in_the_installations_time_zone(settings):
    settings.TIME_ZONE = "Europe/Berlin"
    # The 25th of October had 25 hours there.
    for moment in ("2026-10-24T21:59Z", "2026-10-24T22:00Z", "2026-10-25T22:59Z", "2026-10-25T23:00Z"):
        ModelCallFactory(started_at=datetime.fromisoformat(moment))

    rows = exported(since="2026-10-25", until="2026-10-25")

    assert [row["started_at"][:16] for row in rows] == ["2026-10-24T22:00", "2026-10-25T22:59"]


@pytest.mark.django_db
def test_a_rollout_is_exported_by_itself():
    ModelCallFactory()
    other = ModelCallFactory(rollout="other")

    assert ids(exported(rollout="other")) == [str(other.id)]


@pytest.mark.django_db
def test_a_rollout_whose_calls_are_deleted_is_known_still():
    ModelCallFactory(rollout="old", started_at=NOW - timedelta(days=200))
    roll_up(now=NOW)
    delete_old_calls(now=NOW, days=90)

    assert ModelCall.objects.count() == 0
    assert exported(rollout="old") == []


BAD = [
    ({"format": "parquet"}, "bad_format"),
    ({"format": ""}, "bad_format"),
    ({"since": "yesterday"}, "bad_time"),
    ({"since": ""}, "bad_time"),
    ({"since": "2026-02-30"}, "bad_time"),
    ({"since": "2026-11-01T12:00:00"}, "bad_time"),
    ({"since": "0001-01-01T00:00:00+14:00"}, "bad_time"),
    ({"until": "9999-12-31"}, "bad_time"),
    ({"since": "2026-11-02", "until": "2026-10-31"}, "bad_time"),
    ({"rollout": "nothing-of-that-name"}, "unknown_rollout"),
    ({"rollout": ""}, "unknown_rollout"),
    ({"rollout": "\0"}, "unknown_rollout"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("asked", "code"), BAD)
def test_what_makes_no_sense_is_refused(asked, code):
    with pytest.raises(ExportRefused) as refusal:
        parse_export(**{"format": "csv", "since": None, "until": None, "rollout": None, "now": NOW, **asked})

    assert refusal.value.code == code


# --- the command ---


@pytest.mark.django_db
def test_the_command_writes_to_standard_output(capsys):
    call = ModelCallFactory()

    call_command("export_calls", "--format", "jsonl", "--from", "2026-11-20", "--to", "2026-11-20")

    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["id"] == str(call.id)


@pytest.mark.django_db
def test_the_command_writes_a_file(tmp_path: Path):
    call = ModelCallFactory(upstream_model='a "name", of\ntwo lines')
    path = tmp_path / "calls.csv"

    call_command("export_calls", "--output", str(path), "--rollout", "gemini-flash-lite")

    (row,) = from_csv(path.read_bytes().decode())
    assert (row["id"], row["upstream_model"]) == (str(call.id), 'a "name", of\ntwo lines')


@pytest.mark.django_db
@pytest.mark.parametrize(
    "options", [["--from", "yesterday"], ["--rollout", "nothing"], ["--format", "parquet"], ["--output", "/nowhere/x"]]
)
def test_the_command_says_what_is_wrong(options):
    with pytest.raises(CommandError):
        call_command("export_calls", *options)


# --- over HTTP ---


@pytest.fixture
def program(live_app: str) -> Iterator[httpx2.Client]:
    """A program with the token of staff who may view calls."""
    viewer = UserFactory(is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_modelcall"))
    _token, text = tokens.create_token(user=viewer)
    with httpx2.Client(base_url=live_app, headers={"Authorization": f"Bearer {text}"}, timeout=30) as client:
        yield client


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", export.FORMATS)
def test_a_program_reads_pages_of_calls_over_http(program: httpx2.Client, name: Any, monkeypatch):
    monkeypatch.setattr(export, "PAGE", 4)
    calls = [ModelCallFactory(started_at=NOW - timedelta(minutes=ago), candidate=ago % 2) for ago in range(11, 0, -1)]

    answer = program.get(PATH, params={"format": name, "from": "2026-11-20", "to": "2026-11-20T13:00:00+01:00"})

    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == f'attachment; filename="calls.{name}"'
    assert answer.headers["cache-control"] == "private, no-store"
    rows = from_csv(answer.text) if name == "csv" else [json.loads(line) for line in answer.text.splitlines()]
    assert ids(rows) == [str(call.id) for call in calls]
    assert not [call.unit for call in calls if call.unit in answer.text]


@pytest.mark.django_db(transaction=True)
def test_a_client_that_leaves_does_no_harm(program: httpx2.Client, monkeypatch):
    monkeypatch.setattr(export, "PAGE", 1)
    ModelCallFactory.create_batch(200)

    with program.stream("GET", PATH) as answer:
        assert next(answer.iter_lines()).startswith("id,")

    assert len(from_csv(program.get(PATH).text)) == 200


@pytest.mark.django_db
@pytest.mark.parametrize(("asked", "code"), BAD)
def test_a_refusal_over_http_is_json(asked, code):
    names = {"since": "from", "until": "to"}
    answer = staff_with("view_modelcall").get(PATH, {names.get(name, name): value for name, value in asked.items()})

    assert answer.status_code == 400
    assert answer.json()["code"] == code
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"]


@pytest.mark.django_db
def test_only_staff_who_may_view_calls_get_them(client: Client):
    stranger = client.get(PATH)
    assert (stranger.status_code, stranger.json()["code"]) == (401, "not_authenticated")
    for refused in (staff_with().get(PATH), staff_with("change_rollout").get(PATH)):
        assert refused.status_code == 403
        assert refused.json() == {
            "type": "/api/problems#not-allowed",
            "title": "This account may not do that",
            "status": 403,
            "detail": "Only staff who may view model calls can do this.",
            "code": "permission_denied",
        }


@pytest.mark.django_db
def test_nothing_but_reading_is_possible():
    answer = staff_with("view_modelcall").post(PATH)

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
