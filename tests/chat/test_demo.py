import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Count
from django.utils import timezone

from chat.demo import AlreadySeeded, delete_demo, seed_demo
from chat.models import Conversation, Message, User
from metrics.models import ArmSum, ModelCall, Slice
from metrics.pricing import Usage, cost_usd
from metrics.reading import health, series
from metrics.rollup import roll_up
from metrics.slices import Grain
from rollout.bucketing import in_candidate
from rollout.changes import Actor, change_rollout, get_rollout
from rollout.models import Report
from tests.chat.factories import ConversationFactory, MessageFactory, UserFactory

NOW = datetime(2026, 3, 18, 15, 30, tzinfo=UTC)
ROLLOUT = "gemini-flash-lite"
STAFF = Actor(name="test", source="cli")


def seed(people: int = 40, days: int = 3, number: int = 7, percent: int = 30) -> int:
    change_rollout(ROLLOUT, {"percent": percent}, actor=STAFF)
    return seed_demo(days=days, people=people, seed=number, now=NOW)


# --- In the database --------------------------------------------------------------------------


@pytest.mark.django_db
def test_all_of_it_is_marked_and_every_call_is_routed_as_the_rollout_would():
    calls = seed()

    rollout = get_rollout(ROLLOUT)
    people = {user.unit: user for user in User.objects.filter(is_demo=True)}
    rows = list(ModelCall.objects.all())
    assert (len(people), User.objects.count(), len(rows)) == (40, 40, calls)
    assert {(row.is_demo, row.reason, row.rollout, row.percent) for row in rows} == {
        (True, "percentage", ROLLOUT, Decimal(30))
    }
    for row in rows:
        moved = in_candidate(rollout=ROLLOUT, salt=rollout.salt, unit=row.unit, percent=Decimal(30))
        assert row.unit in people
        assert row.arm == ("candidate" if moved else "baseline")
        assert row.assigned_model == (rollout.candidate if moved else rollout.baseline)
    assert not any(user.has_usable_password() or user.is_staff for user in people.values())


@pytest.mark.django_db
def test_every_call_has_ended_and_costs_what_its_tokens_cost():
    seed()

    finished = ModelCall.objects.filter(outcome="ok")
    assert finished.count() > 300
    for row in finished:
        usage = Usage(input_tokens=row.input_tokens, output_tokens=row.output_tokens, cached_tokens=row.cached_tokens)
        provider = "google" if row.served_model == "gemini-flash-lite" else "openai"
        assert row.ended_at is not None
        price = cost_usd(usage=usage, upstream_model=row.upstream_model, price_provider=provider, at=row.ended_at)
        assert row.cost_usd == price
        assert row.baseline_cost_usd is not None
        assert price is not None
        assert (row.baseline_cost_usd > price) == (row.served_model == "gemini-flash-lite")
        assert row.latency_ms is not None
        assert row.ttft_ms is not None
        assert row.ttft_ms < row.latency_ms
    assert not ModelCall.objects.exclude(outcome="ok").filter(cost_usd__isnull=False).exists()
    assert not ModelCall.objects.filter(outcome="running").exists()


@pytest.mark.django_db
def test_what_was_made_is_rolled_up_day_by_day():
    seed()

    first = ModelCall.objects.filter(attempt=1)
    days = series(rollout=ROLLOUT, since=NOW - timedelta(days=3), until=NOW, grain=Grain.DAY)
    assert [point.start.date() for point in days] == [date(2026, 3, n) for n in (15, 16, 17, 18)]
    for arm in ("baseline", "candidate"):
        counts = first.filter(arm=arm).aggregate(requests=Count("id"), ratings=Count("rating"))
        assert counts == {
            "requests": sum(getattr(point, arm).requests for point in days),
            "ratings": sum(getattr(point, arm).ratings for point in days),
        }


@pytest.mark.django_db
def test_the_share_of_requests_is_the_percentage():
    seed(people=600, days=2, percent=35)

    figures = health(rollout=ROLLOUT, since=NOW - timedelta(days=3), until=NOW)
    assert figures.expected_candidate == Decimal("0.35") * figures.requests
    # 600 people, some of whom write a lot: 35 % of requests within six standard errors.
    assert figures.candidate.requests / figures.requests == pytest.approx(0.35, abs=0.15)
    assert figures.candidate.people is not None
    assert figures.candidate.people / 600 == pytest.approx(0.35, abs=0.12)
    assert figures.baseline.ratings / figures.baseline.requests == pytest.approx(0.12, abs=0.03)
    assert figures.baseline.rating_mean == pytest.approx(4.2, abs=0.2)
    bad = sum(n for star, n in figures.baseline.ratings_by_star.items() if star in "123")
    assert sum(figures.baseline.rating_reasons.values()) / bad == pytest.approx(0.5, abs=0.15)


@pytest.mark.django_db
@pytest.mark.parametrize(("percent", "arm"), [(0, "baseline"), (100, "candidate")])
def test_at_either_end_of_the_ramp_there_is_one_arm(percent, arm):
    seed(people=10, days=1, percent=percent)

    assert set(ModelCall.objects.values_list("arm", flat=True)) == {arm}


