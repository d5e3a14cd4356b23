"""The status document, written once: what the API, ``rollout --json`` and the OpenAPI schema all show.

Names in camelCase are those of the older tool, whose clients still read them; its "geminiFlashLite" is the
rollout's candidate. Percentages are 0 to 100, latencies ms, money USD; null is "not known".
"""

from collections.abc import Mapping
from datetime import UTC
from functools import cache
from typing import Any, Literal

from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

from api.fields import Fields
from metrics.health import ArmHealth
from rollout.criteria import PerArm
from rollout.decisions import Criterion
from rollout.models import Stage
from rollout.routing_serializers import ShareSerializer
from rollout.status import Status
from rollout.words import criterion_in_words, criterion_title

# Raised when a key of the document changes its meaning or goes.
SCHEMA_VERSION = 1


def _number(source: str) -> serializers.FloatField:
    return serializers.FloatField(source=source, allow_null=True)


def _count(source: str) -> serializers.IntegerField:
    return serializers.IntegerField(source=source)


def _text(source: str) -> serializers.CharField:
    return serializers.CharField(source=source)


def _moment(source: str) -> serializers.DateTimeField:
    return serializers.DateTimeField(source=source, default_timezone=UTC)


def _part(name: str, fields: Fields) -> serializers.Serializer[Any]:
    """A nested object whose fields are read from the whole status."""
    return inline_serializer(name, fields, source="*")


def _per_arm(attribute: str) -> Fields:
    return {
        "geminiFlashLite": _number(f"health.candidate.{attribute}"),
        "baseline": _number(f"health.baseline.{attribute}"),
    }


class ArmSerializer(serializers.Serializer[ArmHealth]):
    """One arm's figures. Requests are first attempts; money and tokens count every attempt."""

    requests = serializers.IntegerField()
    people = serializers.IntegerField(allow_null=True)
    judged = serializers.IntegerField(help_text="Requests that ended and were not cancelled.")
    failed = _count("errors")
    outcomes = serializers.DictField(child=serializers.IntegerField())
    fallbacks = serializers.IntegerField()
    errorPercent = _number("error_percent")
    ttftMeanMs = _number("ttft_mean_ms")
    latencyMeanMs = _number("latency_mean_ms")
    ttftP50Ms = _number("ttft_p50_ms")
    ttftP95Ms = _number("ttft_p95_ms")
    ttftP99Ms = _number("ttft_p99_ms")
    latencyP50Ms = _number("latency_p50_ms")
    latencyP95Ms = _number("latency_p95_ms")
    latencyP99Ms = _number("latency_p99_ms")
    inputTokens = _count("input_tokens")
    outputTokens = _count("output_tokens")
    costUsd = _number("cost_usd")
    baselineCostUsd = _number("baseline_cost_usd")
    savedUsd = _number("saved_usd")
    savedPercent = _number("saved_percent")
    costUnknown = _count("cost_unknown")
    ratings = serializers.IntegerField()
    ratingMean = _number("rating_mean")
    ratingsByStar = serializers.DictField(child=serializers.IntegerField(), source="ratings_by_star")
    ratingReasons = serializers.DictField(child=serializers.IntegerField(), source="rating_reasons")
    errorsByClass = serializers.DictField(child=serializers.IntegerField(), source="errors_by_class")


class _CountsSerializer(serializers.Serializer[PerArm]):
    candidate = serializers.IntegerField()
    baseline = serializers.IntegerField()


class CriterionSerializer(serializers.Serializer[Criterion]):
    """One criterion with its evidence; see ``decisions.Criterion`` for units. What is not measured is null."""

    name = serializers.CharField()
    title = serializers.SerializerMethodField("in_title")
    state = serializers.CharField(help_text="inside, harm, unproven, not_measured or waived.")
    words = serializers.SerializerMethodField("in_words")
    unit = serializers.SerializerMethodField("in_unit")
    estimate = serializers.FloatField(allow_null=True)
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)
    margin = serializers.FloatField()
    logEHarm = _number("e_harm")
    logEWorse = _number("e_worse")
    logEInside = _number("e_inside")
    requests = _CountsSerializer()
    people = _CountsSerializer()
    watchOnly = serializers.BooleanField(source="watch_only")
    moreCalls = serializers.IntegerField(source="more_calls", allow_null=True)
    days = serializers.FloatField(allow_null=True)

    def in_title(self, criterion: Criterion) -> str:
        """The name for people."""
        return criterion_title(criterion.name)

    def in_words(self, criterion: Criterion) -> str:
        """The result in a sentence."""
        return criterion_in_words(criterion)

    def in_unit(self, criterion: Criterion) -> Literal["points", "percent", "stars"]:
        """What estimate, interval and margin are in."""
        return _UNITS[criterion.name]


_UNITS: Mapping[str, Literal["points", "percent", "stars"]] = {
    "errors": "points",
    "latency": "percent",
    "p95_latency": "points",
    "cost": "percent",
    "satisfaction": "stars",
}


