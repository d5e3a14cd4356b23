"""The only way into chat: send a message, retry, stop, rate. Asks rollout *who* and tells metrics *what*.

Everything here is synchronous and talks to the database only; ``generation`` runs what it returns.
No network call happens in here, so none can happen inside a transaction.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

from django.conf import settings
from django.db import IntegrityError, transaction

from chat import rows
from chat.admission import Unavailable, admit
from chat.attempt import Attempt, clean
from chat.calls import call_end, call_start, route_after
from chat.log_context import bind
from chat.models import Conversation, Message, User
from chat.prompts import prompt
from chat.providers.base import ChatMessage
from chat.providers.registry import find_model
from metrics import services as metrics_services
from metrics.ratings import go_together
from rollout import services as rollout_services
from rollout.services import Route

logger = logging.getLogger(__name__)

TITLE_CHARS = 60
# A reply whose process has not been heard of for this long has died with it.
DEAD_AFTER = timedelta(seconds=60)


class AnswerRefused(Exception):
    """The message was not taken; nothing was stored. ``code`` is for programs, ``chat.answers`` has the words.

    ``retry_after_s`` says when the same may be taken, where that is known.
    """

    def __init__(self, code: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, kw_only=True)
class Job:
    """One answer to be generated: its reply and first call are stored already, as running.

    ``probe`` is the first attempt's (see ``attempts.run_attempt``).
    """

    reply_id: UUID
    call_id: UUID
    opened_at: datetime
    attempt: int
    unit: str
    route: Route
    served_model: str
    messages: Sequence[ChatMessage]
    is_demo: bool
    probe: str | None = None


def send(
    *,
    user: User,
    text: str,
    model: str,
    conversation_id: UUID | None,
    client_id: UUID | None,
    language: str,
    now: datetime,
) -> tuple[Message, Job | None]:
    """Store a person's message and the empty reply, decide who answers, open the call: one transaction.

    Returns the reply and what to generate; ``None`` where the same send (``client_id``) came before.
    Raises AnswerRefused: empty, too_long, unknown_model, not_found, busy, conflict, unavailable.
    """
    text = clean(text).strip()
    _check(text, model)
    try:
        with transaction.atomic():
            conversation, is_new = _conversation(user, conversation_id, text, model, now)
            question = Message(
                conversation=conversation, role=Message.Role.USER, text=text, created_at=now, client_id=client_id
            )
            turns = prompt(question, with_earlier=not is_new)
            return _open_reply(user, question, turns, language, now, new=[question])
    except (IntegrityError, AnswerRefused) as refused:
        # The same send came before, or a reply is still running.
        if client_id is not None and (earlier := _sent_before(client_id, user, text)):
            return earlier, None
        raise (refused if isinstance(refused, AnswerRefused) else AnswerRefused("busy")) from None


def retry(*, user: User, reply_id: UUID, language: str, now: datetime) -> tuple[Message, Job]:
    """Answer the same question anew; the old reply stays stored, marked as replaced.

    Raises AnswerRefused: not_found, busy (it is still running), conflict (newer messages follow), unavailable.
    """
    try:
        with transaction.atomic():
            old = get_reply(user=user, reply_id=reply_id)
            conversation = old.conversation
            _bury_dead_reply(conversation, now)
            newer = conversation.messages.filter(replaced=False, created_at__gt=old.created_at).exclude(pk=old.pk)
            if newer.exists() or old.replaced or old.reply_to is None:
                raise AnswerRefused("conflict")
            if conversation.messages.filter(state=Message.State.RUNNING).exists():
                raise AnswerRefused("busy")
            Message.objects.filter(pk=old.pk).update(replaced=True)
            return _open_reply(user, old.reply_to, prompt(old.reply_to, with_earlier=True), language, now)
    except IntegrityError:
        raise AnswerRefused("busy") from None


def rate(*, user: User, reply_id: UUID, rating: int | None, reason: str = "") -> Message:
    """Store the rating of a reply, 1 to 5, ``None`` takes it back, and why it is bad, "" where that is not said.

    Raises AnswerRefused: not_found, bad_rating, bad_reason.
    """
    if rating is not None and not 1 <= rating <= 5:
        raise AnswerRefused("bad_rating")
    if not go_together(rating, reason):
        raise AnswerRefused("bad_reason")
    with transaction.atomic():
        reply = get_reply(user=user, reply_id=reply_id)
        # The call before the message, as where an answer ends: else the two could wait for each other.
        metrics_services.rate(reply.id, rating, reason)
        reply.rating, reply.rating_reason = rating, reason
        reply.save(update_fields=["rating", "rating_reason"])
    return reply


def get_reply(*, user: User, reply_id: UUID) -> Message:
    """The person's own reply. Raises AnswerRefused: not_found, also for somebody else's."""
    reply = (
        Message.objects.select_related("conversation", "reply_to")
        .filter(id=reply_id, role=Message.Role.ASSISTANT, conversation__user=user)
        .first()
    )
    if reply is None:
        raise AnswerRefused("not_found")
    bind(answer_id=reply.id)
    return reply


def state_of(*, user: User, reply_id: UUID) -> str:
    """How the person's own reply stands. Raises AnswerRefused: not_found, also for somebody else's."""
    state = rows.state_of(reply_id, user_id=user.pk)
    if state is None:
        raise AnswerRefused("not_found")
    bind(answer_id=reply_id)
    return state


def save_partial(texts: Sequence[tuple[UUID, str]], now: datetime) -> None:
    """Keep what replies have said so far, and that their writer is alive."""
    with transaction.atomic():
        rows.change_running([(reply_id, {"text": text, "alive_at": now}) for reply_id, text in texts])


def close_attempt(job: Job, attempt: Attempt, now: datetime) -> None:
    """Write how an attempt ended."""
    end = call_end(attempt, served_model=job.served_model, baseline_model=job.route.baseline_model, now=now)
    if metrics_services.close_call(job.call_id, end, started_at=job.opened_at):
        times = {"ttft_ms": end.ttft_ms, "latency_ms": end.latency_ms, "error_class": end.error_class}
        told = partial(logger.info, "Call ended: %s by %s", end.outcome, job.served_model, extra=times)
        transaction.on_commit(told)


def next_attempt(job: Job, served_model: str, attempt: Attempt, now: datetime) -> Job:
    """Close a failed attempt and open the next one, by ``served_model``: one transaction."""
    following = replace(
        job,
        call_id=uuid4(),
        opened_at=now,
        attempt=job.attempt + 1,
        route=route_after(job.route, attempt),
        served_model=served_model,
        probe=None,
    )
    with transaction.atomic():
        close_attempt(job, attempt, now)
        _open_call(following)
        Message.objects.filter(id=job.reply_id).update(served_model=served_model)
    bind(call_id=following.call_id)
    return following


def _open_call(job: Job) -> None:
    metrics_services.open_call(
        call_start(
            job.reply_id,
            job.route,
            call_id=job.call_id,
            unit=job.unit,
            attempt=job.attempt,
            served_model=job.served_model,
            is_demo=job.is_demo,
            now=job.opened_at,
        )
    )


def finish(job: Job, attempt: Attempt, *, text: str, state: str, error: str, now: datetime) -> None:
    """Write the reply's end and the last call's end: one transaction."""
    with transaction.atomic():
        close_attempt(job, attempt, now)
        rows.change_running([(job.reply_id, {"text": text, "state": state, "error": error, "alive_at": now})])


def sweep_abandoned(*, now: datetime) -> int:
    """End the replies and calls of processes that died. Returns how many replies there were."""
    with transaction.atomic():
        dead = list(
            Message.objects.filter(state=Message.State.RUNNING, alive_at__lt=now - DEAD_AFTER).values_list(
                "id", flat=True
            )
        )
        longest = timedelta(seconds=settings.TOTAL_TIMEOUT_S) + DEAD_AFTER
        metrics_services.abandon_calls(now=now, started_before=now - longest, answer_ids=dead)
        return Message.objects.filter(id__in=dead, state=Message.State.RUNNING).update(
            state=Message.State.FAILED, error="abandoned"
        )


def _check(text: str, model: str) -> None:
    if not text:
        raise AnswerRefused("empty")
    if len(text) > settings.MAX_MESSAGE_CHARS:
        raise AnswerRefused("too_long")
    if find_model(model) is None:
        raise AnswerRefused("unknown_model")


def _sent_before(client_id: UUID, user: User, text: str) -> Message | None:
    replies = Message.objects.filter(reply_to__client_id=client_id).select_related("reply_to", "conversation")
    reply = replies.order_by("created_at").last()
    if reply is None or reply.reply_to is None:
        return None
    if reply.conversation.user_id != user.pk or reply.reply_to.text != text:
        raise AnswerRefused("conflict")
    return reply


def _conversation(
    user: User, conversation_id: UUID | None, text: str, model: str, now: datetime
) -> tuple[Conversation, bool]:
    """The one to go on with, locked, or a new one; and whether it is new."""
    if conversation_id is None:
        new = rows.add_conversation(user_id=user.pk, title=_title(text), model=model, created_at=now, updated_at=now)
        return new, True
    conversation = Conversation.objects.select_for_update().filter(id=conversation_id, user=user).first()
    if conversation is None:
        raise AnswerRefused("not_found")
    _bury_dead_reply(conversation, now)
    conversation.model = model
    conversation.updated_at = now
    conversation.save(update_fields=["model", "updated_at"])
    return conversation, False


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1].rstrip() + "…"


def _bury_dead_reply(conversation: Conversation, now: datetime) -> None:
    """A reply that died with its process must not block the conversation until the sweeper comes."""
    conversation.messages.filter(state=Message.State.RUNNING, alive_at__lt=now - DEAD_AFTER).update(
        state=Message.State.FAILED, error="abandoned"
    )


def _open_reply(
    user: User,
    question: Message,
    turns: Sequence[ChatMessage],
    language: str,
    now: datetime,
    *,
    new: Sequence[Message] = (),
) -> tuple[Message, Job]:
    """Store the reply, after messages that are ``new`` too, and open its call."""
    conversation = question.conversation
    route = rollout_services.route(requested_model=conversation.model, unit=user.unit, user=user, language=language)
    try:
        admission = admit(route)
    except Unavailable as refused:
        raise AnswerRefused("unavailable", retry_after_s=refused.retry_after_s) from None
    route, served = admission.route, admission.served_model
    # One step later than the question, so that the order of the two is never a matter of chance.
    reply = Message(
        conversation=conversation,
        role=Message.Role.ASSISTANT,
        created_at=now + timedelta(microseconds=1),
        state=Message.State.RUNNING,
        reply_to=question,
        served_model=served,
        alive_at=now,
    )
    job = Job(
        reply_id=reply.id,
        call_id=uuid4(),
        opened_at=now,
        attempt=1,
        unit=user.unit,
        route=route,
        served_model=served,
        messages=turns,
        is_demo=user.is_demo,
        probe=admission.probe,
    )
    rows.add_messages([*new, reply])
    _open_call(job)
    bind(answer_id=reply.id, call_id=job.call_id, rollout=route.rollout, arm=route.arm, reason=route.reason)
    rollout_services.log_route(route, served_model=served, unit=user.unit, call_id=job.call_id)
    return reply, job
