"""The door, through the stock openai SDK of Node."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

from gateway.keys import create_key
from metrics.models import ModelCall
from rollout.changes import Actor, change_rollout
from tests.chat.factories import UserFactory
from tests.conftest import HOME

SOURCES = Path(__file__).parent / "node"


def can_not_run(why: str) -> NoReturn:
    """CI needs it; elsewhere the run's summary says that it was left out."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session")
def application() -> list[str]:
    """The command of an application with the SDK, installed as its lock file says, for this session alone."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        can_not_run("node and npm are not on PATH: the SDK for Node was not tried")
    home = HOME / "node"
    shutil.copytree(SOURCES, home, ignore=shutil.ignore_patterns("node_modules"))
    install = [npm, "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund"]
    installed = subprocess.run(install, cwd=home, capture_output=True, text=True)
    if installed.returncode:
        can_not_run(f"npm could not install the SDK for Node:\n{installed.stderr[-500:]}")
    return [node, str(home / "use_sdk.mjs")]


@pytest.mark.parametrize("percent", [0, 100], ids=["openai", "gemini"])
def test_the_sdk_for_node_works_as_it_is(application: list[str], live_app: str, percent: int) -> None:
    change_rollout("gemini-flash-lite", {"percent": percent}, actor=Actor(name="test", source="cli"))
    _key, text = create_key(name="shop", owner=UserFactory())
    environment = {**os.environ, "OPENAI_BASE_URL": f"{live_app}/v1", "OPENAI_API_KEY": text}

    ran = subprocess.run(application, env=environment, capture_output=True, text=True, timeout=60)

    assert ran.returncode == 0, ran.stderr
    seen: dict[str, Any] = json.loads(ran.stdout)
    call = ModelCall.objects.get(answer_id=seen["whole"]["call"])
    answer = seen["whole"]["completion"]
    assert seen["whole"]["arm"] == call.arm == ("candidate" if percent else "baseline")
    assert (answer["model"], answer["choices"][0]["finish_reason"]) == (call.served_model, "stop")
    assert answer["choices"][0]["message"]["content"]
    assert usage(answer) == (call.input_tokens, call.output_tokens)

    streamed = seen["streamed"]["completion"]
    assert seen["streamed"]["pieces"] == streamed["choices"][0]["message"]["content"] != ""
    assert all(usage(streamed))

    first, second = seen["tools"]["first"]["choices"][0], seen["tools"]["second"]["choices"][0]
    (called,) = first["message"]["tool_calls"]
    assert (first["finish_reason"], called["function"]["name"]) == ("tool_calls", "weather")
    assert json.loads(called["function"]["arguments"]) == {"town": "Bern"}
    assert (second["finish_reason"], bool(second["message"]["content"])) == ("stop", True)

    assert seen["refused"] == {"kind": "NotFoundError", "status": 404, "code": "model_not_found", "param": "model"}
    assert seen["models"] == ["chat-model", "chat-model-reasoning", "gemini-flash-lite"]


def usage(completion: dict[str, Any]) -> tuple[int, int]:
    return completion["usage"]["prompt_tokens"], completion["usage"]["completion_tokens"]