@pytest.mark.django_db
def test_some_chats_can_be_read_and_their_replies_are_those_that_were_measured():
    seed()

    replies = list(Message.objects.filter(role="assistant").select_related("reply_to", "conversation__user"))
    assert len(replies) > 50
    assert Message.objects.filter(role="user").count() == len(replies)
    for reply in replies:
        first, *_rest, last = [*ModelCall.objects.filter(answer_id=reply.id).order_by("attempt")] * 2
        assert reply.reply_to is not None
        assert first.unit == reply.conversation.user.unit
        assert reply.created_at > reply.reply_to.created_at == first.started_at
        assert (reply.rating, reply.rating_reason) == (first.rating, first.rating_reason)
        assert reply.served_model == last.served_model
        assert bool(reply.text) == (reply.state != "failed")
    assert not Message.objects.filter(state="running").exists()


@pytest.mark.django_db
def test_seeding_twice_adds_nothing_and_says_so():
    seed()
    before = (User.objects.count(), ModelCall.objects.count(), Message.objects.count())

    with pytest.raises(AlreadySeeded):
        seed(number=8)

    assert (User.objects.count(), ModelCall.objects.count(), Message.objects.count()) == before


@pytest.mark.django_db
def test_calls_that_are_left_of_earlier_demo_data_count_as_demo_data():
    seed()
    User.objects.filter(is_demo=True).delete()

    with pytest.raises(AlreadySeeded):
        seed()


@pytest.mark.django_db
def test_the_same_seed_makes_the_same_history():
    seed()
    first = list(ModelCall.objects.order_by("started_at").values_list("answer_id", "unit", "started_at", "ttft_ms"))
    delete_demo(clock=lambda: NOW)
    seed()

    again = list(ModelCall.objects.order_by("started_at").values_list("answer_id", "unit", "started_at", "ttft_ms"))
    assert again == first


@pytest.mark.django_db
def test_deleting_removes_all_of_it_and_leaves_real_data_as_it_was():
    person = UserFactory(guest=True)
    chat = ConversationFactory(user=person)
    MessageFactory(conversation=chat)
    real = ModelCall.objects.create(
        answer_id="0f0e0d0c-0b0a-4909-8807-060504030201",
        surface="chat",
        rollout=ROLLOUT,
        arm="baseline",
        reason="percentage",
        percent=30,
        unit=person.unit,
        requested_model="chat-model",
        assigned_model="chat-model",
        served_model="chat-model",
        outcome="ok",
        started_at=NOW - timedelta(days=1),
        ended_at=NOW,
        ttft_ms=120,
    )
    roll_up(now=NOW)
    before = sums()
    calls = seed()

    gone = delete_demo(clock=lambda: NOW)

    assert (gone.calls, gone.people) == (calls, 40)
    assert gone.conversations > 0
    assert list(User.objects.all()) == [person]
    assert list(Conversation.objects.all()) == [chat]
    assert Message.objects.count() == 1
    assert list(ModelCall.objects.all()) == [real]
    assert sums() == before


def sums() -> list[Any]:
    return [
        *Slice.objects.order_by("grain").values("grain", "start", "arm", "sums"),
        *ArmSum.objects.order_by("scope", "arm").values("scope", "arm", "sums"),
    ]


# --- The commands -----------------------------------------------------------------------------


def run(name: str, *arguments: str) -> str:
    out = io.StringIO()
    call_command(name, *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_days_that_are_over_have_reports_and_after_deletion_a_version_without_the_demo():
    seed(days=3)
    built = list(Report.objects.filter(kind="daily").order_by("first_day"))
    assert [report.first_day for report in built] == [date(2026, 3, 15), date(2026, 3, 16), date(2026, 3, 17)]
    assert all(report.document["arms"]["candidate"]["requests"] > 0 for report in built[1:])

    delete_demo(clock=lambda: NOW)

    newest = Report.objects.filter(kind="daily", is_newest=True).order_by("first_day")
    assert [report.document["arms"]["candidate"]["requests"] for report in newest] == [0, 0, 0]
    assert Report.objects.filter(kind="daily", version=1).count() == 3


@pytest.mark.django_db
def test_the_commands_say_what_they_made_and_what_they_removed():
    made = run("seed_demo", "--days", "2", "--people", "10")
    calls = ModelCall.objects.count()

    assert made == f"Made 2 days of demo data: 10 people, {calls} calls.\n"
    assert ModelCall.objects.earliest("started_at").started_at > timezone.now() - timedelta(days=2, minutes=5)
    assert run("seed_demo").startswith("There is demo data already")
    assert ModelCall.objects.count() == calls
    conversations = Conversation.objects.count()
    told = f"Removed 10 demo people, {conversations} conversations and {calls} calls.\n"
    assert run("delete_demo") == told
    assert (User.objects.count(), ModelCall.objects.count(), Slice.objects.count()) == (0, 0, 0)
    assert run("delete_demo").startswith("Removed 0 demo people, 0 conversations and 0 calls")


@pytest.mark.parametrize("arguments", [["--days", "0"], ["--people", "0"], ["--days", "1000"], ["--people", "1000000"]])
def test_amounts_that_make_no_sense_are_refused(arguments):
    with pytest.raises(CommandError, match="must be from 1"):
        call_command("seed_demo", *arguments)
