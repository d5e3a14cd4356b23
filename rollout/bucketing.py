"""Who is in: unit → bucket.

Knows arithmetic only: no Django, no clock, no dice, no storage. The same unit gets the same bucket in
a page, a task, a shell and the API.
"""

from decimal import Decimal
from hashlib import sha1
from typing import Literal

ArmName = Literal["baseline", "candidate"]
Reason = Literal["percentage", "everyone", "tester", "manual", "disabled", "not_in_rollout"]

# The first 15 hex digits of a SHA-1 are 60 bits; this is the largest value they take.
_SCALE = 16**15 - 1


def bucket(*, rollout: str, salt: str, unit: str) -> float:
    """The unit's fixed position in [0, 100) for one rollout; an empty ``salt`` drops its dot.

    The scheme is LaunchDarkly's published percentage-rollout hash: SHA-1 of ``key.salt.unit``, the
    first 15 hex digits, divided by their largest value.
    """
    key = f"{rollout}.{salt}.{unit}" if salt else f"{rollout}.{unit}"
    digest = sha1(key.encode(), usedforsecurity=False).hexdigest()
    return 100 * int(digest[:15], 16) / _SCALE


def in_candidate(*, rollout: str, salt: str, unit: str, percent: Decimal) -> bool:
    """True iff the unit's bucket lies below ``percent`` (0 to 100): raising it only adds units."""
    return percent >= 100 or bucket(rollout=rollout, salt=salt, unit=unit) < percent
