import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chat.traffic import Comparison
from metrics.answers import RecordedAnswer, recorded_answers
from metrics.models import ModelCall
from simulator.people import Answer
from simulator.people_tally import Tally

NOW = datetime(2026, 3, 18, 15, 30, tzinfo=UTC)
RECORD = RecordedAnswer(
    unit="u",
    arm="baseline",
    reason="percentage",
    first_outcome="ok",
    last_outcome="ok",
    fell_back=False,
    ttft_ms=100,
    rating=None,
    rating_reason="",
)


def compare(seen: list[Answer], recorded: dict[uuid.UUID, RecordedAnswer]) -> Comparison:
    return Comparison(Tally(seen), recorded, [])


def a_call(answer_id: uuid.UUID, **changes: Any) -> ModelCall:
    fields: dict[str, Any] = {
        "answer_id": answer_id,
        "attempt": 1,
        "surface": "chat",
        "reason": "percentage",
        "arm": "candidate",
        "unit": "u",
        "requested_model": "chat-model",
        "assigned_model": "gemini-flash-lite",
        "served_model": "gemini-flash-lite",
        "outcome": "ok",
        "started_at": NOW,
        "ended_at": NOW,
        **changes,
    }
    return ModelCall.objects.create(**fields)


def test_as_many_but_other_replies_are_not_the_same():
    seen = [Answer(person=0, state="complete", reply=uuid.uuid4())]

    run = compare(seen, {uuid.uuid4(): RECORD})

    assert run.counts["requests"] == (1, 1)
    assert run.is_equal is False


@pytest.mark.parametrize("outcome", ["error", "timeout", "refused", "empty", "abandoned"])
def test_what_a_person_is_told_as_failed_has_many_outcomes(outcome):
    reply = uuid.uuid4()
    seen = [Answer(person=0, state="failed", reply=reply)]
    record = RecordedAnswer(**{**vars(RECORD), "last_outcome": outcome})

    assert compare(seen, {reply: record}).is_equal is True


@pytest.mark.parametrize(("state", "outcome"), [("complete", "error"), ("stopped", "ok"), ("complete", "running")])
def test_an_end_that_was_told_otherwise_than_recorded_is_a_difference(state, outcome):
    reply = uuid.uuid4()
    seen = [Answer(person=0, state=state, reply=reply)]
    record = RecordedAnswer(**{**vars(RECORD), "last_outcome": outcome})

    assert compare(seen, {reply: record}).is_equal is False


def test_a_rating_that_was_not_recorded_is_a_difference():
    reply = uuid.uuid4()

    assert compare([Answer(person=0, state="complete", reply=reply, rating=4)], {reply: RECORD}).is_equal is False


def test_a_reason_that_was_not_recorded_is_a_difference():
    reply = uuid.uuid4()
    seen = [Answer(person=0, state="complete", reply=reply, rating=1, rating_reason="slow")]

    run = compare(seen, {reply: RecordedAnswer(**{**vars(RECORD), "rating": 1})})

    assert run.counts["ratings"] == (1, 1)
    assert run.is_equal is False


@pytest.mark.django_db
def test_an_answer_is_read_with_its_first_and_its_last_attempt():
    answer = uuid.uuid4()
    a_call(answer, outcome="timeout", ttft_ms=None, rating=2, rating_reason="slow")
    a_call(answer, attempt=2, served_model="chat-model", ttft_ms=80)

    assert recorded_answers([answer]) == {
        answer: RecordedAnswer(
            unit="u",
            arm="candidate",
            reason="percentage",
            first_outcome="timeout",
            last_outcome="ok",
            fell_back=True,
            ttft_ms=None,
            rating=2,
            rating_reason="slow",
        )
    }


@pytest.mark.django_db
def test_answers_that_the_same_people_never_learned_of_are_read_too():
    known, unknown, before, others = (uuid.uuid4() for _ in range(4))
    a_call(known)
    a_call(unknown, started_at=NOW + timedelta(seconds=1))
    a_call(before, started_at=NOW - timedelta(seconds=1))
    a_call(others, unit="somebody else")

    assert set(recorded_answers([known])) == {known, unknown}
    assert recorded_answers([uuid.uuid4()]) == {}
    assert recorded_answers([]) == {}


@pytest.mark.django_db
def test_more_answers_are_read_than_one_query_takes():
    answers = [uuid.uuid4() for _ in range(1200)]
    for number, answer in enumerate(answers):
        a_call(answer, unit=f"u{number}")

    assert set(recorded_answers(answers)) == set(answers)
