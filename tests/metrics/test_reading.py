"""What the roll-ups say of an arm."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from metrics import reading
from metrics.health import ArmHealth, Health
from metrics.models import Slice, Window
from metrics.rollup import roll_up
from metrics.slices import Grain
from tests.metrics.factories import NOW, ModelCallFactory

pytestmark = pytest.mark.django_db

NAME = "gemini-flash-lite"


def health() -> Health:
    roll_up(now=NOW)
    return reading.health(rollout=NAME, since=NOW - timedelta(hours=1), until=NOW)


def test_without_calls_nothing_is_known():
    found = health()

    assert found.candidate == found.baseline == ArmHealth()
    assert found.as_of == NOW
    arm = found.candidate
    assert (arm.error_percent, arm.ttft_mean_ms, arm.saved_percent) == (None, None, None)
    assert (arm.saved_usd, arm.cost_usd) == (Decimal(0), Decimal(0))
    assert (found.requests, found.expected_candidate, found.other) == (0, Decimal(0), {})


def test_requests_are_first_attempts_and_money_counts_every_attempt():
    first = ModelCallFactory(
        candidate=True, unit="ada", outcome="error", cost_usd=Decimal("0.0001"), baseline_cost_usd=Decimal("0.001")
    )
    ModelCallFactory(
        candidate=True,
        unit="ada",
        answer_id=first.answer_id,
        attempt=2,
        served_model="chat-model",
        cost_usd=Decimal("0.002"),
        baseline_cost_usd=Decimal("0.002"),
    )
    ModelCallFactory(candidate=True, unit="ada", cost_usd=Decimal("0.0004"), baseline_cost_usd=Decimal("0.004"))

    arm = health().candidate
    assert (arm.requests, arm.people, arm.fallbacks) == (2, 1, 1)
    assert arm.outcomes == {"error": 1, "ok": 1}
    assert arm.error_percent == 50
    assert (arm.input_tokens, arm.output_tokens) == (900, 600)
    assert arm.cost_usd == Decimal("0.0025")
    assert arm.saved_usd == Decimal("0.0045")
    assert arm.saved_percent == pytest.approx(100 * 0.0045 / 0.007)


def test_a_persons_own_stop_counts_for_nobody_and_a_running_call_is_not_there_yet():
    for outcome in ("ok", "ok", "error", "timeout", "refused", "empty", "abandoned"):
        ModelCallFactory(outcome=outcome)
    ModelCallFactory.create_batch(3, outcome="cancelled")
    ModelCallFactory(running=True)

    arm = health().baseline
    assert (arm.requests, arm.judged, arm.errors) == (10, 7, 5)
    assert arm.error_percent == pytest.approx(500 / 7)


def test_latency_is_that_of_calls_that_gave_text():
    ModelCallFactory(ttft_ms=100, latency_ms=1000)
    ModelCallFactory(ttft_ms=300, latency_ms=2000)
    ModelCallFactory(failed=True, latency_ms=60_000)

    arm = health().baseline
    assert (arm.ttft_n, arm.ttft_mean_ms, arm.latency_mean_ms) == (2, 200, 1500)


def test_what_was_answered_at_an_unknown_price_is_counted_and_saves_nothing_that_we_know():
    ModelCallFactory(candidate=True, cost_usd=None, baseline_cost_usd=Decimal("0.004"))
    ModelCallFactory(candidate=True, failed=True)

    arm = health().candidate
    assert arm.cost_unknown == 1
    assert (arm.cost_usd, arm.saved_usd, arm.saved_percent) == (None, None, None)

    ModelCallFactory(candidate=True)

    arm = health().candidate
    assert arm.cost_unknown == 1
    assert arm.cost_usd == Decimal("0.0004")
    assert arm.saved_usd == Decimal("0.0036")
    assert arm.saved_percent == 90


def test_a_candidate_whose_baseline_has_no_price_saves_nobody_knows_what():
    ModelCallFactory(candidate=True, baseline_cost_usd=None)

    assert (health().candidate.saved_usd, health().candidate.cost_usd) == (None, Decimal("0.0004"))


def test_a_dearer_candidate_saves_less_than_nothing():
    ModelCallFactory(candidate=True, cost_usd=Decimal("0.006"))

    assert health().candidate.saved_usd == Decimal("-0.002")
    assert health().candidate.saved_percent == -50


def test_what_was_saved_ever_is_the_same_by_the_totals_and_by_the_slices():
    ModelCallFactory(candidate=True)
    ModelCallFactory(candidate=True, outcome="error", cost_usd=Decimal("0.0001"), baseline_cost_usd=Decimal("0.001"))
    ModelCallFactory(candidate=True, cost_usd=None)
    ModelCallFactory(candidate=True, started_at=NOW - timedelta(days=40), cost_usd=Decimal("0.006"))
    ModelCallFactory()
    ModelCallFactory(candidate=True, reason="manual")
    roll_up(now=NOW)

    assert saved_until(NOW) == Decimal("0.0025")
    assert reading.health(rollout=NAME, since=NOW - timedelta(days=60), until=NOW).candidate.saved_usd == saved_until(
        NOW
    )

    # From now on the moment before lies in the past, and slices are added up.
    later = NOW + timedelta(hours=1)
    ModelCallFactory(candidate=True, started_at=later)
    roll_up(now=later + timedelta(minutes=5))

    assert saved_until(NOW) == Decimal("0.0025")
    assert saved_until(later + timedelta(minutes=5)) == Decimal("0.0061")


def saved_until(until: datetime) -> Decimal | None:
    return reading.UpTo(rollout=NAME, until=until).saved_usd()


def test_only_the_percentage_traffic_enters_the_arms_and_the_rest_is_counted_apart():
    ModelCallFactory(candidate=True)
    for reason in ("tester", "manual", "everyone", "everyone"):
        call = ModelCallFactory(candidate=True, reason=reason)
    ModelCallFactory(candidate=True, reason="everyone", answer_id=call.answer_id, attempt=2)
    ModelCallFactory(reason="disabled")

    found = health()
    assert (found.candidate.requests, found.baseline.requests) == (1, 0)
    assert found.other == {"tester": 1, "manual": 1, "everyone": 2, "disabled": 1}


def test_what_was_expected_follows_the_percentage_at_each_request():
    ModelCallFactory.create_batch(20, percent=Decimal(5))
    ModelCallFactory.create_batch(10, candidate=True, percent=Decimal("12.5"))

    assert health().expected_candidate == Decimal("2.25")


def test_a_window_is_cut_at_five_minutes():
    for minutes in (66, 65, 64, 1, 0):
        ModelCallFactory(started_at=NOW - timedelta(minutes=minutes, seconds=-1))
    ModelCallFactory(rollout="another")
    ModelCallFactory(rollout="", arm="", reason="not_in_rollout")
    roll_up(now=NOW)

    found = reading.health(rollout=NAME, since=NOW - timedelta(minutes=62), until=NOW)
    assert (found.since, found.until) == (NOW - timedelta(minutes=65), NOW)
    assert found.baseline.requests == 3


def test_of_many_windows_the_newest_counts_and_each_stretch_has_its_own_percentage():
    def window(number: int, stretch: int, percent: int, starts_at: datetime | None) -> Window:
        return Window(rollout=NAME, run=2, number=number, stretch=stretch, percent=percent, starts_at=starts_at)

    windows = [window(0, 4, 5, None), *(window(number, 4, 5, NOW) for number in range(1, 50))]
    windows += [window(50, 6, 25, None), window(51, 6, 25, NOW)]
    Window.objects.bulk_create([*windows, Window(rollout=NAME, run=3, number=0, stretch=7, percent=50)])

    found = reading.evidence(rollout=NAME, run=2)

    assert [(stretch.stretch, stretch.percent) for stretch in found.stretches] == [
        (4, Decimal(5)),
        (6, Decimal(25)),
    ]
    assert found.window is not None
    assert (found.window.stretch, found.window.percent, found.window_number) == (6, Decimal(25), 51)


@pytest.mark.parametrize(("hours", "minutes"), [(0, 20), (5, 40), (23, 35), (49, 50)])
def test_what_was_before_a_window_leaves_no_trace_in_it(hours, minutes):
    since = datetime(2026, 11, 19, 18, minutes, tzinfo=UTC) - timedelta(hours=hours)
    before, within = since - timedelta(minutes=2), since + timedelta(minutes=2)
    for moment in (before, within):
        ModelCallFactory(unit=f"{moment}", started_at=moment, ended_at=moment)
        ModelCallFactory(unit="both", started_at=moment, ended_at=moment)
    ModelCallFactory(failed=True, rating=1, rating_reason="slow", started_at=before, ended_at=before)
    ModelCallFactory(reason="tester", candidate=True, started_at=before, ended_at=before)
    roll_up(now=NOW)

    found = reading.health(rollout=NAME, since=since, until=NOW)

    arm = found.baseline
    assert (arm.requests, arm.people, arm.judged, arm.ratings, found.other) == (2, 2, 2, 0, {})
    assert (arm.outcomes, arm.errors_by_class, arm.rating_reasons) == ({"ok": 2}, {}, {})
    assert reading.UpTo(rollout=NAME, until=NOW).requests(since=since) == {"baseline": 2}


def test_money_beyond_64_bits_is_read_to_the_last_digit():
    ModelCallFactory(candidate=True, cost_usd=Decimal("0.0004"), baseline_cost_usd=Decimal("0.004"))
    roll_up(now=NOW)
    # What one JSON reader makes a float of.
    much = 2**64 + 1
    for part in Slice.objects.all():
        part.sums["cost"] = much
        part.save(update_fields=["sums"])

    assert reading.health(rollout=NAME, since=NOW - timedelta(hours=1), until=NOW).candidate.sums.cost == much
    (point,) = reading.series(rollout=NAME, since=NOW - timedelta(hours=1), until=NOW, grain=Grain.HOUR)
    assert point.candidate.sums.cost == much


def test_people_of_the_newest_slice_alone_are_those_so_far():
    for unit, hours in (("ada", 2), ("bob", 0)):
        moment = NOW - timedelta(hours=hours, minutes=5)
        ModelCallFactory(candidate=True, unit=unit, started_at=moment, ended_at=moment)
    roll_up(now=NOW)
    Slice.objects.update(people=None)

    def people(grain: Grain) -> list[int | None]:
        points = reading.series(rollout=NAME, since=NOW - timedelta(hours=3), until=NOW, grain=grain)
        return [point.candidate.people for point in points]

    assert people(Grain.HOUR) == [None, 1]
    assert people(Grain.FIVE_MINUTES) == [None, None]
