"""The rollout that exists after migration. Is handed the models, so that a migration can use it too."""

from decimal import Decimal
from typing import Any

from django.conf import settings

START_PERCENT = Decimal(5)
# The guide's ramp: a step a week.
RAMP = (Decimal(5), Decimal(15), Decimal(35), Decimal(100))
# Staff in this group get the weekly report by mail.
WEEKLY_REPORT_GROUP = "Weekly report"


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
            stage_model(rollout=rollout, position=position, percent=percent)
            for position, percent in enumerate(RAMP, start=1)
        )
