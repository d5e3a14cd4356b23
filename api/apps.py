"""How every API of this house talks: problems, limits, repeated requests, conditions. Knows HTTP and nothing else."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ApiConfig(AppConfig):
    name = "api"
    verbose_name = _("API")
