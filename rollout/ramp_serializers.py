"""A ramp as a JSON document. Moments are ISO-8601 in UTC; ``null`` is "not known" or "nothing"."""

from datetime import UTC
from typing import get_args

from rest_framework import serializers

from rollout.api.documents import RampStageSerializer
from rollout.autopilot import Action
from rollout.models import AutopilotStep, RampMode, RampState
from rollout.ramp import VERBS
from rollout.schedule import Schedule


class StepSerializer(serializers.ModelSerializer[AutopilotStep]):
    """What the autopilot said last."""

    action = serializers.ChoiceField(choices=list(get_args(Action)))
    waitingFor = serializers.CharField(source="waiting_for")
    nextCheckAt = serializers.DateTimeField(source="next_check_at", default_timezone=UTC)
    isDone = serializers.BooleanField(source="is_done")
    since = serializers.DateTimeField(source="first_at", default_timezone=UTC)
    lookedAt = serializers.DateTimeField(source="last_at", default_timezone=UTC)

    class Meta:
        model = AutopilotStep
        fields = ("action", "code", "reason", "waitingFor", "nextCheckAt", "isDone", "since", "lookedAt")


class ScheduleSerializer(serializers.Serializer[Schedule]):
    """Where a ramp stands and what comes next."""

    rollout = serializers.CharField(source="rollout.name")
    mode = serializers.ChoiceField(choices=RampMode.choices, source="rollout.ramp_mode")
    state = serializers.ChoiceField(choices=RampState.choices, source="rollout.ramp_state")
    percent = serializers.FloatField(source="rollout.percent")
    since = serializers.DateTimeField(default_timezone=UTC)
    nextPercent = serializers.FloatField(source="next_percent", allow_null=True)
    earliest = serializers.DateTimeField(default_timezone=UTC, allow_null=True)
    step = StepSerializer(allow_null=True)
    isStale = serializers.BooleanField(source="is_stale", help_text="The autopilot has not looked lately.")
    verbs = serializers.ListField(child=serializers.ChoiceField(choices=list(VERBS)))
    proposed = serializers.ChoiceField(choices=list(VERBS), allow_null=True)
    stages = RampStageSerializer(many=True)
