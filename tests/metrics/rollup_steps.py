"""Calls for the roll-ups to count, and the roll-ups as they are stored."""

from datetime import timedelta
from typing import Any

from metrics.arms import BINS
from metrics.models import ArmSum, CallTotal, FirstSeen, LastSeen, ModelCall, Slice, Window
from metrics.people import count_people
from metrics.ratings import REASONS
from metrics.rebuild import rebuild_rollups
from tests.metrics.factories import NOW, ModelCallFactory

NAME = "gemini-flash-lite"
TABLES = (Slice, ArmSum, CallTotal, FirstSeen, LastSeen, Window)


def stored() -> dict[str, list[Any]]:
    """Every roll-up as it is stored, without the rows' own ids; sums that are nothing count as none."""

    def values(table: Any) -> list[dict[str, Any]]:
        return list(table.objects.values())

    return {
        table.__name__: sorted(
            # PostgreSQL's driver gives bytes as a view of them.
            str(sorted((name, bytes(value) if name in BINS else value) for name, value in row.items() if name != "id"))
            for row in values(table)
            if row.get("sums") != {}
        )
        for table in TABLES
    }


def rebuilt() -> dict[str, list[Any]]:
    rebuild_rollups(clock=lambda: NOW)
    count_people(now=NOW)
    return stored()


def mixed(n: int, **changes: Any) -> list[ModelCall]:
    """Calls of seven people in both arms over a day and a half, good and bad, rated and not."""
    return [
        ModelCallFactory(
            **{
                "candidate": number % 3 == 0,
                "unit": f"u{number % 7}",
                "started_at": NOW - timedelta(minutes=number * 47 + 1),
                "rating": number % 6 or None,
                "rating_reason": REASONS[number % 5] if number % 6 in (1, 2) else "",
                "ttft_ms": 100 + 13 * number,
                "outcome": ("ok", "ok", "error", "cancelled")[number % 4],
                **changes,
            }
        )
        for number in range(n)
    ]
