"""Periodic work of metrics. Thin: the clock is read here and handed on."""

from celery import shared_task
from django.utils import timezone

from metrics import reports


@shared_task(name="metrics.build_daily_reports")
def build_daily_reports() -> int:
    """Bring the daily reports up to date; safe to run twice, at once or late."""
    return reports.build_due_reports(now=timezone.now())
