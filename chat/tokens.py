"""Programs' keys: made once, shown once, stored as a digest. Part of chat's services."""

import secrets
from datetime import datetime, timedelta
from hashlib import sha256

from chat.models import ApiToken, User
from metrics.statements import columns, select

PREFIX = "sluice_"
# Writing "last used" on each request would make every read a write.
_LAST_USED_STEP = timedelta(minutes=1)

# Asked for each request, and always the same: compiling it anew costs more than the database needs.
_TOKEN_SQL = f"""
    SELECT {columns(ApiToken, "token")}, {columns(User, "account")}
    FROM {ApiToken._meta.db_table} token JOIN {User._meta.db_table} account ON account.id = token.user_id
    WHERE token.digest = %s AND token.revoked_at IS NULL
"""  # noqa: S608


class TokenExpired(Exception):
    """The token was good once."""


def create_token(
    *, user: User, name: str = "", expires_at: datetime | None = None, is_read_only: bool = False
) -> tuple[ApiToken, str]:
    """Make a token for an account. The text returned is the only copy of it."""
    text = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=user,
        name=name,
        prefix=text[: len(PREFIX) + 5],
        digest=_digest(text),
        expires_at=expires_at,
        is_read_only=is_read_only,
    )
    return token, text


def find_token(text: str, *, now: datetime) -> ApiToken | None:
    """The live token behind ``text``, of an active account; notes its use, at most once a minute.

    Raises TokenExpired for one that would be live but for its time.
    """
    found = select(_TOKEN_SQL, [_digest(text)], ApiToken, User)
    if not found:
        return None
    token: ApiToken
    token, token.user = found[0]
    if not token.user.is_active:
        return None
    if token.expires_at is not None and token.expires_at <= now:
        raise TokenExpired
    if token.last_used_at is None or now - token.last_used_at >= _LAST_USED_STEP:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def revoke_token(token: ApiToken, *, now: datetime) -> None:
    """End a token. It stays listed, so that its last use can still be seen."""
    ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=now)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
