"""Applications' keys: made once, shown once, stored as a digest. Part of the gateway's services."""

import secrets
from datetime import datetime
from typing import Any

from chat.models import User
from gateway.models import ApiKey
from metrics.statements import columns, select

# As long as is shown of it, with five characters of its own.
PREFIX = "sk-sluice-"

# Asked for each request, and always the same: compiling it anew costs five times what the database needs.
_KEY_SQL = f"""
    SELECT {columns(ApiKey, "own")}, {columns(User, "owner")}
    FROM {ApiKey._meta.db_table} own JOIN {User._meta.db_table} owner ON owner.id = own.owner_id
    WHERE own.digest = %s AND own.revoked_at IS NULL
"""  # noqa: S608


def create_key(*, name: str, owner: Any, **limits: Any) -> tuple[ApiKey, str]:
    """Make a key for an application. The text returned is the only copy of it; ``limits`` are the model's fields."""
    text = new_text()
    key = ApiKey(name=name, owner=owner, **limits)
    key.set_text(text)
    key.full_clean()
    key.save()
    return key, text


def new_text() -> str:
    """A fresh key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def find_key(text: str, *, now: datetime) -> ApiKey | None:
    """The live key behind ``text``, with its owner: not revoked, not expired, of an active account."""
    key: ApiKey
    for key, owner in select(_KEY_SQL, [ApiKey.digest_of(text)], ApiKey, User):
        key.owner = owner
        if owner.is_active and (key.expires_at is None or key.expires_at > now):
            return key
    return None


def revoke_key(key: ApiKey, *, now: datetime) -> None:
    """End a key, from the next request on. It stays listed."""
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now)
