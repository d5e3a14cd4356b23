"""The rollout that there is from the beginning, and the names of groups that come with migrations."""

from decimal import Decimal
from typing import Any

from django.conf import settings

START_PERCENT = Decimal(5)
# The guide's ramp: a step a week, and somebody agrees to the last one.
RAMP: tuple[dict[str, Any], ...] = (
    {"percent": Decimal(5)},
    {"percent": Decimal(15)},
    {"percent": Decimal(35)},
    {"percent": Decimal(100), "needs_approval": True},
)
# Staff in this group get the weekly report by mail.
WEEKLY_REPORT_GROUP = "Weekly report"


# Groups for what people may do with rollouts.
VIEWERS, OPERATORS, ON_CALL = "Rollout viewers", "Rollout operators", "Rollout on-call"


def create_default_rollout(rollout_model: Any, stage_model: Any) -> None:
    """Create ``chat-model`` → ``gemini-flash-lite`` at 5 %, enabled, unless a rollout of that name exists."""
    rollout, created = rollout_model.objects.get_or_create(
        name=settings.DEFAULT_ROLLOUT,
        defaults={
            "baseline": settings.DEFAULT_CHAT_MODEL,
            "candidate": settings.DEFAULT_ROLLOUT,
            "percent": START_PERCENT,
        },
    )
    if created:
        stage_model.objects.bulk_create(
            stage_model(rollout=rollout, position=position, **stage) for position, stage in enumerate(RAMP, start=1)
        )
