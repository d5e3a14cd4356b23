"""Messages on their way to people: stored first, then sent, and tried again until they are taken. Part of services.

Nothing waits for a delivery, and none is lost with a process: a task sends what is due. At least once; the delivery's
id goes along, so that a receiver can tell a repetition.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from smtplib import SMTPException
from typing import Any

from django.core.mail import EmailMultiAlternatives

from rollout.models import Delivery

logger = logging.getLogger(__name__)

Channel, State = Delivery.Channel, Delivery.State
# While one process sends, no other does; one that died is followed after this long.
LEASE = timedelta(minutes=2)
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(hours=1)
MOST_ATTEMPTS = 14
KEPT_DAYS = 90
BATCH = 50


class NotTaken(Exception):
    """The target did not take it; the text says why, in our own words."""


def post(
    *,
    rollout: str,
    event: str,
    key: str,
    targets: Iterable[tuple[str, str]],
    write: Callable[[], Mapping[str, Any]],
    now: datetime,
) -> int:
    """Keep a message for each target, a pair of channel and address. Returns how many had not had this ``key`` yet.

    ``write`` makes the message, and is called only where it has somewhere to go.
    """
    had = set(Delivery.objects.filter(key=key).values_list("channel", "target"))
    wanted = [pair for pair in dict.fromkeys(targets) if pair not in had]
    if not wanted:
        return 0
    message = write()
    Delivery.objects.bulk_create(
        [
            Delivery(
                rollout=rollout,
                event=event,
                channel=channel,
                target=target,
                key=key,
                message=message,
                created_at=now,
                next_try_at=now,
            )
            for channel, target in wanted
        ],
        ignore_conflicts=True,
    )
    return len(wanted)


def deliver_due(*, clock: Callable[[], datetime]) -> int:
    """Send what is due. Safe to run twice, at once or late. Returns how many were sent."""
    due = Delivery.objects.filter(state=State.PENDING, next_try_at__lte=clock()).order_by("next_try_at")
    return sum(_deliver(delivery, clock) for delivery in list(due[:BATCH]))


def delete_old_deliveries(*, now: datetime) -> int:
    """Forget what ended ``KEPT_DAYS`` ago. Returns how many."""
    return Delivery.objects.filter(ended_at__lt=now - timedelta(days=KEPT_DAYS)).delete()[0]


def _deliver(delivery: Delivery, clock: Callable[[], datetime]) -> bool:
    mine = Delivery.objects.filter(pk=delivery.pk, state=State.PENDING, next_try_at=delivery.next_try_at)
    if not mine.update(next_try_at=clock() + LEASE, attempts=delivery.attempts + 1):
        return False
    try:
        _SENDERS[delivery.channel](delivery)
    except NotTaken as error:
        _put_off(delivery, str(error), clock())
        return False
    Delivery.objects.filter(pk=delivery.pk).update(state=State.SENT, ended_at=clock(), next_try_at=None, error="")
    return True


def _put_off(delivery: Delivery, error: str, now: datetime) -> None:
    attempts = delivery.attempts + 1
    gives_up = attempts >= MOST_ATTEMPTS
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempts - 1))
    Delivery.objects.filter(pk=delivery.pk).update(
        state=State.FAILED if gives_up else State.PENDING,
        ended_at=now if gives_up else None,
        next_try_at=None if gives_up else now + wait,
        error=error[:300],
    )
    logger.warning("Delivery failed: %s", error, extra={"delivery": str(delivery.pk), "attempts": attempts})


def _send_mail(delivery: Delivery) -> None:
    message = delivery.message
    mail = EmailMultiAlternatives(
        message["subject"], message["text"], to=[delivery.target], headers={"X-Sluice-Delivery": str(delivery.pk)}
    )
    if message.get("html"):
        mail.attach_alternative(message["html"], "text/html")
    try:
        mail.send()
    except (OSError, SMTPException, ValueError) as error:
        # ValueError: a header or an address that no mail can have. A server's own words may hold addresses and more.
        raise NotTaken(f"mail server: {type(error).__name__}") from error


_SENDERS: Mapping[str, Callable[[Delivery], None]] = {Channel.EMAIL: _send_mail}
