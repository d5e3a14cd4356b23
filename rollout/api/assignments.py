"""Which arm a unit would get, and why. Thin: ``rollout.routing`` says; nothing is recorded."""

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from api.problems import refusals
from rollout.api.base import NAME, RolloutView
from rollout.routing import MAX_UNIT_CHARS, account_of, explain, parse_unit
from rollout.routing_serializers import ExplanationSerializer


class AssignmentView(RolloutView):
    """One unit in one rollout."""

    @extend_schema(
        operation_id="explain_assignment",
        summary="Which arm a unit would get, and why",
        tags=["rollouts"],
        parameters=[
            NAME,
            OpenApiParameter(
                "unit",
                {"type": "string", "minLength": 1, "maxLength": MAX_UNIT_CHARS},
                location="path",
                description="The unit's id, as calls have it.",
            ),
            OpenApiParameter("language", description="Of the person's browser: it may make them a tester."),
        ],
        responses={200: ExplanationSerializer, **refusals(400, 404)},
    )
    def get(self, request: Request, name: str, unit: str) -> Response:
        """As a request for the baseline would be routed now."""
        language = request.query_params.get("language", "")
        found = explain(name, parse_unit(unit), user=account_of(unit), language=language)
        return Response(ExplanationSerializer(found).data)
