"""The committed schema: what the code says, whole, and what every operation must say."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command

SCHEMA = Path(__file__).resolve().parent.parent.parent / "docs" / "openapi.yaml"
ROOT = "/api/v1/"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(SCHEMA.read_text())
    return document


def operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, item in schema["paths"].items()
        if path.startswith(ROOT)
        for method, operation in item.items()
    ]


def test_the_committed_schema_is_what_the_code_says(tmp_path):
    made = tmp_path / "openapi.yaml"

    call_command("spectacular", validate=True, fail_on_warn=True, file=str(made))

    assert made.read_text() == SCHEMA.read_text(), "run: make schema"


def test_it_is_openapi_3_1(schema):
    assert schema["openapi"] == "3.1.1"


def test_every_operation_says_who_may_and_how_it_fails(schema):
    assert len(operations(schema)) >= 13
    for path, method, operation in operations(schema):
        assert {"bearerToken": []} in operation["security"], path
        assert {"401", "403", "406", "429", "500"} <= operation["responses"].keys(), path
        for code, response in operation["responses"].items():
            if "$ref" in response:
                response = schema["components"]["responses"][response["$ref"].rpartition("/")[2]]
                assert list(response["content"]) == ["application/problem+json"]
            assert {"RateLimit", "RateLimit-Policy"} <= response["headers"].keys(), (path, method, code)


def test_every_post_takes_an_idempotency_key(schema):
    posts = [operation for _path, method, operation in operations(schema) if method == "post"]

    assert len(posts) == 2
    for operation in posts:
        assert "Idempotency-Key" in [parameter["name"] for parameter in operation["parameters"]]
        assert "422" in operation["responses"]


def test_bodies_hold_what_is_named_and_nothing_else(schema):
    schemas = schema["components"]["schemas"]

    for name in ("Create", "PatchedChange", "Why", "RampStage"):
        assert schemas[name]["additionalProperties"] is False
