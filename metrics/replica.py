"""Where figures for people to look at are read: the read replica, where there is one that keeps up.

``DATABASE_REPLICA_URL`` names it. Only metrics' tables are read there, inside a function marked ``from_replica``; how a
rollout is set, and everything that acts on figures, is always read from the primary. A replica that is behind or does
not answer is said so in the log, and the primary is read in its place: figures are never older than ``MOST_LAG``, and
how old they are is read where they are.
"""

import logging
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError
from django.db.models import Model

from api.pause import Pause
from metrics.models import RollupState

logger = logging.getLogger(__name__)

ALIAS = "replica"
# Roll-ups stand as of a moment; one that is further behind the primary's is not shown.
MOST_LAG = timedelta(minutes=1)
# For the process.
_pause = Pause(30.0)

_P = ParamSpec("_P")
_R = TypeVar("_R")
_is_read: ContextVar[bool] = ContextVar("replica_is_read", default=False)


class Router:
    """Sends reads of metrics' tables to the replica inside ``from_replica``, and nothing else."""

    def db_for_read(self, model: type[Model], **_hints: Any) -> str | None:
        """The replica, or ``None`` for the usual."""
        return ALIAS if _is_read.get() and model._meta.app_label == "metrics" else None

    def db_for_write(self, _model: type[Model], **_hints: Any) -> str:
        """Whatever was read where."""
        return DEFAULT_DB_ALIAS

    def allow_migrate(self, db: str, _app_label: str, **_hints: Any) -> bool | None:
        """The replica gets its tables from the primary."""
        return False if db == ALIAS else None


def from_replica(read: Callable[_P, _R]) -> Callable[_P, _R]:
    """A function that only reads, run on the replica; once more, on the primary, where the replica fails under it."""

    @wraps(read)
    def reading(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        if not _is_read.get() and _keeps_up():
            token = _is_read.set(True)
            try:
                return read(*args, **kwargs)
            except (OperationalError, InterfaceError) as error:
                _rest(f"it failed: {type(error).__name__}")
            finally:
                _is_read.reset(token)
        return read(*args, **kwargs)

    return reading


def _keeps_up() -> bool:
    if ALIAS not in settings.DATABASES or _pause.is_on:
        return False
    # In this order: what the primary has rolled up since is lag too, and never hides any.
    try:
        there = _rolled_at(ALIAS)
    except (OperationalError, InterfaceError) as error:
        _rest(f"it does not answer: {type(error).__name__}")
        return False
    here = _rolled_at(DEFAULT_DB_ALIAS)
    if here is not None and (there is None or here - there > MOST_LAG):
        _rest(f"its figures stand as of {there}, the primary's as of {here}")
        return False
    return True


def _rolled_at(alias: str) -> Any:
    return RollupState.objects.using(alias).filter(pk=1).values_list("rolled_at", flat=True).first()


def _rest(why: str) -> None:
    _pause.begin()
    logger.error("The primary is read in the read replica's place: %s", why)
