"""Who is in: unit → bucket.

Knows arithmetic only: no Django, no clock, no dice, no storage. The same unit gets the same bucket in
a page, a task, a shell and the API.
"""

from decimal import Decimal
from hashlib import sha1
from struct import Struct
from typing import Literal

ArmName = Literal["baseline", "candidate"]
Reason = Literal["percentage", "everyone", "tester", "manual", "disabled", "breaker_open", "not_in_rollout"]

# The first 15 hex digits of a SHA-1 are 60 bits; this is the largest value they take.
_SCALE = 16**15 - 1
_FIRST_64_BITS = Struct(">Q").unpack_from


def bucket(*, rollout: str, salt: str, unit: str) -> float:
    """The unit's fixed position in [0, 100) for one rollout; an empty ``salt`` drops its dot.

    The scheme is LaunchDarkly's published percentage-rollout hash: SHA-1 of ``key.salt.unit``, the
    first 15 hex digits, divided by their largest value.
    """
    return 100 * _position(rollout, salt, unit) / _SCALE


def in_candidate(*, rollout: str, salt: str, unit: str, percent: Decimal) -> bool:
    """True iff the unit's bucket lies below ``percent`` (0 to 100): raising it only adds units."""
    # In whole numbers: exact, and a float against a Decimal costs three times what the hash does.
    hundredths = int(100 * percent)
    return hundredths >= 10_000 or 10_000 * _position(rollout, salt, unit) < hundredths * _SCALE


def _position(rollout: str, salt: str, unit: str) -> int:
    """0 to ``_SCALE``: 60 of 64 bits are 15 of 16 hex digits."""
    key = f"{rollout}.{salt}.{unit}" if salt else f"{rollout}.{unit}"
    first: int = _FIRST_64_BITS(sha1(key.encode(), usedforsecurity=False).digest())[0]
    return first >> 4
