"""Who asks: an application by its key, and the person behind the request by the unit that it names."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from gateway.errors import ApiError
from gateway.keys import find_key
from gateway.models import ApiKey
from gateway.wire import MAX_UNIT
from rollout import services as rollout_services


@dataclass(frozen=True, kw_only=True)
class Caller:
    """``unit`` decides the arm; ``recorded_unit`` is what is kept of it; ``user`` is its account, if it has one."""

    key: ApiKey
    unit: str
    recorded_unit: str
    user: Any


def application(authorization: str, *, now: datetime) -> ApiKey:
    """The key of an ``Authorization`` header. Raises ApiError (401)."""
    scheme, _space, text = authorization.partition(" ")
    key = find_key(text.strip(), now=now) if scheme.lower() == "bearer" else None
    if key is None:
        raise ApiError(
            401,
            "This needs a live API key: Authorization: Bearer sk-sluice-…",
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return key


def caller(key: ApiKey, *, named: str, in_body: str) -> Caller:
    """The unit, in this order: the header's, the body's ``user``, the key's owner. Raises ApiError (400, 403)."""
    if named and not key.may_name_units:
        raise ApiError(403, "This key may not name units.", code="units_not_allowed", param="X-Sluice-Unit")
    if len(named) > MAX_UNIT or not named.isprintable():
        raise ApiError(400, "X-Sluice-Unit: not a unit.", code="invalid_value", param="X-Sluice-Unit")
    unit = (named or in_body) if key.may_name_units else ""
    owner: Any = key.owner
    if not unit or unit == owner.unit:
        return Caller(key=key, unit=owner.unit, recorded_unit=owner.unit, user=owner)
    return Caller(key=key, unit=unit, recorded_unit=recorded(unit), user=rollout_services.account_of(unit))


def recorded(unit: str) -> str:
    """What is kept of a unit: ours as they are, which say nothing of anybody; of others, an address say, a digest."""
    try:
        if UUID(hex=unit).hex == unit:
            return unit
    except ValueError:
        pass
    return sha256(unit.encode()).hexdigest()[:32]
