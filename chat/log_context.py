"""What a log line says of the answer it is about: call id, rollout, arm, reason, as soon as they are known.

Each request and each answer has one set of fields, shared by every task and thread that works for it: what one of
them learns, the lines of all others say from then on. Knows logging and contexts; knows no rows.
"""

import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from inspect import iscoroutinefunction
from typing import Any

from django.utils.decorators import sync_and_async_middleware

_fields: ContextVar[dict[str, object] | None] = ContextVar("log_fields", default=None)


def open_log_context() -> None:
    """Begin a set of fields of its own for the running task or thread, and for what it starts from now on."""
    _fields.set({})


def bind(**fields: object) -> None:
    """Say these with each line from now on; does nothing outside a request or an answer."""
    shared = _fields.get()
    if shared is not None:
        shared.update(fields)


class LogContext(logging.Filter):
    """Lets every record through, with the fields of the request or answer that it was logged for."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what the record does not say itself."""
        # A copy, in one step: another thread may learn something meanwhile.
        for name, value in dict(_fields.get() or {}).items():
            vars(record).setdefault(name, value)
        return True


@sync_and_async_middleware
def log_context_middleware(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Each request begins with nothing known. The first middleware, so that all others log within it."""
    if iscoroutinefunction(get_response):

        async def answer_async(request: Any) -> Any:
            open_log_context()
            response: Awaitable[Any] = get_response(request)
            return await response

        return answer_async

    def answer(request: Any) -> Any:
        open_log_context()
        return get_response(request)

    return answer
