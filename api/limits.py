"""How often one account may ask: so many requests in each minute, counted in Redis for all processes together.

The headers are those of draft-ietf-httpapi-ratelimit-headers-10, section 3. A minute is the clock's, so that over its
end twice as many can come in a row.
"""

from dataclasses import dataclass

from api.counting import count

WINDOW_S = 60


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What is left after a request: ``used`` of ``quota`` in the minute that ends in ``resets_s`` seconds."""

    quota: int
    used: int
    resets_s: int

    @property
    def is_spent(self) -> bool:
        """Whether this request was one too many."""
        return self.used > self.quota

    @property
    def headers(self) -> dict[str, str]:
        """For every answer; ``Retry-After`` where it is spent."""
        told = {
            "RateLimit-Policy": f'"default";q={self.quota};w={WINDOW_S}',
            "RateLimit": f'"default";r={max(self.quota - self.used, 0)};t={self.resets_s}',
        }
        return {**told, "Retry-After": str(self.resets_s)} if self.is_spent else told


def take(who: str, *, quota: int, now: float) -> Allowance | None:
    """Count a request of ``who`` at ``now`` (seconds since 1970). ``None`` where Redis can't be asked: all pass."""
    window, into = divmod(int(now), WINDOW_S)
    used = count(f"api-limit:{who}:{window}", keep_s=2 * WINDOW_S)
    return None if used is None else Allowance(quota=quota, used=used, resets_s=WINDOW_S - into)
