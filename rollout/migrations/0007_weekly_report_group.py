"""The group whose members get the weekly report by mail."""

from django.db import migrations

from rollout.defaults import WEEKLY_REPORT_GROUP


def create(apps, schema_editor):
    apps.get_model("auth", "Group").objects.get_or_create(name=WEEKLY_REPORT_GROUP)


class Migration(migrations.Migration):
    dependencies = [("rollout", "0006_deliveries"), ("auth", "0012_alter_user_first_name_max_length")]

    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
