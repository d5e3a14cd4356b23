"""What status, decision and dashboard cost: no more queries for thousands of calls than for ten.

And what the roll-ups say is what the calls say, one by one.
"""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from unittest.mock import patch

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chat import tokens
from metrics.models import ModelCall
from metrics.sums import cluster_of, person_of, reached_model
from rollout.decisions import Decider
from rollout.evaluation import config_of, decide_on
from rollout.evidence import Stream
from rollout.models import Rollout
from tests.chat.factories import UserFactory
from tests.rollout.steps import NAME, much_traffic, rollout

pytestmark = [pytest.mark.django_db, pytest.mark.only_on("postgres")]

NOW = datetime(2026, 11, 21, 17, 2, tzinfo=UTC)


def of_a_program() -> Client:
    user = UserFactory(is_staff=True, is_superuser=True)
    return Client(headers={"Authorization": f"Bearer {tokens.create_token(user=user)[1]}"})


def queries(work: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as found:
        work()
    return len(found)


def with_calls(calls: int, read: Callable[[], object]) -> int:
    """How many queries a reading takes after so many more calls, once everything is warm."""
    Rollout.objects.update(percent=Decimal(50), created=NOW - timedelta(days=2))
    much_traffic(now=NOW, calls=calls)
    with patch("django.utils.timezone.now", return_value=NOW):
        read()
        return queries(read)


@pytest.mark.parametrize(
    ("hours", "most"),
    [
        (24, 10),
        # Today's requests are asked for apart.
        (720, 11),
    ],
)
def test_a_status_takes_the_same_queries_at_any_size(hours, most):
    program = of_a_program()

    def read() -> None:
        assert program.get(f"/api/v1/rollouts/{NAME}/status?hours={hours}").status_code == 200

    few = with_calls(10, read)
    assert with_calls(4000, read) == few <= most


@pytest.mark.parametrize("span", ["1h", "24h", "7d", "90d"])
def test_a_dashboard_takes_no_more_queries_the_more_calls_there_are(admin: Client, span):
    def read() -> None:
        page = f"/admin/rollout/rollout/{rollout().pk}/dashboard/?range={span}"
        assert admin.get(page).status_code == 200

    # Where few calls have failed, failures are looked for further back.
    few = with_calls(10, read)
    assert with_calls(4000, read) <= few <= 24


@pytest.mark.parametrize(("of", "most"), [("status?hours=24", 6_800), ("dashboard", 100_000)])
def test_what_is_sent_has_the_same_size_for_a_few_calls_and_for_thousands(admin: Client, of, most):
    sizes: list[int] = []
    program = of_a_program()

    def read() -> None:
        if of == "dashboard":
            page = admin.get(f"/admin/rollout/rollout/{rollout().pk}/dashboard/?range=7d")
        else:
            page = program.get(f"/api/v1/rollouts/{NAME}/{of}")
        assert page.status_code == 200
        sizes.append(len(page.content))

    with_calls(400, read)
    with_calls(4000, read)

    assert sizes[-1] <= 1.1 * sizes[0]
    assert sizes[-1] <= most, sizes


def test_a_decision_reads_two_arms_of_each_stretch_and_of_the_window_and_nothing_else():
    few = with_calls(10, lambda: decide_on(rollout(), now=NOW))
    assert with_calls(4000, lambda: decide_on(rollout(), now=NOW)) == few <= 6


@pytest.mark.parametrize("measure", ["ttft", "latency"])
def test_what_is_decided_from_the_roll_ups_is_what_the_calls_say_one_by_one(measure):
    Rollout.objects.update(percent=Decimal(50))
    much_traffic(now=NOW, calls=1900)
    one_by_one = Stream()
    one_by_one.begin_stage(percent=50)
    for call in ModelCall.objects.order_by("started_at"):
        one_by_one.add(
            person=call.unit,
            arm="candidate" if call.arm == "candidate" else "baseline",
            error=call.outcome == "error",
            ttft_ms=call.ttft_ms,
            latency_ms=None if call.ttft_ms is None else call.latency_ms,
            # Whoever reached no model has paid nothing.
            cost=float(call.cost_usd) if call.cost_usd is not None else None if reached_model(call) else 0.0,
            rating=call.rating,
            cluster=cluster_of(person_of(NAME, call.unit)),
        )

    current = rollout()
    current.p95_measure = current.latency_measure = measure
    found = decide_on(current, now=NOW)
    expected = Decider(config_of(current)).decide(one_by_one.snapshot())

    assert found.verdict == expected.verdict
    assert found.srm_e == expected.srm_e
    for criterion, wanted in zip(found.criteria, expected.criteria, strict=True):
        said, meant = ({**asdict(each), "days": None} for each in (criterion, wanted))
        assert (said.pop("requests"), said.pop("people")) == (meant.pop("requests"), meant.pop("people"))
        numbers = {name: value for name, value in said.items() if isinstance(value, float)}
        assert numbers == pytest.approx({name: meant[name] for name in numbers}, rel=1e-9)
        assert {name: said[name] for name in said.keys() - numbers} == {
            name: meant[name] for name in meant.keys() - numbers
        }
