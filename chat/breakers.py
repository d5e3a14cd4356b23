"""The upstreams' breakers, one a model key, shared by all processes through Redis.

Each process looks at a copy that is a second old at most, so that an answer costs no round trip while all is well: what
was answered is counted here and told with the next look, what failed is told at once. ``refresh`` and ``note`` talk to
Redis and, where a breaker changed, write its row; ``admit`` does neither and may run inside a transaction. Without
Redis every breaker is closed.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Count
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from api.pause import Pause
from chat import breaker as machine
from chat.breaker import Breaker, Rules, Verdict
from chat.capacity import QUEUE_WAIT_S
from chat.models import BreakerChange
from chat.threads import in_db

logger = logging.getLogger(__name__)

FRESH_S = 1.0
# A Redis that hangs costs one request this long, and then nobody for a while.
TIMEOUT_S = 0.25
LEAVE_ALONE_S = 5.0
COMPLAIN_EVERY_S = 60.0
# A process whose turn it is to try an upstream out has this long to find an attempt for it.
CLAIM_S = 5.0
# A breaker that nobody has asked for a day may be forgotten.
KEEP_S = 86_400

_WHY = {
    ("closed", "open"): BreakerChange.Why.FAILURES,
    ("open", "half_open"): BreakerChange.Why.COOLED_DOWN,
    ("half_open", "open"): BreakerChange.Why.PROBE_FAILED,
    ("half_open", "closed"): BreakerChange.Why.PROBE_ANSWERED,
}

Step = Callable[[Breaker, float], Breaker]


@dataclass(kw_only=True)
class _Copy:
    """What this process knows of one upstream. ``probe`` is its turn to try it out, until somebody takes it."""

    breaker: Breaker = field(default_factory=Breaker)
    answered: int = 0
    failed: int = 0
    is_asked_for: bool = False
    probe: str = ""


class Breakers:
    """One process's view. ``clock`` gives seconds since 1970, the same for all processes."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._clock = clock
        self._copies: dict[str, _Copy] = {}
        self._lock = Lock()
        # Through the attribute: tests turn the clock on.
        self._redis_pause = Pause(LEAVE_ALONE_S, lambda: self._clock())
        self.forget()

    def forget(self) -> None:
        """Begin anew, with every breaker closed until the next look."""
        self._copies.clear()
        self._looked_at = self._complained_at = float("-inf")
        self._redis_pause.end()

    async def refresh(self) -> None:
        """Look at every breaker again where the copies are too old, or one of them waits for a probe."""
        now = self._clock()
        wanted = any(copy.is_asked_for and copy.breaker.wants_probe(now) for copy in list(self._copies.values()))
        # A clock that was set back must not make an old look a fresh one.
        if wanted or not 0 <= now - self._looked_at < FRESH_S:
            self._looked_at = now
            await in_db(self._look)

    def admit(self, key: str) -> str | None:
        """Whether an attempt may go: ``None`` where not, else the name of the probe that it is, "" where it is none."""
        copy = self._copy(key)
        if copy.breaker.state == "closed":
            return ""
        with self._lock:
            probe, copy.probe = copy.probe, ""
            # A turn that nobody took in its time is over, and another is asked for.
            may_go = bool(probe) and not copy.breaker.wants_probe(self._clock())
            copy.is_asked_for = not may_go
        return probe if may_go else None

    def wait_s(self, key: str) -> float:
        """How long the next attempt should wait."""
        return self._copy(key).breaker.wait_s(self._clock())

    async def begin_probe(self, key: str, probe: str, *, first_word_s: float) -> None:
        """The attempt that is a probe is made now; its first word may take so long."""
        most_s = QUEUE_WAIT_S + settings.CONNECT_TIMEOUT_S + first_word_s + CLAIM_S
        await in_db(self._change, key, lambda found, now: machine.hold_probe(found, probe=probe, until=now + most_s))

    async def hear_probe(self, key: str, probe: str) -> None:
        """Its first word came."""
        await in_db(self._change, key, lambda found, now: machine.hear_probe(found, probe=probe, now=now))

    async def note(self, key: str, verdict: Verdict, probe: str, *, took_s: float = 0.0) -> None:
        """What an attempt that took so long said of its upstream. A failure that began before the breaker was closed
        says nothing of what it was closed for.
        """
        copy = self._copy(key)
        is_old = verdict == "failed" and self._clock() - took_s < copy.breaker.since
        if probe:
            await in_db(
                self._change,
                key,
                lambda found, now: machine.end_probe(found, rules(), probe=probe, verdict=verdict, now=now),
            )
        elif copy.breaker.state == "closed" and verdict != "nothing" and not is_old:
            with self._lock:
                copy.answered += verdict == "answered"
                copy.failed += verdict == "failed"
            if verdict == "failed":
                await in_db(self._tell, key)

    def standing(self, keys: Iterable[str]) -> dict[str, Breaker]:
        """All of them as Redis has them, by key; nothing without Redis."""
        keys = list(keys)
        stored = self._try(lambda redis: redis.mget([_name(key) for key in keys]))
        return {} if stored is None else {key: _read(text) for key, text in zip(keys, stored, strict=True)}

    def _look(self) -> None:
        known = {key: self._copy(key).breaker for key in settings.CHAT_MODELS}
        for key, breaker in self.standing(known).items():
            copy = self._copy(key)
            # Who looked at the same time has gone on from what is read here.
            if copy.breaker is known[key]:
                copy.breaker = breaker
            if copy.is_asked_for and breaker.wants_probe(self._clock()):
                self._claim(key, copy)
            elif copy.answered and breaker.state == "closed":
                self._tell(key)

    def _claim(self, key: str, copy: _Copy) -> None:
        # Once for each time that it was asked for: a process that nobody asks any more leaves the turn to the others.
        copy.is_asked_for = False
        probe = uuid4().hex
        self._change(key, lambda found, now: machine.begin_probe(found, rules(), probe=probe, now=now))
        if copy.breaker.probe == probe:
            copy.probe = probe

    def _tell(self, key: str) -> None:
        copy = self._copy(key)
        with self._lock:
            answered, failed, copy.answered, copy.failed = copy.answered, copy.failed, 0, 0
        if answered or failed:
            self._change(
                key, lambda found, now: machine.record(found, rules(), answered=answered, failed=failed, now=now)
            )

    def _change(self, key: str, step: Step) -> None:
        """Take one step from where the breaker stands, and from nowhere else, whoever steps at the same time."""
        found: list[Breaker] = []

        def turn(pipe: Any) -> None:
            before = _read(pipe.get(_name(key)))
            after = step(before, self._clock())
            found[:] = before, after
            pipe.multi()
            if after != before:
                pipe.set(_name(key), after.to_json(), ex=KEEP_S)

        if self._try(lambda redis: redis.transaction(turn, _name(key))) is None:
            return
        before, after = found
        self._copy(key).breaker = after
        if after.state != before.state:
            _keep_history(key, before, after)

    def _try(self, ask: Callable[[Redis], Any]) -> Any:
        """What Redis says; ``None``, and every breaker closed, where it says nothing."""
        if self._redis_pause.is_on:
            return None
        try:
            return ask(self._redis)
        except (RedisError, OSError) as error:
            self._redis_pause.begin()
            self._copies.clear()
            now = self._clock()
            if now - self._complained_at >= COMPLAIN_EVERY_S:
                self._complained_at = now
                logger.warning("Breakers stay closed: Redis is away", extra={"error": type(error).__name__})
            return None

    def _copy(self, key: str) -> _Copy:
        return self._copies.setdefault(key, _Copy())


