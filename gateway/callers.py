"""Who asks: an application by its key, and the person behind the request by the unit that it names."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from gateway.errors import ApiError
from gateway.keys import PREFIX, find_key
from gateway.models import ApiKey
from gateway.wire_request import MAX_UNIT
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
    key = find_key(text_of(authorization), now=now)
    if key is None:
        raise _unknown()
    return key


def text_of(authorization: str) -> str:
    """What an ``Authorization`` header says is a key. Raises ApiError (401) where it can be none; asks nobody."""
    scheme, _space, text = authorization.partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text.startswith(PREFIX):
        raise _unknown()
    return text


def _unknown() -> ApiError:
    return ApiError(
        401,
        "This needs a live API key: Authorization: Bearer sk-sluice-…",
        code="invalid_api_key",
        headers={"WWW-Authenticate": "Bearer"},
    )


def unit_of(key: ApiKey, *, named: str, in_body: str) -> str:
    """The unit, in this order: the header's, the body's ``user``, the key's owner. Raises ApiError (400, 403)."""
    if named and not key.may_name_units:
        raise ApiError(403, "This key may not name units.", code="units_not_allowed", param="X-Sluice-Unit")
    if len(named) > MAX_UNIT or not named.isprintable():
        raise ApiError(400, "X-Sluice-Unit: not a unit.", code="invalid_value", param="X-Sluice-Unit")
    owner: Any = key.owner
    return (key.may_name_units and (named or in_body)) or owner.unit


def callers(asking: Sequence[tuple[ApiKey, str]]) -> list[Caller]:
    """Who is behind each key and unit, in order; in one query, and in none where everybody is a key's owner."""
    owners: dict[str, Any] = {key.owner.unit: key.owner for key, _unit in asking}
    others = {unit for key, unit in asking if unit != key.owner.unit}
    accounts = rollout_services.accounts_of(others) if others else {}
    return [
        Caller(key=key, unit=unit, recorded_unit=unit, user=owners[unit])
        if unit == key.owner.unit
        else Caller(key=key, unit=unit, recorded_unit=recorded(unit), user=accounts.get(unit))
        for key, unit in asking
    ]


def recorded(unit: str) -> str:
    """What is kept of a unit: ours as they are, which say nothing of anybody; of others, an address say, a digest."""
    try:
        if UUID(hex=unit).hex == unit:
            return unit
    except ValueError:
        pass
    return sha256(unit.encode()).hexdigest()[:32]
