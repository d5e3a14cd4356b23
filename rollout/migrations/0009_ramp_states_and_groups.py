"""Where each rollout's ramp stands already, the last stage's approval, and groups for who may do what."""

from django.db import migrations

from rollout.defaults import ON_CALL, OPERATORS, VIEWERS

_VIEW = ("rollout", "rolloutchange", "evaluation", "report", "autopilotstep", "proposal", "checklistentry")
_RIGHTS = {
    VIEWERS: (),
    OPERATORS: ("add_rollout", "change_rollout", "approve_rollout", "stop_rollout"),
    ON_CALL: ("stop_rollout",),
}


def place(apps, schema_editor):
    changes = apps.get_model("rollout", "RolloutChange").objects
    for rollout in apps.get_model("rollout", "Rollout").objects.filter(everyone=False):
        ran = changes.filter(rollout=rollout.name, changes__enabled=[True, False]).exists()
        rollout.ramp_state = "rolled_back" if ran else "pending"
        rollout.save(update_fields=["ramp_state"])
    apps.get_model("rollout", "Stage").objects.filter(percent=100).update(needs_approval=True)


def make_groups(apps, schema_editor):
    types, permissions = apps.get_model("contenttypes", "ContentType"), apps.get_model("auth", "Permission")

    def right(codename, model):
        # Django makes them after all migrations; those that are here already it leaves alone.
        of, _created = types.objects.get_or_create(app_label="rollout", model=model)
        name = {
            "approve_rollout": "Can approve the steps of rollouts and what others propose",
            "stop_rollout": "Can stop rollouts",
        }.get(codename, f"Can {codename.replace('_', ' ')}")
        return permissions.objects.get_or_create(content_type=of, codename=codename, defaults={"name": name})[0]

    for name, rights in _RIGHTS.items():
        group, _created = apps.get_model("auth", "Group").objects.get_or_create(name=name)
        group.permissions.add(
            *(right(f"view_{model}", model) for model in _VIEW), *(right(codename, "rollout") for codename in rights)
        )


class Migration(migrations.Migration):
    dependencies = [
        ("rollout", "0008_ramp"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.RunPython(place, migrations.RunPython.noop),
        migrations.RunPython(make_groups, migrations.RunPython.noop),
    ]
