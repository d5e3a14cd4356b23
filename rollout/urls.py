"""Paths of the rollout's API."""

from django.urls import path

from rollout.api.actions import ActionView
from rollout.api.assignments import AssignmentView
from rollout.api.history import HistoryView
from rollout.api.legacy import StatusView
from rollout.api.reports import ReportsView, ReportView
from rollout.api.rollouts import OneRolloutView, RolloutsView
from rollout.api.status import DecisionView, ScheduleView, StatusV1View
from rollout.ofrep import FlagsView, FlagView

_ONE = "api/v1/rollouts/<slug:name>"

urlpatterns = [
    path("api/gemini-rollout-status", StatusView.as_view(), name="rollout-status"),
    # The same with a slash: older clients use both. One is enough in the schema.
    path("api/gemini-rollout-status/", StatusView.as_view(schema=None)),
    path("api/v1/rollouts", RolloutsView.as_view(), name="rollouts"),
    path(_ONE, OneRolloutView.as_view(), name="rollout"),
    path(f"{_ONE}/status", StatusV1View.as_view(), name="rollout-status-v1"),
    path(f"{_ONE}/decision", DecisionView.as_view(), name="rollout-decision"),
    path(f"{_ONE}/schedule", ScheduleView.as_view(), name="rollout-schedule"),
    path(f"{_ONE}/history", HistoryView.as_view(), name="rollout-history"),
    path(f"{_ONE}/actions/<slug:verb>", ActionView.as_view(), name="rollout-action"),
    path(f"{_ONE}/assignments/<path:unit>", AssignmentView.as_view(), name="rollout-assignment"),
    path(f"{_ONE}/reports", ReportsView.as_view(), name="reports"),
    path(f"{_ONE}/reports/<slug:kind>/<slug:day>", ReportView.as_view(), name="report"),
    path("ofrep/v1/evaluate/flags", FlagsView.as_view(), name="ofrep-flags"),
    path("ofrep/v1/evaluate/flags/<str:key>", FlagView.as_view(), name="ofrep-flag"),
]
