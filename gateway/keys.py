"""Applications' keys: made once, shown once, stored as a digest. Part of the gateway's services."""

import secrets
from datetime import datetime
from typing import Any

from gateway.models import ApiKey

# As long as is shown of it, with five characters of its own.
PREFIX = "sk-sluice-"


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
    key = ApiKey.objects.select_related("owner").filter(digest=ApiKey.digest_of(text), revoked_at=None).first()
    if key is None or not key.owner.is_active or (key.expires_at is not None and key.expires_at <= now):
        return None
    return key


def revoke_key(key: ApiKey, *, now: datetime) -> None:
    """End a key, from the next request on. It stays listed."""
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now)
