"""``docs/benchmarks.json`` and ``docs/benchmarks.md``: each benchmark writes a part of its own."""

import json
import re
from datetime import UTC, datetime

from benchmarks.running import ROOT, machine

_FIGURES = ROOT / "docs" / "benchmarks.json"
_PAGE = ROOT / "docs" / "benchmarks.md"


def write(part: str, figures: object, table: str) -> None:
    """Store a part's figures with machine and date, and put its table where the page marks its place."""
    stored = json.loads(_FIGURES.read_text())
    taken = datetime.now(UTC).date().isoformat()
    stored[part] = {"date": taken, "machine": machine(), "results": figures}
    _FIGURES.write_text(json.dumps(stored, indent=1) + "\n")
    told = ", ".join(f"{name} {value}" for name, value in machine().items())
    begin, end = f"<!-- {part} -->\n", f"<!-- end of {part} -->\n"
    page, count = re.subn(
        re.escape(begin) + ".*?" + re.escape(end),
        lambda _match: f"{begin}Taken on {taken}: {told}.\n\n{table}{end}",
        _PAGE.read_text(),
        flags=re.DOTALL,
    )
    if not count:
        raise ValueError(f"{_PAGE} has no place for {part}")
    _PAGE.write_text(page)