def changes() -> dict[tuple[str, str], int]:
    """How often each upstream's breaker has come into each state, by both."""
    counted = BreakerChange.objects.order_by().values_list("upstream", "state").annotate(n=Count("pk"))
    return {(upstream, state): n for upstream, state, n in counted}


def rules() -> Rules:
    """As settings have them."""
    return Rules(
        failures=settings.BREAKER_FAILURES,
        attempts=settings.BREAKER_ATTEMPTS,
        window_s=settings.BREAKER_WINDOW_S,
        cool_down_s=settings.BREAKER_COOL_DOWN_S,
        longest_cool_down_s=settings.BREAKER_LONGEST_COOL_DOWN_S,
        claim_s=CLAIM_S,
    )


def connect(url: str) -> Redis:
    """A client that gives up soon."""
    retry = Retry(NoBackoff(), 0)
    return Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=retry)


def _name(key: str) -> str:
    # The number changes with what is kept, so that old and new processes can run side by side.
    return f"sluice:breaker:1:{key}"


def _read(text: bytes | None) -> Breaker:
    return Breaker() if text is None else Breaker.from_json(text)


def _why(before: Breaker, after: Breaker) -> BreakerChange.Why:
    if before.state == "closed" and after.failures < rules().failures:
        return BreakerChange.Why.PROBE_FAILED
    return _WHY[before.state, after.state]


def _keep_history(key: str, before: Breaker, after: Breaker) -> None:
    """Whoever made the change writes its row: there is one for each."""
    failures = after.failures or before.failures
    logger.warning("Breaker of %s: %s → %s", key, before.state, after.state, extra={"failures": failures})
    try:
        BreakerChange.objects.create(
            upstream=key,
            state=after.state,
            why=_why(before, after),
            failures=failures,
            changed_at=datetime.fromtimestamp(after.since, UTC),
            until=datetime.fromtimestamp(after.until, UTC) if after.state == "open" else None,
        )
    except DatabaseError:
        logger.exception("A breaker's change was not written")
