"""A breaker, pure: closed while its upstream answers, open while that fails, half-open while one attempt tries it out.

Knows results and moments that it is given (seconds, on one clock for all who share the breaker). Knows no clock, no
Redis, no settings. The states are those of M. Nygard, "Release It!".
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import Literal

from chat.attempt import Attempt
from chat.providers.base import InvalidRequest, NotAsked, Unsupported

State = Literal["closed", "open", "half_open"]
# What an attempt says of its upstream: that it works, that it doesn't, or nothing.
Verdict = Literal["answered", "failed", "nothing"]

PROBE_WAIT_S = 2.0
# Ours or the request's, though they end an attempt like a vendor's failure: tools may be such that a model can't call
# them, and one caller's must not keep all others out.
_OWN_FAULTS = frozenset(("internal", "too_long", "bad_call"))


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Opens when ``failures`` of the last ``attempts`` failed, those of the last ``window_s`` seconds.

    Then it stays open for ``cool_down_s``, twice as long after each probe that failed, ``longest_cool_down_s`` at most.
    A probe has ``claim_s`` to begin, before it is taken for lost.
    """

    failures: int
    attempts: int
    window_s: float
    cool_down_s: float
    longest_cool_down_s: float
    claim_s: float


@dataclass(frozen=True, kw_only=True)
class Breaker:
    """Where one breaker stands. ``recent`` are the last results, as (moment, whether it failed), while it is closed.

    ``until`` is when the next probe may go: the end of the cool-down, or of the wait for ``probe``, the one that runs;
    closed by its first word, it keeps its name until it has ended.
    ``openings`` counts how often it opened since it was closed last.
    """

    state: State = "closed"
    since: float = 0.0
    until: float = 0.0
    probe: str = ""
    openings: int = 0
    recent: tuple[tuple[float, bool], ...] = ()

    @property
    def failures(self) -> int:
        """How many of the last results were failures."""
        return sum(failed for _at, failed in self.recent)

    def wants_probe(self, now: float) -> bool:
        """Whether it is time to let one attempt through."""
        return self.state != "closed" and now >= self.until

    def wait_s(self, now: float) -> float:
        """How long until that; while an attempt tries it out, which shows soon, at most ``PROBE_WAIT_S``."""
        left = max(0.0, self.until - now)
        return min(left, PROBE_WAIT_S) if self.state == "half_open" else left

    def to_json(self) -> str:
        """Everything."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Breaker":
        """Back from ``to_json``."""
        fields = json.loads(text)
        return cls(**{**fields, "recent": tuple((at, failed) for at, failed in fields["recent"])})


def record(breaker: Breaker, rules: Rules, *, answered: int, failed: int, now: float) -> Breaker:
    """Count attempts that were let through while it was closed; those that end after it opened change nothing."""
    if breaker.state != "closed":
        return breaker
    new = ((now, False),) * min(answered, rules.attempts) + ((now, True),) * min(failed, rules.attempts)
    kept = tuple(result for result in breaker.recent if result[0] > now - rules.window_s)
    counted = replace(breaker, recent=(*kept, *new)[-rules.attempts :])
    return _opened(counted, rules, now) if counted.failures >= rules.failures else counted


def begin_probe(breaker: Breaker, rules: Rules, *, probe: str, now: float) -> Breaker:
    """Give the turn to the attempt that is named ``probe``, where it is time for one."""
    if not breaker.wants_probe(now):
        return breaker
    since = breaker.since if breaker.state == "half_open" else now
    return replace(breaker, state="half_open", since=since, probe=probe, until=now + rules.claim_s)


def hold_probe(breaker: Breaker, *, probe: str, until: float) -> Breaker:
    """The probe begins, and is taken for lost at ``until``; one that came too late changes nothing."""
    if breaker.state != "half_open" or breaker.probe != probe:
        return breaker
    return replace(breaker, until=until)


def hear_probe(breaker: Breaker, *, probe: str, now: float) -> Breaker:
    """The first of anything came of it: the others are let in, until it shows how it ends."""
    if breaker.state != "half_open" or breaker.probe != probe:
        return breaker
    return Breaker(since=now, probe=probe, openings=breaker.openings)


def end_probe(breaker: Breaker, rules: Rules, *, probe: str, verdict: Verdict, now: float) -> Breaker:
    """What the probe found; one that was taken for lost changes nothing. After one without a word the next may go.

    One that fails after its first word opens it again, for longer than before: an upstream that always breaks off would
    else be asked anew after each shortest cool-down, and what it breaks off nobody else answers.
    """
    if breaker.state == "open" or breaker.probe != probe:
        return breaker
    if verdict == "failed":
        return _opened(breaker, rules, now)
    if breaker.state == "closed":
        return replace(breaker, probe="", openings=0)
    return Breaker(since=now) if verdict == "answered" else replace(breaker, probe="", until=now)


def verdict_of(attempt: Attempt) -> Verdict:
    """Errors and timeouts are the upstream's failures, unless the request is to blame, or we are.

    A refusal and an answer without text show that it works; a stop shows nothing.
    """
    if attempt.outcome in ("ok", "refused", "empty"):
        return "answered"
    error = attempt.error
    if attempt.outcome not in ("error", "timeout") or error is None:
        return "nothing"
    is_ours = isinstance(error, InvalidRequest | Unsupported | NotAsked) or error.error_class in _OWN_FAULTS
    return "nothing" if is_ours else "failed"


def _opened(breaker: Breaker, rules: Rules, now: float) -> Breaker:
    # Beyond some doublings it is the longest anyway, and powers grow large.
    cool_down_s = min(rules.cool_down_s * 2 ** min(breaker.openings, 30), rules.longest_cool_down_s)
    return replace(breaker, state="open", since=now, until=now + cool_down_s, probe="", openings=breaker.openings + 1)
