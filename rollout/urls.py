"""Paths of the rollout's API."""

from django.urls import path

from rollout.api import StatusView

urlpatterns = [
    path("api/gemini-rollout-status", StatusView.as_view(), name="rollout-status"),
    # The same with a slash: older clients use both. One is enough in the schema.
    path("api/gemini-rollout-status/", StatusView.as_view(schema=None)),
]
