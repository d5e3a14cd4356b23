"""Messages on their way to people: stored first, then sent, and tried again until they are taken. Part of services.

Nothing waits for a delivery, and none is lost with a process: a task sends what is due. At least once; the delivery's
id goes along, so that a receiver can tell a repetition.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime, timedelta
from smtplib import SMTPException
from typing import Any, NamedTuple

from django.conf import settings
from django.core.mail import EmailMultiAlternatives

from rollout import public_http
from rollout.models import Delivery, NoticeTarget
from rollout.webhooks import slack_request, webhook_request

logger = logging.getLogger(__name__)

Channel, State = Delivery.Channel, Delivery.State
# While one process sends, no other does; one that died is followed after this long.
LEASE = timedelta(minutes=2)
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(hours=1)
MOST_ATTEMPTS = 14
KEPT_DAYS = 90
BATCH = 50
AT_ONCE = 8
# A receiver's word for "never again" (RFC 9110, 15.5.11).
GONE = 410


class NotTaken(Exception):
    """The target did not take it; the text says why. ``is_final``: nor will it."""

    def __init__(self, why: str, *, is_final: bool = False) -> None:
        super().__init__(why)
        self.is_final = is_final


class Target(NamedTuple):
    """Where a message goes: its channel, its address (or a name for it), and the notice target's id where it is one."""

    channel: str
    address: str
    notice_target: int | None = None


def post(
    *,
    rollout: str,
    event: str,
    key: str,
    targets: Iterable[Target],
    write: Callable[[], Mapping[str, Any]],
    now: datetime,
) -> int:
    """Keep a message for each target. Returns how many had not had this ``key`` yet.

    ``write`` makes the message, and is called only where it has somewhere to go.
    """
    had = set(Delivery.objects.filter(key=key).values_list("channel", "target"))
    wanted = [target for target in dict.fromkeys(targets) if (target.channel, target.address) not in had]
    if not wanted:
        return 0
    message = write()
    Delivery.objects.bulk_create(
        [
            Delivery(
                rollout=rollout,
                event=event,
                channel=target.channel,
                target=target.address,
                is_notice=target.notice_target is not None,
                notice_target_id=target.notice_target,
                key=key,
                message=message,
                created_at=now,
                next_try_at=now,
            )
            for target in wanted
        ],
        ignore_conflicts=True,
    )
    return len(wanted)


def deliver_due(*, clock: Callable[[], datetime]) -> int:
    """Send what is due. Safe to run twice, at once or late. Returns how many were sent.

    Several at a time: a target that does not answer holds no other one up. The threads only send; what is read and
    kept, is here.
    """
    due = Delivery.objects.filter(state=State.PENDING, next_try_at__lte=clock()).order_by("next_try_at")
    mine = [each for each in list(due.select_related("notice_target")[:BATCH]) if _claim(each, clock())]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tries = {pool.submit(_SENDERS[delivery.channel], delivery, clock()): delivery for delivery in mine}
        return sum(_keep(tries[done], done.exception(), clock()) for done in as_completed(tries))


def delete_old_deliveries(*, now: datetime) -> int:
    """Forget what ended ``KEPT_DAYS`` ago. Returns how many."""
    return Delivery.objects.filter(ended_at__lt=now - timedelta(days=KEPT_DAYS)).delete()[0]


def _claim(delivery: Delivery, now: datetime) -> bool:
    mine = Delivery.objects.filter(pk=delivery.pk, state=State.PENDING, next_try_at=delivery.next_try_at)
    return bool(mine.update(next_try_at=now + LEASE, attempts=delivery.attempts + 1))


def _keep(delivery: Delivery, error: BaseException | None, now: datetime) -> bool:
    """Keep how a try ended; whether it was taken."""
    if error is None:
        Delivery.objects.filter(pk=delivery.pk).update(state=State.SENT, ended_at=now, next_try_at=None, error="")
        return True
    if not isinstance(error, NotTaken):
        logger.error("A delivery could not be sent", exc_info=error, extra={"delivery": str(delivery.pk)})
        error = NotTaken(type(error).__name__)
    attempts = delivery.attempts + 1
    gives_up = error.is_final or attempts >= MOST_ATTEMPTS
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempts - 1))
    Delivery.objects.filter(pk=delivery.pk).update(
        state=State.FAILED if gives_up else State.PENDING,
        ended_at=now if gives_up else None,
        next_try_at=None if gives_up else now + wait,
        error=str(error)[:300],
    )
    logger.warning("Delivery failed: %s", error, extra={"delivery": str(delivery.pk), "attempts": attempts})
    return False


def _send_mail(delivery: Delivery, now: datetime) -> None:
    message = delivery.message
    to = _target_of(delivery).address if delivery.is_notice else delivery.target
    mail = EmailMultiAlternatives(
        message["subject"], message["text"], to=[to], headers={"X-Sluice-Delivery": str(delivery.pk)}
    )
    if message.get("html"):
        mail.attach_alternative(message["html"], "text/html")
    try:
        mail.send()
    except (OSError, SMTPException, ValueError) as error:
        # ValueError: a header or an address that no mail can have. A server's own words may hold addresses and more.
        raise NotTaken(f"mail server: {type(error).__name__}") from error


def _send_webhook(delivery: Delivery, now: datetime) -> None:
    target = _target_of(delivery)
    body, headers = webhook_request(
        delivery_id=str(delivery.pk),
        event=delivery.event,
        rollout=delivery.rollout,
        at=delivery.created_at,
        message=delivery.message,
        secret=target.secret,
        now=now,
    )
    _call(target.address, body, headers)


def _send_to_slack(delivery: Delivery, now: datetime) -> None:
    target = _target_of(delivery)
    _call(target.address, *slack_request(delivery.message))


def _target_of(delivery: Delivery) -> NoticeTarget:
    """The notice target as it is now: it may have been turned off or deleted since."""
    target = delivery.notice_target
    if target is None or not target.is_on:
        raise NotTaken("the target was deleted or turned off", is_final=True)
    return target


def _call(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    try:
        answer = public_http.post(url, body=body, headers=headers, allow_private=settings.NOTICE_ALLOW_PRIVATE)
    except public_http.UrlRefused as refused:
        # A name may lead elsewhere tomorrow; a mistake in the URL stays one.
        raise NotTaken(f"not called: {refused.code}", is_final=refused.code != "host_unknown") from refused
    except TimeoutError as error:
        raise NotTaken("no answer in time") from error
    except OSError as error:
        raise NotTaken(f"no answer: {error}") from error
    if not 200 <= answer.status < 300:
        raise NotTaken(f"HTTP {answer.status} {answer.first_line}".strip(), is_final=answer.status == GONE)


_SENDERS: Mapping[str, Callable[[Delivery, datetime], None]] = {
    Channel.EMAIL: _send_mail,
    Channel.WEBHOOK: _send_webhook,
    Channel.SLACK: _send_to_slack,
}
