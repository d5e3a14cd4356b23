"""Django's middleware without threads: what only reads and writes headers runs in the event loop.

Django's own would each go to a thread and back before and after the view, which costs more than all that they do
there. What has to be stored goes to the request's thread as before. Nothing here may touch the database by itself:
Django's guard would make it an error. In a synchronous chain all is as Django has it.
"""

from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from csp import middleware as csp
from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware import clickjacking, common, csrf, locale, security
from django.utils.deprecation import MiddlewareMixin


class _InLoop(MiddlewareMixin):
    """Before Django's class among the bases."""

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        before, after = getattr(self, "process_request", None), getattr(self, "process_response", None)
        response: Any = before(request) if before is not None else None
        response = response or await self.get_response(request)  # type: ignore[misc]
        if after is not None:
            store = self.stores(request)
            response = await sync_to_async(after)(request, response) if store else after(request, response)
        return response  # type: ignore[no-any-return]

    def stores(self, request: HttpRequest) -> bool:
        """Whether something is stored once the view is through."""
        return False


class SecurityMiddleware(_InLoop, security.SecurityMiddleware):
    """HTTPS and its headers."""


class CSPMiddleware(_InLoop, csp.CSPMiddleware):
    """The content security policy."""


class SessionMiddleware(_InLoop, sessions.SessionMiddleware):
    """The session, read where it is first asked for."""

    def stores(self, request: HttpRequest) -> bool:
        """A session that has changed."""
        return request.session.modified


class LocaleMiddleware(_InLoop, locale.LocaleMiddleware):
    """The request's language."""


class CommonMiddleware(_InLoop, common.CommonMiddleware):
    """Hosts, slashes and lengths."""


class CsrfViewMiddleware(_InLoop, csrf.CsrfViewMiddleware):
    """The token of forms, which is kept in a cookie."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        super().__init__(get_response)
        if self.async_mode:
            self.process_view = self._process_view_async  # type: ignore[assignment]

    async def _process_view_async(self, request: HttpRequest, *view: Any) -> Any:
        check = super().process_view
        # It reads the form, and a form with files may be of any length.
        if request.content_type == "multipart/form-data":
            return await sync_to_async(check)(request, *view)
        return check(request, *view)


class AuthenticationMiddleware(_InLoop, auth.AuthenticationMiddleware):
    """The person behind the session, looked up where first asked for."""


class MessageMiddleware(_InLoop, messages.MessageMiddleware):
    """Messages for the next page."""

    def stores(self, request: HttpRequest) -> bool:
        """Messages that were shown, or are to be: they may be in the session."""
        kept: Any = getattr(request, "_messages", None)
        return kept is not None and (kept.used or kept.added_new)


class XFrameOptionsMiddleware(_InLoop, clickjacking.XFrameOptionsMiddleware):
    """No page of ours inside another's."""
