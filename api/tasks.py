"""Periodic work of the API. Thin: the clock is read here and handed on."""

from celery import shared_task
from django.utils import timezone

from api.idempotency import delete_old_answers


@shared_task(name="api.delete_old_answers")
def delete_answers_that_are_too_old() -> int:
    """Forget answers of yesterday; safe to run twice, at once or late."""
    return delete_old_answers(now=timezone.now())
