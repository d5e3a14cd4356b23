"""The ``.env`` file beside manage.py: what it says, and a SECRET_KEY where there is none.

Knows files and ``python-dotenv``. Knows no Django: it runs before settings can load.
"""

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

_SECRET_KEY_LINE = re.compile(r"^[ \t]*(?:export[ \t]+)?SECRET_KEY[ \t]*=.*$", re.MULTILINE)


def read_environment(env_file: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """What settings will see: ``environ`` first, then ``env_file`` for names that ``environ`` lacks."""
    from_file = {name: value for name, value in dotenv_values(env_file).items() if value is not None}
    return {**from_file, **environ}


def ensure_secret_key(env_file: Path, example: Path, environ: Mapping[str, str]) -> bool:
    """Write a fresh SECRET_KEY into ``env_file`` unless there is one; True if it was written.

    A new file starts as a copy of ``example``; an existing one keeps every other line. The file is
    readable by its owner alone, and replaced in one step, so that it is never seen half written.
    """
    if read_environment(env_file, environ).get("SECRET_KEY"):
        return False
    text = (env_file if env_file.exists() else example).read_text(encoding="utf-8")
    line = f"SECRET_KEY={secrets.token_urlsafe(50)}"
    text, found = _SECRET_KEY_LINE.subn(line, text)
    if not found:
        text = f"{text.rstrip()}\n{line}\n".lstrip()
    _replace(env_file.resolve(), text)
    return True


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
