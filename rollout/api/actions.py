"""The ramp's verbs as paths. Thin: which verb fits, and what it does, is said elsewhere."""

from typing import Any, cast

from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from api.idempotency import idempotent
from api.problems import refusals
from rollout import rights
from rollout.api.base import (
    ETAG,
    IF_MATCH,
    NAME,
    RolloutView,
    actor_of,
    expected_version,
    state_response,
    waiting_response,
)
from rollout.api.documents import RolloutSerializer, WaitsSerializer, WhySerializer
from rollout.changes import ChangeWaits, act, get_rollout
from rollout.ramp import VERBS, Verb


class ActionView(RolloutView):
    """One step of a ramp."""

    def may(self, user: Any) -> bool:
        """Stopping and approving are rights of their own."""
        if self.kwargs["verb"] not in VERBS:
            raise exceptions.NotFound(_("There is no such verb. There are: %(verbs)s.") % {"verbs": ", ".join(VERBS)})
        return rights.may_take(user, cast("Verb", self.kwargs["verb"]))

    @extend_schema(
        operation_id="act_on_rollout",
        summary="Take a ramp a step",
        tags=["rollouts"],
        parameters=[NAME, OpenApiParameter("verb", enum=VERBS, location="path"), IF_MATCH, ETAG],
        request=WhySerializer,
        responses={200: RolloutSerializer, 202: WaitsSerializer, **refusals(400, 404, 409, 412, 413, 415, 422)},
    )
    @idempotent
    def post(self, request: Request, name: str, verb: Verb) -> Response:
        """409 where it does not fit; `state` says where the ramp is. `If-Match` never holds up a `roll_back`."""
        get_rollout(name)
        wanted = WhySerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        try:
            rollout = act(
                name,
                verb,
                actor=actor_of(request),
                why=wanted.validated_data.get("why", ""),
                # A stop is never refused because somebody else was at it too.
                expected_version=None if verb == "roll_back" else expected_version(request, name),
                now=timezone.now(),
            )
        except ChangeWaits as waits:
            return waiting_response(waits)
        return state_response(rollout)
