import uuid
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from chat import services
from chat.models import Conversation, Message, User
from chat.services import AnswerRefused, Job
from metrics.models import ModelCall
from rollout.changes import Actor, change_rollout
from tests.chat.factories import ConversationFactory, MessageFactory, UserFactory

pytestmark = pytest.mark.django_db

STAFF = Actor(name="test", source="cli")


def send(user: User | None = None, text: str = "Hello", **changes: Any) -> tuple[Message, Job | None]:
    arguments: dict[str, Any] = {
        "user": user or UserFactory(),
        "text": text,
        "model": "chat-model",
        "conversation_id": None,
        "client_id": None,
        "language": "",
        "now": timezone.now(),
        **changes,
    }
    return services.send(**arguments)


def test_sending_stores_the_question_the_empty_reply_and_the_running_call():
    user = UserFactory()

    reply, job = send(user, "What is a sluice?")

    assert job is not None
    assert reply.reply_to is not None
    assert (reply.reply_to.text, reply.state, reply.text) == ("What is a sluice?", "running", "")
    assert reply.conversation.title == "What is a sluice?"
    call = ModelCall.objects.get()
    assert (call.answer_id, call.outcome, call.attempt, call.unit) == (reply.id, "running", 1, user.unit)
    assert [(turn.role, turn.text) for turn in job.messages] == [("user", "What is a sluice?")]


def test_the_prompt_holds_the_conversation_so_far_without_what_was_replaced_or_failed_empty():
    user = UserFactory()
    conversation = ConversationFactory(user=user)
    start = timezone.now() - timedelta(hours=1)
    question = MessageFactory(conversation=conversation, text="one", created_at=start)
    for seconds, text, replaced in ((1, "old", True), (2, "new", False), (3, "", False)):
        MessageFactory(
            conversation=conversation,
            role="assistant",
            reply_to=question,
            text=text,
            replaced=replaced,
            created_at=start + timedelta(seconds=seconds),
        )

    _, job = send(user, "two", conversation_id=conversation.id)

    assert job is not None
    assert [(turn.role, turn.text) for turn in job.messages] == [("user", "one"), ("assistant", "new"), ("user", "two")]


def test_a_prompt_that_is_too_long_loses_its_oldest_turns(settings: Any):
    settings.CONTEXT_CHARS = 10
    conversation = ConversationFactory()
    start = timezone.now() - timedelta(hours=1)
    for seconds, text in ((0, "aaaa"), (1, "bbbb")):
        MessageFactory(conversation=conversation, text=text, created_at=start + timedelta(seconds=seconds))

    _, job = send(conversation.user, "cccc", conversation_id=conversation.id)

    assert job is not None
    assert [turn.text for turn in job.messages] == ["bbbb", "cccc"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"text": " \n "}, "empty"),
        ({"text": "x" * 32_001}, "too_long"),
        ({"model": "gpt-17"}, "unknown_model"),
        ({"conversation_id": uuid.uuid4()}, "not_found"),
    ],
)
def test_what_cannot_be_answered_is_refused_and_nothing_is_stored(changes: dict[str, Any], code: str):
    with pytest.raises(AnswerRefused) as refusal:
        send(**changes)

    assert refusal.value.code == code
    assert not Conversation.objects.exists()
    assert not ModelCall.objects.exists()


def test_somebody_elses_conversation_is_as_good_as_none():
    conversation = ConversationFactory()

    with pytest.raises(AnswerRefused, match="not_found"):
        send(conversation_id=conversation.id)

    assert not conversation.messages.exists()


def test_the_same_send_twice_gives_one_question_one_reply_and_one_call():
    user, client_id = UserFactory(), uuid.uuid4()

    first, job = send(user, client_id=client_id)
    second, no_job = send(user, client_id=client_id)

    assert first == second
    assert job is not None
    assert no_job is None
    assert ModelCall.objects.count() == 1


def test_the_same_send_with_another_text_is_a_conflict():
    user, client_id = UserFactory(), uuid.uuid4()
    send(user, client_id=client_id)

    with pytest.raises(AnswerRefused, match="conflict"):
        send(user, "Something else", client_id=client_id)


def test_a_conversation_takes_no_message_while_a_reply_is_running():
    reply, _ = send()

    with pytest.raises(AnswerRefused, match="busy"):
        send(reply.conversation.user, conversation_id=reply.conversation_id)

    assert reply.conversation.messages.count() == 2


def test_a_reply_whose_process_died_does_not_block_its_conversation():
    reply, _ = send()
    Message.objects.filter(pk=reply.pk).update(alive_at=timezone.now() - timedelta(minutes=2))

    send(reply.conversation.user, conversation_id=reply.conversation_id)

    reply.refresh_from_db()
    assert (reply.state, reply.error) == ("failed", "abandoned")


def test_the_sweeper_ends_what_a_dead_process_left_and_nothing_else():
    dead, _ = send()
    alive, _ = send()
    now = timezone.now()
    Message.objects.filter(pk=dead.pk).update(alive_at=now - timedelta(minutes=2), text="partial")

    swept = services.sweep_abandoned(now=now)

    dead.refresh_from_db()
    alive.refresh_from_db()
    assert swept == 1
    assert (dead.state, dead.error, dead.text) == ("failed", "abandoned", "partial")
    assert alive.state == "running"
    assert dict(ModelCall.objects.values_list("answer_id", "outcome")) == {dead.id: "abandoned", alive.id: "running"}
    assert services.sweep_abandoned(now=now) == 0


