"""Periodic work of rollout. Thin: the clock is read here and handed on."""

from celery import shared_task
from django.utils import timezone

from rollout.evaluation import evaluate_rollouts
from rollout.reports import build_due_reports


@shared_task(name="rollout.evaluate")
def evaluate() -> int:
    """Evaluate every open rollout; safe to run twice, at once or late."""
    return len(evaluate_rollouts(now=timezone.now()))


@shared_task(name="rollout.build_reports")
def build_reports() -> int:
    """Build the reports that are due; safe to run twice, at once or late."""
    return build_due_reports(now=timezone.now())
