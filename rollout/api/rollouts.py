"""Rollouts: the list, a new one, one to read and to change. Thin: ``rollout.changes`` does the work."""

from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response

from api.conditions import etag_of, is_known
from api.idempotency import idempotent
from api.paging import CursorPages, page_of
from api.problems import Refusal, refusals
from rollout import rights
from rollout.api.base import (
    ETAG,
    IF_MATCH,
    IF_NONE_MATCH,
    NAME,
    RolloutView,
    actor_of,
    expected_version,
    state_response,
    waiting_response,
)
from rollout.api.documents import ChangeSerializer, CreateSerializer, RolloutSerializer, WaitsSerializer
from rollout.changes import ChangeWaits, change_rollout, create_rollout, get_rollout
from rollout.models import Rollout


class ByName(CursorPages):
    """In the order of their names."""

    ordering = ("name",)


class RolloutsView(RolloutView):
    """All rollouts."""

    def may(self, user: Any) -> bool:
        """Making one is a right of its own."""
        return super().may(user) if self.request.method in SAFE_METHODS else rights.may_add(user)

    @extend_schema(
        operation_id="list_rollouts",
        summary="All rollouts, by name",
        tags=["rollouts"],
        parameters=[OpenApiParameter("cursor", description="From a page's next or previous.")],
        responses={200: page_of(RolloutSerializer), **refusals(400)},
    )
    def get(self, request: Request) -> Response:
        """Fifty a page."""
        pages = ByName()
        found: QuerySet[Rollout] = Rollout.objects.all()
        page: Any = pages.paginate_queryset(found.prefetch_related("users", "groups", "stages"), request, view=self)
        return pages.get_paginated_response(RolloutSerializer(page, many=True).data)

    @extend_schema(
        operation_id="create_rollout",
        summary="A new rollout",
        tags=["rollouts"],
        parameters=[
            ETAG,
            OpenApiParameter("Location", location="header", response=[201], description="The new rollout's path."),
        ],
        request=CreateSerializer,
        responses={201: RolloutSerializer, **refusals(400, 409, 413, 415, 422)},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Off, unless it says otherwise; the verb `start` begins its ramp. 409: there is one of that name."""
        wanted = CreateSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        name, baseline, candidate = (wanted.validated_data[key] for key in ("name", "baseline", "candidate"))
        if Rollout.objects.filter(name=name).exists():
            told = _("There is a rollout of that name already.")
            raise Refusal(told, status=status.HTTP_409_CONFLICT, code="exists", fields=["name"])
        made = create_rollout(
            name,
            baseline=baseline,
            candidate=candidate,
            changes={"enabled": False, **wanted.changes()},
            actor=actor_of(request),
            why=wanted.validated_data.get("why", ""),
            now=timezone.now(),
        )
        headers = {"Location": reverse("rollout", args=[made.name])}
        return state_response(get_rollout(made.name), status=status.HTTP_201_CREATED, headers=headers)


class OneRolloutView(RolloutView):
    """One rollout."""

    def may(self, user: Any) -> bool:
        """Changing asks for more than looking."""
        return super().may(user) if self.request.method in SAFE_METHODS else rights.may_change(user)

    @extend_schema(
        operation_id="read_rollout",
        summary="One rollout: all that can be steered",
        tags=["rollouts"],
        parameters=[NAME, IF_NONE_MATCH, ETAG],
        responses={200: RolloutSerializer, 304: None, **refusals(404)},
    )
    def get(self, request: Request, name: str) -> Response:
        """As it is at this moment."""
        rollout = get_rollout(name)
        if is_known(request, etag_of(rollout.version)):
            return Response(status=status.HTTP_304_NOT_MODIFIED, headers={"ETag": etag_of(rollout.version)})
        return state_response(rollout)

    @extend_schema(
        operation_id="change_rollout",
        summary="Change a rollout",
        tags=["rollouts"],
        parameters=[NAME, IF_MATCH, ETAG],
        request=ChangeSerializer,
        responses={200: RolloutSerializer, 202: WaitsSerializer, **refusals(400, 404, 409, 412, 413, 415)},
    )
    def patch(self, request: Request, name: str) -> Response:
        """All that is given, or nothing. 202: it waits for a second person."""
        get_rollout(name)
        wanted = ChangeSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        changes = wanted.changes()
        if not changes:
            told = _("There is nothing to change. Give any of: %(known)s.") % {"known": ", ".join(wanted.fields)}
            raise Refusal(told, status=status.HTTP_400_BAD_REQUEST, code="empty")
        try:
            rollout = change_rollout(
                name,
                changes,
                actor=actor_of(request),
                why=wanted.validated_data.get("why", ""),
                expected_version=expected_version(request, name),
                now=timezone.now(),
            )
        except ChangeWaits as waits:
            return waiting_response(waits)
        return state_response(rollout)