def test_retry_replaces_the_reply_and_asks_the_same_question_again():
    old, _ = send(text="Why?")
    Message.objects.filter(pk=old.pk).update(state="failed", error="timeout")

    new, job = services.retry(user=old.conversation.user, reply_id=old.id, language="", now=timezone.now())

    old.refresh_from_db()
    assert old.replaced
    assert new.reply_to == old.reply_to
    assert [turn.text for turn in job.messages] == ["Why?"]


def test_retry_is_refused_while_the_reply_runs_and_once_the_conversation_has_moved_on():
    reply, _ = send()
    user = reply.conversation.user
    with pytest.raises(AnswerRefused, match="busy"):
        services.retry(user=user, reply_id=reply.id, language="", now=timezone.now())
    Message.objects.filter(pk=reply.pk).update(state="complete")
    send(user, "And then?", conversation_id=reply.conversation_id)

    with pytest.raises(AnswerRefused, match="conflict"):
        services.retry(user=user, reply_id=reply.id, language="", now=timezone.now())

    reply.refresh_from_db()
    assert not reply.replaced


def test_a_rating_stands_on_the_reply_and_on_its_first_call_and_can_be_taken_back():
    reply, _ = send()
    user = reply.conversation.user

    services.rate(user=user, reply_id=reply.id, rating=5)
    services.rate(user=user, reply_id=reply.id, rating=1)
    assert ModelCall.objects.get().rating == 1
    services.rate(user=user, reply_id=reply.id, rating=None)

    reply.refresh_from_db()
    assert reply.rating is None
    assert ModelCall.objects.get().rating is None


def test_a_reason_stands_on_the_reply_and_on_its_first_call_until_the_rating_is_another():
    reply, _ = send()
    user = reply.conversation.user

    for rating, reason in ((1, "slow"), (1, "style"), (1, ""), (2, "unsafe"), (5, ""), (3, "other"), (None, "")):
        services.rate(user=user, reply_id=reply.id, rating=rating, reason=reason)
        reply.refresh_from_db()
        call = ModelCall.objects.get()
        assert (reply.rating, reply.rating_reason) == (call.rating, call.rating_reason) == (rating, reason)


@pytest.mark.parametrize(
    ("rating", "reason", "code"),
    [
        (1, "boring", "bad_reason"),
        (4, "slow", "bad_reason"),
        (5, "other", "bad_reason"),
        (None, "slow", "bad_reason"),
        (6, "slow", "bad_rating"),
    ],
)
def test_a_reason_that_does_not_go_with_the_rating_is_refused_and_nothing_changes(rating, reason, code):
    reply, _ = send()
    user = reply.conversation.user
    services.rate(user=user, reply_id=reply.id, rating=1, reason="incorrect")

    with pytest.raises(AnswerRefused, match=code):
        services.rate(user=user, reply_id=reply.id, rating=rating, reason=reason)

    reply.refresh_from_db()
    call = ModelCall.objects.get()
    assert (reply.rating, reply.rating_reason) == (call.rating, call.rating_reason) == (1, "incorrect")


def test_nobody_rates_or_retries_somebody_elses_reply():
    reply, _ = send()
    stranger = UserFactory()

    with pytest.raises(AnswerRefused, match="not_found"):
        services.rate(user=stranger, reply_id=reply.id, rating=1)
    with pytest.raises(AnswerRefused, match="not_found"):
        services.retry(user=stranger, reply_id=reply.id, language="", now=timezone.now())


def test_a_disabled_rollout_routes_not_one_request_more():
    change_rollout("gemini-flash-lite", {"percent": 100}, actor=STAFF)
    _, before = send()
    change_rollout("gemini-flash-lite", {"enabled": False}, actor=STAFF)
    _, after = send()
    _, by_name = send(model="gemini-flash-lite")

    assert before is not None
    assert after is not None
    assert by_name is not None
    assert (before.served_model, before.route.reason) == ("gemini-flash-lite", "percentage")
    assert (after.served_model, after.route.reason) == ("chat-model", "disabled")
    assert (by_name.served_model, by_name.route.reason) == ("chat-model", "disabled")


def test_other_models_pass_through_untouched():
    _, job = send(model="chat-model-reasoning")

    assert job is not None
    assert (job.served_model, job.route.rollout, job.route.reason) == ("chat-model-reasoning", "", "not_in_rollout")


def test_text_that_a_database_cannot_hold_is_stored_replaced():
    reply, _ = send(text="a\x00b")

    assert reply.reply_to is not None
    assert reply.reply_to.text == "a�b"


@pytest.mark.django_db(transaction=True)
def test_a_rating_that_comes_while_its_answer_ends_waits_for_it():
    user = UserFactory()
    reply, job = send(user)
    assert job is not None

    def rate() -> None:
        try:
            services.rate(user=user, reply_id=reply.id, rating=4)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as elsewhere:
        with transaction.atomic():
            # As an answer ends: its call, and then its message.
            ModelCall.objects.filter(answer_id=reply.id).update(outcome="ok", ended_at=timezone.now())
            rating = elsewhere.submit(rate)
            wait([rating], timeout=0.5)
            Message.objects.filter(id=reply.id).update(state="complete")
        rating.result()

    reply.refresh_from_db()
    assert (reply.state, reply.rating) == ("complete", 4)
    call = ModelCall.objects.get()
    assert (call.outcome, call.rating) == ("ok", 4)
