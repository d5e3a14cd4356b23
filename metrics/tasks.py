"""Periodic work of metrics. Thin: the clock is read here and handed on."""

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from metrics.partitions import make_coming_partitions
from metrics.people import count_people
from metrics.retention import delete_old_calls
from metrics.rollup import roll_up


@shared_task(name="metrics.roll_up")
def roll_up_calls() -> int:
    """Add the calls that have ended to the roll-ups; safe to run twice, at once or late."""
    return roll_up(now=timezone.now())


@shared_task(name="metrics.count_people")
def count_people_of_ended_slices() -> int:
    """Count who was there in the hours and days that are over; safe to run twice, at once or late."""
    return count_people(now=timezone.now())


@shared_task(name="metrics.delete_old_calls")
def delete_calls_that_are_too_old() -> int:
    """Keep single calls for CALL_RETENTION_DAYS; safe to run twice, at once or late."""
    return delete_old_calls(now=timezone.now(), days=settings.CALL_RETENTION_DAYS)


@shared_task(name="metrics.make_partitions")
def make_partitions_ahead() -> int:
    """Make the partitions of the coming days' calls; safe to run twice, at once or late."""
    return make_coming_partitions(now=timezone.now())
