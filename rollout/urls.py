"""Paths of the rollout's API."""

from django.urls import path

from rollout.api import StatusView
from rollout.api_reports import ReportsView, ReportView
from rollout.ofrep import FlagsView, FlagView

urlpatterns = [
    path("api/gemini-rollout-status", StatusView.as_view(), name="rollout-status"),
    # The same with a slash: older clients use both. One is enough in the schema.
    path("api/gemini-rollout-status/", StatusView.as_view(schema=None)),
    path("api/v1/rollouts/<str:name>/reports", ReportsView.as_view(), name="reports"),
    path("api/v1/rollouts/<str:name>/reports/<str:kind>/<str:day>", ReportView.as_view(), name="report"),
    path("ofrep/v1/evaluate/flags", FlagsView.as_view(), name="ofrep-flags"),
    path("ofrep/v1/evaluate/flags/<str:key>", FlagView.as_view(), name="ofrep-flag"),
]
