"""The rollout that everyone starts with: chat-model → gemini-flash-lite, 5 %."""

from django.db import migrations

from rollout.defaults import create_default_rollout


def create(apps, schema_editor):
    create_default_rollout(apps.get_model("rollout", "Rollout"), apps.get_model("rollout", "Stage"))


class Migration(migrations.Migration):
    dependencies = [("rollout", "0001_initial")]

    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
