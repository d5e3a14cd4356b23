"""Paths of the calls' API."""

from django.urls import path

from metrics.api import ExportView

urlpatterns = [path("api/v1/calls/export", ExportView.as_view(), name="calls-export")]
