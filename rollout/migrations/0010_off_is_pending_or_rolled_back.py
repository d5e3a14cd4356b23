from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rollout", "0009_ramp_states_and_groups")]

    operations = [
        migrations.AddConstraint(
            model_name='rollout',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('everyone', False), ('ramp_state__in', ('pending', 'rolled_back'))), models.Q(models.Q(('everyone__isnull', True), ('everyone', True), _connector='OR'), ('ramp_state__in', ('running', 'paused', 'completed'))), _connector='OR'), name='off_is_pending_or_rolled_back'),
        ),
    ]
