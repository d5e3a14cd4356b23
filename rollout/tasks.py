"""Periodic work of rollout. Thin: the clock is read here and handed on."""

from celery import shared_task
from django.utils import timezone

from rollout.deliveries import delete_old_deliveries, deliver_due
from rollout.pilot import tick
from rollout.report_mail import mail_due_reports
from rollout.reports import build_due_reports


@shared_task(name="rollout.autopilot")
def autopilot() -> int:
    """Decide on every rollout and take the ramps on; safe to run twice, at once or late."""
    return tick(clock=timezone.now)


@shared_task(name="rollout.build_reports")
def build_reports() -> int:
    """Build the reports that are due, and post those that are to be mailed; safe to run twice, at once or late."""
    built = build_due_reports(now=timezone.now())
    mail_due_reports(now=timezone.now())
    return built


@shared_task(name="rollout.deliver")
def deliver() -> int:
    """Send what is due; safe to run twice, at once or late."""
    return deliver_due(clock=timezone.now)


@shared_task(name="rollout.delete_old_deliveries")
def delete_deliveries_that_are_too_old() -> int:
    """Forget what was sent long ago; safe to run twice, at once or late."""
    return delete_old_deliveries(now=timezone.now())
