"""One event, one line: how log records look, to people and to programs. Knows ``logging`` only."""

import json
import logging
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Literal

LogFormat = Literal["text", "json"]

# The last three are objects or colours that Django, Celery and uvicorn attach for handlers of their own.
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "request",
    "data",
    "color_message",
}


def choose_format(wanted: str, *, terminal: bool) -> LogFormat:
    """``wanted`` where it is a format; ``auto`` is text for people at a terminal, JSON for whatever collects logs."""
    if wanted == "auto":
        return "text" if terminal else "json"
    return "text" if wanted == "text" else "json"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a record says beside its message."""
    return {k: v for k, v in vars(record).items() if k not in _PLAIN and not k.startswith("_")}


def _visible(text: str) -> str:
    """Control characters written out, so that a value can neither forge a line nor drive a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class LineFormatter(logging.Formatter):
    """``time LEVEL logger message key=value …``; a traceback follows, indented, so that it can't pass for one."""

    def format(self, record: logging.LogRecord) -> str:
        extra = "".join(f" {key}={_visible(str(value))}" for key, value in _fields(record).items())
        line = f"{self.formatTime(record)} {record.levelname} {record.name} {_visible(record.getMessage())}{extra}"
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            line = "\n    ".join([line, *map(_visible, trace)])
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, then the record's fields; a traceback is one field.

    ASCII only, so that no character of any value can end the line or drive a terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        fields = {f"{key}_" if key in said else key: _plain(value) for key, value in _fields(record).items()}
        return json.dumps(said | fields)


def _plain(value: object) -> object:
    """A value as JSON has it, or else as text."""
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and isfinite(value)):
        return value
    return str(value)
