"""Counters in Redis that all processes share, for limits that may lapse with it. Knows no limit."""

import logging

from django.core.cache import cache
from redis.exceptions import RedisError

from api.pause import Pause

logger = logging.getLogger(__name__)

# One for the process.
redis_pause = Pause(5.0)


def count(key: str, by: int = 1, *, keep_s: int) -> int | None:
    """Add to a counter, which begins at 0 and is kept so many seconds from then. Returns what it is now.

    ``None`` where Redis can't be asked: whoever counts to limit lets all pass then.
    """
    if redis_pause.is_on:
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
        redis_pause.begin()
        logger.warning("Requests are not limited: %s", type(error).__name__)
    return None
