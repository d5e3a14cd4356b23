"""A rollout's history over REST: pages of it, and all of it as CSV."""

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from rollout.changes import change_rollout
from tests.metrics.factories import NOW
from tests.rollout.factories import ADA
from tests.rollout.steps import NAME, staff_with

PATH = f"/api/v1/rollouts/{NAME}/history"

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer() -> Client:
    return staff_with("view_rollout")


def changed(percent: float, minutes: int = 0) -> None:
    change_rollout(NAME, {"percent": percent}, actor=ADA, now=NOW + timedelta(minutes=minutes))


def rows(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))


def test_a_line_says_who_what_when_from_where_and_why(viewer):
    change_rollout(NAME, {"percent": 15, "latency_margin": 7}, actor=ADA, why="a quiet week", now=NOW)

    (line,) = viewer.get(PATH).json()["results"]

    assert line.pop("id")
    assert line == {
        "changedAt": "2026-11-20T12:00:00Z",
        "version": 2,
        "actor": "ada",
        "source": "cli",
        "approvedBy": "",
        "why": "a quiet week",
        "changes": {"percent": ["5.00", "15.00"], "latencyMargin": ["10.00", "7.00"]},
        "evidence": {},
    }


def test_pages_go_from_new_to_old_without_a_gap_or_a_double(viewer):
    # Sixty changes, ten of each moment: a page ends within one.
    for number in range(60):
        changed(number / 4 + 10, minutes=number // 10)

    first = viewer.get(PATH).json()
    changed(99, minutes=100)
    second = viewer.get(first["next"]).json()

    versions = [line["version"] for line in [*first["results"], *second["results"]]]
    assert versions == list(range(61, 1, -1))
    assert second["next"] is None


def test_the_history_is_of_one_rollout(viewer):
    new = {"name": "second", "baseline": "chat-model-reasoning", "candidate": "gemini-flash-lite"}
    staff_with("view_rollout", "add_rollout").post("/api/v1/rollouts", new, content_type="application/json")

    assert viewer.get(PATH).json()["results"] == []
    (line,) = viewer.get(PATH.replace(NAME, "second")).json()["results"]
    assert line["changes"]["baseline"] == [None, "chat-model-reasoning"]


def test_as_csv_it_is_whole_and_has_a_row_for_each_field(viewer):
    for number in range(60):
        changed(number + 10, minutes=number)
    change_rollout(NAME, {"watch_only": ["cost"], "note": "b", "superusers": True}, actor=ADA, now=NOW + timedelta(1))

    answer = viewer.get(f"{PATH}?format=csv")

    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == f'attachment; filename="{NAME}-history.csv"'
    found = rows(answer)
    assert len(found) == 63
    assert {(row["field"], row["old"], row["new"]) for row in found[:3]} == {
        ("watchOnly", "[]", '["cost"]'),
        ("note", "", "b"),
        ("superusers", "false", "true"),
    }
    assert (found[3]["field"], found[3]["old"], found[3]["new"]) == ("percent", "68.00", "69.00")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(viewer, start):
    evil = f'{start}cmd|"/c calc",1'
    change_rollout(NAME, {"note": evil}, actor=ADA, why=evil, now=NOW)

    (row,) = rows(viewer.get(f"{PATH}?format=csv"))

    assert (row["why"], row["new"]) == (f"'{evil}", f"'{evil}")
    assert viewer.get(PATH).json()["results"][0]["why"] == evil


def test_an_accept_header_will_do(viewer):
    assert viewer.get(PATH, headers={"Accept": "text/csv"})["Content-Type"] == "text/csv; charset=utf-8"


def test_nothing_yet_is_an_empty_page_and_a_heading(viewer):
    assert viewer.get(PATH).json() == {"next": None, "previous": None, "results": []}
    assert viewer.get(f"{PATH}?format=csv").content.decode().startswith("id,changedAt,version,actor")
    assert json.loads(viewer.get(f"{PATH}?format=json").content)["results"] == []


def test_lines_are_never_changed_over_rest():
    operator = staff_with("view_rollout", "change_rollout")

    for method in (operator.post, operator.patch, operator.put, operator.delete):
        assert method(PATH).status_code == 405
