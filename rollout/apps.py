"""The sluice itself: who gets the candidate, who changed it, and what came of it."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class RolloutConfig(AppConfig):
    name = "rollout"
    verbose_name = _("Rollouts")

    def ready(self) -> None:
        """The history's own guard, after whatever a migration did to its table."""
        from rollout.append_only import forbid_changes

        post_migrate.connect(forbid_changes, sender=self)
