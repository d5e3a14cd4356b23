"""schemathesis against the running server: does the API keep to its schema, whoever asks?"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission

from chat.tokens import create_token
from tests.chat.factories import UserFactory

SCHEMA = Path(__file__).resolve().parent.parent.parent / "docs" / "openapi.yaml"
VIEWER = ("view_rollout", "view_report", "view_modelcall")
OPERATOR = (*VIEWER, "add_rollout", "change_rollout", "approve_rollout", "stop_rollout")
# Each limit of each field, one by one, is for who may send it; the others are mostly refused before it is read. And
# for the database that refuses most.
QUICK = ("--phases=examples,fuzzing,stateful",)


def token_with(rights: Sequence[str]) -> str:
    user = UserFactory(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return create_token(user=user)[1]


@pytest.mark.only_on("postgres")
@pytest.mark.parametrize(
    ("rights", "options"),
    [((), QUICK), (VIEWER, QUICK), (OPERATOR, ())],
    ids=["anonymous", "viewer", "operator"],
)
def test_the_api_keeps_to_its_schema(live_app, settings, tmp_path, rights, options):
    settings.API_RATE_LIMIT = 1_000_000
    header = ["--header", f"Authorization: Bearer {token_with(rights)}"] if rights else []
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", str(SCHEMA), "--url", live_app),
            *header,
            *options,
            "--checks=all",
            # What fits the schema may still not fit the state: a verb, a version, a name that is taken.
            "--exclude-checks=positive_data_acceptance",
            "--max-examples=5",
            "--generation-deterministic",
            "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert run.returncode == 0, run.stdout + run.stderr
