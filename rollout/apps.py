"""The sluice itself: who gets the candidate, who changed it, and what came of it."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RolloutConfig(AppConfig):
    name = "rollout"
    verbose_name = _("Rollouts")
