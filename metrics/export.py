"""Ended calls as a file for other programs: CSV or JSON lines, in pieces that fit into memory.

No text of a person is in it (calls hold none), no provider's error message, and no unit: a keyed hash stands for that,
the same for one person throughout an installation and a ``SECRET_KEY``, and of no use to find the unit. No Parquet:
pyarrow, which would write it, is 55 MB. Part of metrics' services; is told the time, knows no HTTP.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal, get_args

from django.db.models import Q, QuerySet
from django.utils.crypto import salted_hmac
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.timezone import get_default_timezone
from django.utils.translation import gettext as _

from metrics.csv_text import csv_text
from metrics.models import CallTotal, ModelCall
from metrics.replica import from_replica

Format = Literal["csv", "jsonl"]
FORMATS: tuple[Format, ...] = get_args(Format)
COLUMNS = (
    "id",
    "answer_id",
    "attempt",
    "surface",
    "rollout",
    "arm",
    "reason",
    "percent",
    "run",
    "stretch",
    "unit",
    "requested_model",
    "assigned_model",
    "served_model",
    "provider",
    "upstream_model",
    "outcome",
    "error_class",
    "http_status",
    "finish_reason",
    "started_at",
    "ended_at",
    "ttft_ms",
    "latency_ms",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cost_usd",
    "baseline_cost_usd",
    "rating",
    "rating_reason",
    "is_demo",
    "application",
)
# Rows of one query, which is what lies in memory at once.
PAGE = 2000
Row = Mapping[str, Any]


class ExportRefused(ValueError):
    """Not an export that can be made; the text says why, ``code`` is for programs."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Export:
    """Which calls, and how they are written: those that started from ``since`` on and before ``until`` and have ended.

    ``since=None`` is from the first one on, ``rollout=None`` is all calls.
    """

    format: Format
    since: datetime | None
    until: datetime
    rollout: str | None


def parse_export(*, format: str, since: str | None, until: str | None, rollout: str | None, now: datetime) -> Export:
    """An export from what a person or a program typed. Raises ExportRefused.

    A moment is a date, in ``TIME_ZONE`` and with its whole day, or ISO-8601 with an offset; ``until`` is ``now`` by
    default.
    """
    known: dict[str, Format] = {name: name for name in FORMATS}
    if format not in known:
        raise ExportRefused(_("The format is one of: %(known)s.") % {"known": ", ".join(FORMATS)}, code="bad_format")
    first = None if since is None else _moment(since)
    last = now if until is None else _moment(until, day_ends=True)
    if first is not None and first > last:
        raise ExportRefused(_("The first moment must not come after the last."), code="bad_time")
    if rollout is not None and not _has_calls(rollout):
        refusal = _("No call of a rollout named %(name)s was ever made.") % {"name": repr(rollout)}
        raise ExportRefused(refusal, code="unknown_rollout")
    return Export(format=known[format], since=first, until=last, rollout=rollout)


def write_export(export: Export) -> Iterator[str]:
    """The file in pieces, oldest call first. Each piece is one query, and nothing stays open between two."""
    if export.format == "csv":
        yield csv_text([COLUMNS])
    for page in pages(export):
        yield _WRITERS[export.format](page)


def pages(export: Export) -> Iterator[list[Row]]:
    """The calls as JSON values, ``PAGE`` at a time: times ISO-8601 in UTC, money as text with all its digits."""
    wanted = ModelCall.objects.filter(ended_at__isnull=False, started_at__lt=export.until)
    if export.since is not None:
        wanted = wanted.filter(started_at__gte=export.since)
    if export.rollout is not None:
        wanted = wanted.filter(rollout=export.rollout)
    calls = wanted.order_by("started_at", "id").values(*COLUMNS)
    page = _page(calls)
    while page:
        yield [_row(call) for call in page]
        start, last = page[-1]["started_at"], page[-1]["id"]
        # The first part alone is what an index serves.
        rest = Q(started_at__gte=start) & (Q(started_at__gt=start) | Q(id__gt=last))
        page = _page(calls.filter(rest)) if len(page) == PAGE else []


@from_replica
def _page(calls: "QuerySet[ModelCall, dict[str, Any]]") -> list[dict[str, Any]]:
    return list(calls[:PAGE])


def _row(call: Mapping[str, Any]) -> Row:
    return {name: _plain(value) for name, value in call.items()} | {"unit": _pseudonym(call["unit"])}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value if value is None or isinstance(value, str | int) else str(value)


def _pseudonym(unit: str) -> str:
    return salted_hmac("metrics.export.unit", unit, algorithm="sha256").hexdigest()


def _to_csv(page: list[Row]) -> str:
    return csv_text([row[name] for name in COLUMNS] for row in page)


def _to_json_lines(page: list[Row]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in page)


_WRITERS: Mapping[Format, Callable[[list[Row]], str]] = {"csv": _to_csv, "jsonl": _to_json_lines}


def _moment(text: str, *, day_ends: bool = False) -> datetime:
    try:
        day = parse_date(text)
        if day is None:
            moment = parse_datetime(text)
        else:
            moment = datetime.combine(day + timedelta(days=day_ends), time.min, get_default_timezone())
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    known = _("Not a date such as 2026-11-01, nor a moment with an offset such as 2026-11-01T12:00:00Z: %(text)s")
    raise ExportRefused(known % {"text": repr(text)}, code="bad_time")


@from_replica
def _has_calls(rollout: str) -> bool:
    # Calls that are deleted are in the totals, those of the last seconds are not.
    return "\0" not in rollout and any(
        table.filter(rollout=rollout).exists() for table in (CallTotal.objects, ModelCall.objects)
    )
