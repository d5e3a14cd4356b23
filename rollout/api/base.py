"""What the paths of rollouts share: who may, how refusals are answered, which version was meant."""

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext_lazy
from drf_spectacular.utils import OpenApiParameter
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from api.conditions import etag_of, wanted_versions
from api.problems import Refusal
from api.views import ApiView
from rollout import rights, services
from rollout.api.documents import RolloutSerializer, camel
from rollout.changes import (
    Actor,
    ChangeRefused,
    ChangeWaits,
    VerbRefused,
    VersionConflict,
    changed_since,
    get_rollout,
)
from rollout.models import Rollout, Source
from rollout.routing import UnitRefused

NAME = OpenApiParameter(
    "name", {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}, location="path", description="The rollout's name."
)
IF_MATCH = OpenApiParameter(
    "If-Match",
    location="header",
    description="Optional: the ETag of the state that was looked at. If it is another by now, nothing changes (412).",
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", location="header", description="The ETag that is known already: 304 while it holds."
)
ETAG = OpenApiParameter(
    "ETag", location="header", response=[200, 201, 304, 412], description='The state\'s version: `"v7"`.'
)


class RolloutView(ApiView):
    """A path of rollouts. Reading is for staff who may view rollouts; subclasses that do more ask for more."""

    not_allowed: Any = gettext_lazy("Only staff with the right to do so can do this.")

    def may(self, user: Any) -> bool:
        """Staff who may see rollouts."""
        return rights.may_see(user)

    def translate(self, error: Exception) -> Exception:
        """Refusals of rollout's services as problems."""
        if isinstance(error, VersionConflict):
            now = get_rollout(self.kwargs["name"])
            return Refusal(
                error.message,
                status=status.HTTP_412_PRECONDITION_FAILED,
                code="stale",
                more={"changes": in_camel(error.changes)},
                headers={"ETag": etag_of(now.version)},
            )
        if isinstance(error, VerbRefused):
            return Refusal(error.message, status=status.HTTP_409_CONFLICT, code=error.why, more={"state": error.state})
        if isinstance(error, services.WindowRefused):
            return Refusal(str(error), status=status.HTTP_400_BAD_REQUEST, code="invalid", fields=["hours"])
        if isinstance(error, UnitRefused):
            return Refusal(str(error), status=status.HTTP_400_BAD_REQUEST, code="invalid", fields=["unit"])
        if isinstance(error, ChangeRefused):
            codes = {"not_found": status.HTTP_404_NOT_FOUND, "conflict": status.HTTP_409_CONFLICT}
            found = codes.get(error.code, status.HTTP_400_BAD_REQUEST)
            fields = [camel(error.field)] if error.field else []
            return Refusal(error.message, status=found, code=error.code, fields=fields)
        return error


def actor_of(request: Request) -> Actor:
    """The account that asks, for the history."""
    return Actor.of_account(request.user, Source.API)


def expected_version(request: Request, name: str) -> int | None:
    """The version that a change must find; ``None`` where any will do. Raises VersionConflict, RolloutNotFound."""
    wanted = wanted_versions(request)
    current = get_rollout(name).version
    if wanted is None:
        return None
    if current not in wanted:
        raise VersionConflict(changed_since(name, max(wanted, default=current)))
    return current


def state_response(rollout: Rollout, **options: Any) -> Response:
    """The whole steerable state, with its tag."""
    response = Response(RolloutSerializer(rollout).data, **options)
    response["ETag"] = etag_of(rollout.version)
    return response


def waiting_response(waits: ChangeWaits) -> Response:
    """202: nothing is wrong and nothing is changed yet; a second person must agree."""
    document = {"code": waits.code, "detail": waits.message, "proposal": waits.proposal}
    return Response(document, status=status.HTTP_202_ACCEPTED)


def in_camel(changes: Any) -> dict[str, Sequence[Any]]:
    """Changed fields under the names that they have here."""
    return {camel(field): pair for field, pair in changes.items()}
