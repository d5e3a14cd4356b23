"""How a rollout stands and what is decided. Thin: ``rollout.services`` reads."""

from datetime import UTC
from hashlib import sha256
from typing import Any

from django.utils import timezone
from django.utils.translation import get_language
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from api.conditions import is_known
from api.problems import refusals
from rollout import services, words
from rollout.api.base import IF_NONE_MATCH, NAME, RolloutView
from rollout.api.status_document import StatusV1Serializer
from rollout.changes import get_rollout
from rollout.evaluation import decide_on, newest_evaluation
from rollout.glance import Glance
from rollout.models import Verdict
from rollout.ramp_serializers import ScheduleSerializer
from rollout.schedule import schedule
from rollout.serializers import CriterionSerializer, document_of

_WEAK_ETAG = OpenApiParameter(
    "ETag",
    location="header",
    response=[200, 304],
    description="Weak: another one when the figures are, or each minute.",
)


class DecisionSerializer(serializers.Serializer[Any]):
    """What the present run's figures say, and since when."""

    rollout = serializers.CharField()
    decision = serializers.ChoiceField(Verdict.choices)
    reason = serializers.CharField(help_text="In words.")
    since = serializers.DateTimeField(
        default_timezone=UTC, allow_null=True, help_text="Null where it is not kept yet: it is looked at each minute."
    )
    lastConfirmedAt = serializers.DateTimeField(default_timezone=UTC, allow_null=True)
    criteria = CriterionSerializer(many=True)


class StatusV1View(RolloutView):
    """Configuration, health of both arms, criteria, decision."""

    @extend_schema(
        operation_id="read_status",
        summary="How a rollout stands",
        tags=["rollouts"],
        parameters=[
            NAME,
            OpenApiParameter(
                "hours",
                {"type": "integer", "minimum": 1, "maximum": services.MAX_HOURS, "default": 24},
                description="The window, up to now.",
            ),
            IF_NONE_MATCH,
            _WEAK_ETAG,
        ],
        responses={200: StatusV1Serializer, 304: None, **refusals(400, 404)},
    )
    def get(self, request: Request, name: str) -> Response:
        """Over the last `hours`. Cheap to poll with `If-None-Match`: nothing is added up for a 304."""
        hours = services.parse_hours(request.query_params.get("hours", "24"))
        glance = services.glance_at(name, now=timezone.now())
        headers = {"ETag": _tag(glance, hours)}
        if is_known(request, headers["ETag"]):
            return Response(status=status.HTTP_304_NOT_MODIFIED, headers=headers)
        return Response(document_of(services.status_of(glance, hours=hours), StatusV1Serializer), headers=headers)


class DecisionView(RolloutView):
    """Go on, wait or turn back."""

    @extend_schema(
        operation_id="read_decision",
        summary="What is decided, and why",
        tags=["rollouts"],
        parameters=[NAME],
        responses={200: DecisionSerializer, **refusals(404)},
    )
    def get(self, request: Request, name: str) -> Response:
        """At this moment, with each criterion's evidence."""
        rollout = get_rollout(name)
        decision = decide_on(rollout, now=timezone.now())
        kept = newest_evaluation(rollout, decision)
        document = {
            "rollout": rollout.name,
            "decision": decision.verdict,
            "reason": words.reason(decision),
            "since": None if kept is None else kept.first_at,
            "lastConfirmedAt": None if kept is None else kept.last_at,
            "criteria": decision.criteria,
        }
        return Response(DecisionSerializer(document).data)


class ScheduleView(RolloutView):
    """The ramp: where it stands and what comes next."""

    @extend_schema(
        operation_id="read_schedule",
        summary="The ramp at one glance",
        tags=["rollouts"],
        parameters=[NAME],
        responses={200: ScheduleSerializer, **refusals(404)},
    )
    def get(self, request: Request, name: str) -> Response:
        """With the verbs that fit now, and the one that the autopilot proposes."""
        return Response(ScheduleSerializer(schedule(name, now=timezone.now())).data)


def _tag(glance: Glance, hours: int) -> str:
    shown = f"{glance.rollout.name} {hours} {get_language()} {glance.fingerprint}"
    return f'W/"{sha256(shown.encode()).hexdigest()[:32]}"'
