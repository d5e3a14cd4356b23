"""The rollout that everyone starts with: chat-model → gemini-flash-lite, 5 %."""

from decimal import Decimal

from django.conf import settings
from django.db import migrations


def create(apps, schema_editor):
    rollout, created = apps.get_model("rollout", "Rollout").objects.get_or_create(
        name=settings.DEFAULT_ROLLOUT,
        defaults={
            "baseline": settings.DEFAULT_CHAT_MODEL,
            "candidate": settings.DEFAULT_ROLLOUT,
            "percent": Decimal(5),
        },
    )
    if created:
        stages = apps.get_model("rollout", "Stage").objects
        for position, percent in enumerate((5, 15, 35, 100), start=1):
            stages.create(rollout=rollout, position=position, percent=Decimal(percent))


class Migration(migrations.Migration):
    dependencies = [("rollout", "0001_initial")]

    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
