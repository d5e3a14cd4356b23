"""Every error under /api/v1/ is a problem document, whatever went wrong."""

import re
from typing import Any

import pytest
from django.test import Client

from api.problems import KINDS
from chat import tokens
from tests.chat.factories import UserFactory
from tests.rollout.steps import NAME, staff_with

ONE = f"/api/v1/rollouts/{NAME}"

pytestmark = pytest.mark.django_db


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The document, which is one of this status and code in every part."""
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert (document["status"], document["code"]) == (status, code)
    assert document["type"] == f"/api/problems#{KINDS[status].slug}"
    assert document["title"] == str(KINDS[status].title)
    assert document["detail"]
    return document


@pytest.fixture
def operator() -> Client:
    return staff_with("view_rollout", "add_rollout", "change_rollout")


@pytest.mark.parametrize(
    "path",
    ["", "/", "/nothing", "/rollouts/", f"/rollouts/{NAME}/", f"/rollouts/{NAME}/nothing", "/rollouts/a%00b", "/a%0Ab"],
)
@pytest.mark.parametrize("method", ["get", "post", "patch", "delete", "options"])
def test_an_unknown_path_is_a_problem_for_anybody(client, path, method):
    problem(getattr(client, method)(f"/api/v1{path}"), 404, "not_found")


def test_paths_elsewhere_keep_their_page(client):
    assert client.get("/nothing")["Content-Type"] == "text/html; charset=utf-8"


def test_a_stranger_is_told_to_sign_in(client):
    answer = client.get(ONE)

    problem(answer, 401, "not_authenticated")
    assert answer["WWW-Authenticate"] == "Bearer"


def test_who_may_not_is_told_so():
    problem(staff_with().get(ONE), 403, "permission_denied")


def test_a_method_that_does_not_fit_names_those_that_do(operator):
    answer = operator.delete(ONE)

    problem(answer, 405, "method_not_allowed")
    assert answer["Allow"] == "GET, PATCH, HEAD, OPTIONS"


def test_a_format_that_there_is_not(operator):
    problem(operator.get(ONE, headers={"Accept": "text/html"}), 406, "not_acceptable")
    problem(operator.get(f"{ONE}?format=xml"), 404, "not_found")
    problem(operator.get(f"{ONE}?format="), 404, "not_found")


def test_a_body_that_is_not_json(operator):
    problem(operator.patch(ONE, "percent=15", content_type="text/plain"), 415, "unsupported_media_type")
    problem(operator.patch(ONE, "{", content_type="application/json"), 400, "parse_error")
    problem(operator.patch(ONE, '{"note": "\\ud800"}', content_type="application/json"), 400, "parse_error")
    problem(operator.post("/api/v1/rollouts", {"name": "x"}), 415, "unsupported_media_type")


def test_a_form_with_a_key_is_not_json_either(operator):
    answer = operator.post("/api/v1/rollouts", {"name": "x"}, headers={"Idempotency-Key": "k"})

    problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("size", [100_001, 3_000_000])
def test_a_body_that_is_too_large(operator, size):
    for headers in ({}, {"Idempotency-Key": "k"}):
        answer = operator.post("/api/v1/rollouts", " " * size, content_type="application/json", headers=headers)
        problem(answer, 413, "too_large")


def test_each_field_that_is_wrong_is_named_with_a_code(operator):
    body = {"percent": 101, "forced": "yes", "stages": [{"percent": 5}, {"minDays": -1}], "misspelt": 1}

    unknown = operator.patch(ONE, body, content_type="application/json")
    body.pop("misspelt")
    document = problem(operator.patch(ONE, body, content_type="application/json"), 400, "invalid")

    assert problem(unknown, 400, "invalid")["errors"] == [
        {"field": "misspelt", "code": "unknown", "detail": "There is no such field."}
    ]
    assert {(error["field"], error["code"]) for error in document["errors"]} == {
        ("percent", "max_value"),
        ("forced", "invalid"),
        ("stages.1.percent", "required"),
        ("stages.1.minDays", "min_value"),
    }


def test_what_nobody_foresaw_tells_nothing_of_the_inside(operator, monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("rollout.api.rollouts.get_rollout", fail)
    operator.raise_request_exception = False

    answer = operator.get(ONE)

    problem(answer, 500, "server_error")
    assert "secret" not in answer.content.decode()


def test_a_host_that_is_not_ours_is_a_problem_too(client):
    problem(client.get(ONE, headers={"Host": "evil.example"}), 400, "invalid")


def test_the_page_describes_every_type(client):
    page = client.get("/api/problems").content.decode()

    assert set(re.findall(r'id="([\w-]+)"', page)) >= {kind.slug for kind in KINDS.values()}


# --- tokens ---


def bearer(**options: Any) -> dict[str, str]:
    user = UserFactory(is_staff=True, is_superuser=True)
    return {"Authorization": f"Bearer {tokens.create_token(user=user, **options)[1]}"}


def test_a_read_only_token_looks_and_changes_nothing(client):
    headers = bearer(is_read_only=True)

    assert client.get(ONE, headers=headers).status_code == 200
    problem(
        client.patch(ONE, {"percent": 15}, content_type="application/json", headers=headers), 403, "read_only_token"
    )
    problem(client.post(f"{ONE}/actions/pause", headers=headers), 403, "read_only_token")
    older = client.post("/api/gemini-rollout-status", {}, content_type="application/json", headers=headers)
    assert (older.status_code, older.json()["code"]) == (403, "read_only_token")


def test_a_read_only_token_may_evaluate_flags(client):
    body = {"context": {"targetingKey": "u"}}

    answer = client.post(
        f"/ofrep/v1/evaluate/flags/{NAME}",
        body,
        content_type="application/json",
        headers=bearer(is_read_only=True),
    )

    assert answer.status_code == 200
