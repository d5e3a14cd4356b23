"""Who calls the API: a bearer token of ours. Sessions are DRF's own."""

from typing import TYPE_CHECKING

from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from chat import tokens

if TYPE_CHECKING:
    from chat.models import ApiToken, User


class BearerTokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer <token>``; 401 with the reason in words for a header that is no good.

    403 where a read-only token comes with a method that changes things, but for views that say they ``only_reads``.
    """

    def authenticate(self, request: Request) -> "tuple[User, ApiToken] | None":
        """The token's account, or ``None`` where the request carries no bearer header at all."""
        scheme, *rest = get_authorization_header(request).split() or [b""]
        if scheme.lower() != b"bearer":
            return None
        if len(rest) != 1:
            raise exceptions.AuthenticationFailed(_("The header must be: Authorization: Bearer <token>."))
        try:
            token = tokens.find_token(rest[0].decode("latin-1"), now=timezone.now())
        except tokens.TokenExpired as error:
            raise exceptions.AuthenticationFailed(_("This token has expired."), code="token_expired") from error
        if token is None:
            raise exceptions.AuthenticationFailed(_("This token is unknown or revoked."))
        view = (request.parser_context or {}).get("view")
        if token.is_read_only and request.method not in SAFE_METHODS and not getattr(view, "only_reads", False):
            raise exceptions.PermissionDenied(
                _("This token is read-only: it can look and change nothing."), code="read_only_token"
            )
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Makes DRF answer 401 instead of 403 where nobody is signed in."""
        return "Bearer"


class BearerTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI schema names it."""

    target_class = BearerTokenAuthentication
    name = "bearerToken"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        """HTTP bearer."""
        return {"type": "http", "scheme": "bearer"}
