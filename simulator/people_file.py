"""People who come back: their cookies and last chats in a JSON file, by the address they chat at.

The file holds live sessions, so its owner alone can read it.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simulator.people import Memory


class Damaged(ValueError):
    """The file is not what was written; the text says so."""


def load_people(path: Path, url: str) -> list[Memory]:
    """Those who have chatted at ``url`` before, in the order in which they were kept. Raises Damaged."""
    try:
        return [Memory(**kept) for kept in _read(path).get(url, [])]
    except (ValueError, TypeError, AttributeError) as problem:
        raise Damaged(f"{path} can't be read ({problem}). Delete it to start with new people.") from problem


def save_people(path: Path, url: str, people: Sequence[Memory]) -> None:
    """Keep ``people`` as those of ``url``, in one step; those of other addresses stay."""
    content = {**_read(path), url: [asdict(memory) for memory in people]}
    path.parent.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file)
    draft.replace(path)


def _read(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content: dict[str, list[dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return content
