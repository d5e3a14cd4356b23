"""Periodic work of chat. Thin: the clock is read here and handed on."""

from celery import shared_task
from django.utils import timezone

from chat import services


@shared_task(name="chat.sweep_abandoned")
def sweep_abandoned() -> int:
    """End what dead processes left running; safe to run twice, at once or late."""
    return services.sweep_abandoned(now=timezone.now())
