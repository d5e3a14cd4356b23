"""The floor of the house: it stores what happened and adds it up."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class MetricsConfig(AppConfig):
    name = "metrics"
    verbose_name = _("Metrics")

    def ready(self) -> None:
        """The first days' partitions are there before the first call is."""
        post_migrate.connect(_make_partitions, sender=self)


def _make_partitions(**_: Any) -> None:
    from metrics.partitions import make_coming_partitions

    make_coming_partitions(now=timezone.now())
