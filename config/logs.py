"""One event, one line: how log records look. Knows ``logging`` only."""

import logging

# The last three are objects or colours that Django, Celery and uvicorn attach for handlers of their own.
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "request",
    "data",
    "color_message",
}


def _visible(text: str) -> str:
    """Control characters written out, so that a value can neither forge a line nor drive a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class LineFormatter(logging.Formatter):
    """``time LEVEL logger message key=value …``; the extra fields of a record follow its message."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {k: v for k, v in vars(record).items() if k not in _PLAIN and not k.startswith("_")}
        extra = "".join(f" {key}={_visible(str(value))}" for key, value in fields.items())
        line = f"{self.formatTime(record)} {record.levelname} {record.name} {_visible(record.getMessage())}{extra}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line
