import os
import subprocess
import sys
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command

pytestmark = pytest.mark.django_db


class Terminal(StringIO):
    """Standard output as it is when a person sits before it."""

    def isatty(self) -> bool:
        return True


# --- colours ---


def coloured(monkeypatch: pytest.MonkeyPatch, out: StringIO, **options: Any) -> bool:
    # Django looks at the process's own output when it chooses its palette.
    monkeypatch.setattr(sys, "stdout", out)
    call_command("rollout", "status", stdout=out, **options)
    return "\x1b[" in out.getvalue()


def test_colours_are_for_a_terminal_only(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    assert coloured(monkeypatch, Terminal())
    assert not coloured(monkeypatch, StringIO())
    assert not coloured(monkeypatch, Terminal(), no_color=True)
    assert coloured(monkeypatch, StringIO(), force_color=True)


def test_no_color_in_the_environment_is_obeyed(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    assert not coloured(monkeypatch, Terminal())


# --- as a program ---


def program(tmp_path: Any, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path}/empty.sqlite3"}
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "rollout", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("words", [["set-traffic", "101"], ["no-such-action"], ["status", "--nonsense"], ["status"]])
def test_as_a_program_a_mistake_is_one_line_on_standard_error(tmp_path, words):
    ended = program(tmp_path, *words)

    assert ended.returncode >= 1
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert "Traceback" not in ended.stderr
