"""Counters in Redis that all processes share, for limits that may lapse with it. Knows no limit."""

import logging
import time

from django.core.cache import cache
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

# A Redis that hangs costs one request its timeout, and then nobody for so long.
LEAVE_ALONE_S = 5.0


class _Redis:
    """Whether to ask it. One for the process."""

    away_until = float("-inf")


def forget() -> None:
    """Ask Redis again, whatever it said last."""
    _Redis.away_until = float("-inf")


def count(key: str, by: int = 1, *, keep_s: int) -> int | None:
    """Add to a counter, which begins at 0 and is kept so many seconds from then. Returns what it is now.

    ``None`` where Redis can't be asked: whoever counts to limit lets all pass then.
    """
    if time.monotonic() < _Redis.away_until:
        return None
    try:
        # All but the first find a counter, and need not ask for a new one.
        try:
            return int(cache.incr(key, by))
        except ValueError:
            cache.add(key, 0, keep_s)
            return int(cache.incr(key, by))
    except ValueError:
        # Redis, short of memory, has let the counter go.
        logger.warning("Requests are not limited: Redis keeps no counters")
    except RedisError as error:
        _Redis.away_until = time.monotonic() + LEAVE_ALONE_S
        logger.warning("Requests are not limited: %s", type(error).__name__)
    return None
