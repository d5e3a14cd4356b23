"""What all views of ``/api/v1/`` share: who asks, how often, and how they are refused."""

from time import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.views import APIView

from api.limits import Allowance, take
from api.parsing import StrictJSONParser
from api.problems import KINDS, Refusal, problem_response
from api.renderers import FormatNegotiation


def account_of(request: Request) -> Any:
    """Who asks. NotAuthenticated (401) for guests too: nobody knows who they are."""
    user: Any = request.user
    if not user.is_authenticated or user.is_guest:
        raise exceptions.NotAuthenticated(_("Sign in, or send a token: Authorization: Bearer <token>."))
    return user


class ApiView(APIView):
    """One path of the API. Subclasses say who ``may`` use it (else nobody) and ``translate`` services' errors."""

    parser_classes = [StrictJSONParser]
    content_negotiation_class: Any = FormatNegotiation
    not_allowed: Any = gettext_lazy("This account may not do that.")
    allowance: Allowance | None = None

    def may(self, user: Any) -> bool:
        """Whether this account, which is one of its own, may do what it asks for."""
        return False

    def translate(self, error: Exception) -> Exception:
        """What a service raised, as a refusal; anything else as it is."""
        return error

    def get_exception_handler(self) -> Any:
        """Problem details."""
        return problem_response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Count first: a request that is refused for another reason is one too."""
        try:
            user: Any = request.user
        except exceptions.APIException:
            self._count(f"address:{request.META.get('REMOTE_ADDR', '')}")
            raise
        self._count(f"account:{user.pk}" if user.is_authenticated else f"address:{request.META.get('REMOTE_ADDR', '')}")
        super().initial(request, *args, **kwargs)

    def check_permissions(self, request: Request) -> None:
        """NotAuthenticated for who is nobody, PermissionDenied for who may not."""
        if not self.may(account_of(request)):
            raise exceptions.PermissionDenied(self.not_allowed)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Add what every answer says."""
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Cache-Control", "private, no-cache")
        if self.allowance is not None:
            for name, value in self.allowance.headers.items():
                response.headers[name] = value
        return response

    def _count(self, who: str) -> None:
        self.allowance = take(who, quota=settings.API_RATE_LIMIT, now=time())
        if self.allowance is not None and self.allowance.is_spent:
            told = _("At most %(quota)d requests a minute. Try again in %(seconds)d seconds.") % {
                "quota": self.allowance.quota,
                "seconds": self.allowance.resets_s,
            }
            raise Refusal(told, status=429, code="too_many_requests")


class UnknownPath(ApiView):
    """Any other path under ``/api/v1/``."""

    schema = None

    def check_permissions(self, request: Request) -> None:
        """That there is nothing is no secret."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Whatever the method: there is nothing."""
        super().initial(request, *args, **kwargs)
        raise exceptions.NotFound(_("There is no such path."))


def problems_page(request: HttpRequest) -> HttpResponse:
    """What each type of problem means, for people."""
    return render(request, "api/problems.html", {"kinds": sorted(KINDS.items())})