class PassSerializer(serializers.Serializer[Criterion]):
    """A criterion as the older tool showed it: ``pass`` is true where inside is proven, null where nothing is."""

    value = _number("estimate")
    target = serializers.FloatField(source="margin")
    words = serializers.SerializerMethodField("in_words")

    def in_words(self, criterion: Criterion) -> str:
        """The result in a sentence."""
        return criterion_in_words(criterion)

    def get_fields(self) -> Fields:
        """``pass`` is a word of Python, so it can't be written as an attribute."""
        return {"pass": serializers.BooleanField(source="passed", allow_null=True), **super().get_fields()}


class NextStageSerializer(serializers.Serializer[Stage]):
    """A step of the ramp."""

    percent = serializers.FloatField()
    minDays = _count("min_days")
    minSample = _count("min_sample")


class StatusSerializer(serializers.Serializer[Status]):
    """How a rollout stands, from a ``services.Status``."""

    schemaVersion = serializers.SerializerMethodField("schema_version")
    timestamp = _moment("now")
    timeWindowHours = _count("hours")
    since = _moment("health.since")
    until = _moment("health.until")
    asOf = serializers.DateTimeField(
        source="health.as_of", default_timezone=UTC, allow_null=True, help_text="What had ended by then is counted."
    )
    rollout = _text("rollout.name")
    baseline = _text("rollout.baseline")
    candidate = _text("rollout.candidate")
    rolloutConfig = _part(
        "RolloutConfig",
        {
            "enabled": serializers.BooleanField(source="rollout.is_on"),
            "trafficPercentage": serializers.FloatField(source="rollout.percent"),
            "estimatedUsersAffected": _text("affected"),
            "forceModel": serializers.CharField(source="rollout.force_model", allow_null=True),
        },
    )
    metrics = _part(
        "Metrics",
        {
            "totalRequests": _count("health.requests"),
            "geminiFlashLiteRequests": _count("health.candidate.requests"),
            "trafficPercentage": _number("health.actual_percent"),
            "averageLatency": _part(
                "AverageLatency", {**_per_arm("ttft_mean_ms"), "improvement": _number("latency_improvement")}
            ),
            "costSavings": _part(
                "CostSavings",
                {
                    "totalSaved": _number("health.candidate.saved_usd"),
                    "percentageSaved": _number("health.candidate.saved_percent"),
                },
            ),
            "errorRates": _part("ErrorRates", _per_arm("error_percent")),
            "userSatisfaction": _part("UserSatisfaction", _per_arm("rating_mean")),
        },
    )
    evaluation = _part(
        "Evaluation",
        {
            "shouldProceed": serializers.BooleanField(source="should_proceed"),
            "criteriaEvaluation": inline_serializer(
                "CriteriaEvaluation",
                {
                    older: PassSerializer(source=f"criteria.{name}")
                    for older, name in (("latency", "latency"), ("cost", "cost"), ("stability", "errors"))
                },
                source="*",
            ),
            "recommendation": serializers.CharField(),
        },
    )
    status = serializers.SerializerMethodField("proceed_or_review")
    decision = _text("decision.verdict")
    reason = serializers.CharField()
    criteria = CriterionSerializer(many=True, source="decision.criteria")
    standingSince = _moment("standing_since")
    nextStage = NextStageSerializer(source="next_stage", allow_null=True)
    ageSeconds = _number("age_s")
    savings = _part(
        "Savings",
        {
            "windowUsd": _number("health.candidate.saved_usd"),
            "totalUsd": _number("saved_ever_usd"),
            "projectedUsd": _number("health.projected_savings_usd"),
        },
    )
    arms = _part("Arms", {arm: ArmSerializer(source=f"health.{arm}") for arm in ("candidate", "baseline")})
    split = _part(
        "Split",
        {
            "expectedPercentage": _number("health.expected_percent"),
            "actualPercentage": _number("health.actual_percent"),
            "expectedRequests": _number("health.expected_candidate"),
            "actualRequests": _count("health.candidate.requests"),
            "srm": serializers.BooleanField(
                source="decision.srm", help_text="People do not come to the arms as the percentage says."
            ),
        },
    )
    shares = ShareSerializer(many=True, help_text="Of all open rollouts of this baseline, in the order they are asked.")
    costUnknown = _part(
        "CostUnknown",
        {
            "geminiFlashLite": _count("health.candidate.cost_unknown"),
            "baseline": _count("health.baseline.cost_unknown"),
        },
    )
    otherRequests = serializers.DictField(child=serializers.IntegerField(), source="health.other")

    def schema_version(self, status: Status) -> int:
        """The version of this document's shape."""
        return SCHEMA_VERSION

    def proceed_or_review(self, status: Status) -> Literal["PROCEED", "REVIEW_NEEDED"]:
        """The older tool's two words for the decision."""
        return "PROCEED" if status.should_proceed else "REVIEW_NEEDED"


def document_of(status: Status, shape: type[StatusSerializer] = StatusSerializer) -> dict[str, Any]:
    """The status document as values for JSON."""
    return _made(shape).to_representation(status)


@cache
def _made(shape: type[StatusSerializer]) -> StatusSerializer:
    """One for all: it keeps nothing of what it writes, and to make its fields costs more than to use them."""
    return shape()
