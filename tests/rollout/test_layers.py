from collections import Counter, defaultdict
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.bucketing import bucket, in_candidate
from rollout.layers import Assignment, Layer, Share, assign, shares, split_of

UNITS = [f"{n:032x}" for n in range(100_000)]
UNIT = f"{1:032x}"
# Quantiles of chi-square: a sound implementation fails each such test for one choice of names in 1000.
LIMIT = {2: 13.82, 6: 22.46, 18: 42.31}

percents = st.decimals(min_value=0, max_value=100, places=2)


def layer(rollout: str, percent: object, *, priority: int = 100, everyone: bool | None = None) -> Layer:
    return Layer(
        rollout=rollout, salt=f"salt-of-{rollout}", percent=Decimal(str(percent)), everyone=everyone, priority=priority
    )


def numbered(shares_given: list[Decimal]) -> list[Layer]:
    return [layer(f"r{number}", percent, priority=number) for number, percent in enumerate(shares_given)]


THREE = [layer("first", 20, priority=1), layer("second", 30, priority=2), layer("third", 50, priority=3)]


@pytest.fixture(scope="module")
def dealt() -> dict[str, Assignment]:
    """All 100,000 units, dealt to three rollouts at 20, 30 and 50 %."""
    return {unit: assign(THREE, unit=unit) for unit in UNITS}


def chi_square(table: list[list[int]]) -> float:
    """Pearson's, of a table of counts, against independence of its rows and columns."""
    columns = [sum(column) for column in zip(*table, strict=True)]
    expected = [[sum(row) * column / sum(columns) for column in columns] for row in table]
    cells = [pair for rows in zip(table, expected, strict=True) for pair in zip(*rows, strict=True)]
    return sum((float(seen - wanted) ** 2 / wanted for seen, wanted in cells), 0.0)


# --- the shares ---


def test_three_rollouts_share_everybody():
    assert shares(THREE) == [
        Share(
            rollout="first", percent=Decimal(20), candidate=Decimal(20), control=Decimal(28) / 3, split=Decimal("68.18")
        ),
        Share(
            rollout="second",
            percent=Decimal(30),
            candidate=Decimal(24),
            control=Decimal(28) / 3,
            split=Decimal("72.00"),
        ),
        Share(
            rollout="third", percent=Decimal(50), candidate=Decimal(28), control=Decimal(28) / 3, split=Decimal("75.00")
        ),
    ]


@given(percent=percents)
def test_the_split_of_a_rollout_alone_is_its_percentage(percent):
    (share,) = shares([layer("alone", percent)])

    assert (share.candidate, share.control, share.split) == (percent, 100 - percent, percent)


@given(st.lists(percents, min_size=1, max_size=6))
def test_shares_add_up_to_everybody(given_percents):
    total = sum(share.candidate + share.control for share in shares(numbered(given_percents)))

    assert total == pytest.approx(100, abs=Decimal("1e-20"))


@given(st.lists(percents, min_size=1, max_size=5), st.data())
def test_a_higher_percentage_never_gives_a_rollout_less_nor_another_one_more(given_percents, data):
    place = data.draw(st.integers(0, len(given_percents) - 1))
    more = data.draw(st.decimals(min_value=given_percents[place], max_value=100, places=2))
    before = shares(numbered(given_percents))
    after = shares(numbered([*given_percents[:place], more, *given_percents[place + 1 :]]))

    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        if index == place:
            assert (new.candidate, new.split) >= (old.candidate, old.split)
        elif index < place:
            assert new.candidate == old.candidate
            assert new.split >= old.split
        else:
            assert new.candidate <= old.candidate
            assert new.split == old.split


@given(st.lists(percents, min_size=1, max_size=6))
def test_the_split_is_what_the_shares_say_and_never_rounded_to_all_or_nothing(given_percents):
    for share, percent in zip(shares(numbered(given_percents)), given_percents, strict=True):
        if share.candidate + share.control:
            exact = 100 * share.candidate / (share.candidate + share.control)
            assert share.split == pytest.approx(exact, abs=Decimal("0.01"))
            assert (share.split == 100) == (share.control == 0)
        assert (share.split == 0) == (percent == 0)


def test_a_forced_rollout_takes_all_the_rest():
    first, forced, last = shares(
        [layer("a", 20, priority=1), layer("b", 5, priority=2, everyone=True), layer("c", 50, priority=3)]
    )

    assert [first.candidate, first.control, first.split] == [20, 0, 100]
    assert [forced.candidate, forced.control, forced.split] == [80, 0, 100]
    assert [last.candidate, last.control] == [0, 0]


@given(st.lists(percents, min_size=1, max_size=6), st.integers(0, 5))
def test_a_split_is_the_same_asked_for_alone(given_percents, place):
    among = numbered(given_percents)
    share = shares(among)[place % len(among)]

    assert split_of(among, share.rollout) == share.split


def test_a_closed_rollout_has_no_split():
    with pytest.raises(ValueError, match="closed"):
        split_of([layer("closed", 20, everyone=False), layer("b", 5)], "closed")


def test_closed_rollouts_get_nothing_and_take_nothing():
    assert shares([layer("a", 20, everyone=False), layer("b", 5)]) == shares([layer("b", 5)])
    assert shares([layer("a", 20, everyone=False)]) == []


def test_they_are_asked_by_priority_and_then_by_name():
    asked = shares([layer("b", 1), layer("a", 1), layer("z", 1, priority=1), layer("c", 1, priority=101)])

    assert [each.rollout for each in asked] == ["z", "a", "b", "c"]


# --- 100,000 units ---


def test_each_rollout_gets_its_share_of_100000_units(dealt):
    seen = Counter((found.rollout, found.arm) for found in dealt.values())

    for share in shares(THREE):
        # Four standard errors: false alarm in one choice of names of 15,000.
        for arm, percent in (("candidate", share.candidate), ("baseline", share.control)):
            part = float(percent) / 100
            spread = 4 * (len(UNITS) * part * (1 - part)) ** 0.5
            assert seen[share.rollout, arm] == pytest.approx(len(UNITS) * part, abs=spread)


def test_of_the_rest_the_second_takes_whom_its_own_bucket_says(dealt):
    rest = [unit for unit in UNITS if (dealt[unit].rollout, dealt[unit].arm) != ("first", "candidate")]
    bands: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for unit in rest:
        of_first = bucket(rollout="first", salt="salt-of-first", unit=unit)
        taken = (dealt[unit].rollout, dealt[unit].arm) == ("second", "candidate")
        bands[int((of_first - 20) / 80 * 7)][taken] += 1

    assert chi_square(list(bands.values())) < LIMIT[6]


@pytest.mark.parametrize("asked", THREE, ids=lambda asked: asked.rollout)
def test_controls_are_dealt_without_regard_to_any_bucket(dealt, asked):
    bands: dict[int, Counter[str]] = defaultdict(Counter)
    for unit, found in dealt.items():
        if found.arm == "baseline":
            own = bucket(rollout=asked.rollout, salt=asked.salt, unit=unit)
            bands[int((own - float(asked.percent)) / float(100 - asked.percent) * 10)][found.rollout] += 1

    assert chi_square([[counts[each.rollout] for each in THREE] for counts in bands.values()]) < LIMIT[18]


def test_controls_are_dealt_in_equal_parts(dealt):
    counts = Counter(found.rollout for found in dealt.values() if found.arm == "baseline")
    wanted = sum(counts.values()) / 3

    assert sum((count - wanted) ** 2 / wanted for count in counts.values()) < LIMIT[2]


def test_raising_a_later_rollout_moves_nobody_out_of_an_earlier_ones_candidate(dealt):
    raised = [THREE[0], THREE[1], layer("third", 90, priority=3)]

    for unit in UNITS[:20_000]:
        old, new = dealt[unit], assign(raised, unit=unit)
        if old.arm == "candidate":
            assert new == old
        elif new.arm == "candidate":
            assert new.rollout == "third"
        else:
            assert new == old


def test_opening_and_closing_one_moves_only_the_controls_that_it_gains_or_loses():
    # At 0 % everybody is a control, so that nothing else can move them.
    two = [layer("first", 0), layer("second", 0)]
    three = [*two, layer("third", 0)]
    closed = [layer("first", 0), layer("second", 0, everyone=False), layer("third", 0)]

    for unit in UNITS[:20_000]:
        with_two, with_three, without = (assign(each, unit=unit).rollout for each in (two, three, closed))
        assert with_three in (with_two, "third")
        assert without == with_three or with_three == "second"


@given(unit=st.text(max_size=40), given_percents=st.lists(percents, min_size=1, max_size=5))
def test_a_unit_is_the_first_ones_whose_bucket_takes_it_and_nobodys_twice(unit, given_percents):
    layers = numbered(given_percents)
    takers = [
        each.rollout
        for each in layers
        if in_candidate(rollout=each.rollout, salt=each.salt, unit=unit, percent=each.percent)
    ]

    found = assign(layers, unit=unit)
    assert found == assign(list(reversed(layers)), unit=unit)
    if takers:
        assert (found.rollout, found.arm) == (takers[0], "candidate")
    else:
        assert found.arm == "baseline"


@given(unit=st.text(max_size=40), before=st.lists(percents, min_size=2, max_size=4), more=percents, data=st.data())
def test_whatever_a_neighbour_does_nobody_changes_arms_within_a_rollout(unit, before, more, data):
    place = data.draw(st.integers(0, len(before) - 1))
    old = assign(numbered(before), unit=unit)
    new = assign(numbered([*before[:place], more, *before[place + 1 :]]), unit=unit)

    if new.rollout == old.rollout != f"r{place}":
        assert new.arm == old.arm


# --- wishes, testers, force, stops ---


def placed(*layers: Layer, testers: str = "", wish: str = "") -> tuple[str, str, str]:
    found = assign(layers, unit=UNIT, testers=testers.split(), wish=wish)
    return found.rollout, found.arm, found.reason


def test_each_reason_has_its_cause():
    assert placed(layer("a", 0)) == ("a", "baseline", "percentage")
    assert placed(layer("a", 100)) == ("a", "candidate", "percentage")
    assert placed(layer("a", 0), testers="a") == ("a", "candidate", "tester")
    assert placed(layer("a", 0, everyone=True)) == ("a", "candidate", "everyone")
    assert placed(layer("a", 0), wish="a") == ("a", "candidate", "manual")
    assert placed(layer("a", 0, everyone=False)) == ("a", "baseline", "disabled")


def test_a_stop_wins_over_everything_and_a_wish_over_force_and_share():
    pulls = {"testers": "a", "wish": "a"}

    assert placed(layer("a", 100, everyone=False), **pulls) == ("a", "baseline", "disabled")
    assert placed(layer("a", 100, everyone=True), **pulls) == ("a", "candidate", "manual")
    assert placed(layer("a", 100, everyone=True), testers="a") == ("a", "candidate", "everyone")
    assert placed(layer("a", 100), testers="a") == ("a", "candidate", "tester")


def test_a_wish_wins_over_the_testers_of_others_and_testers_over_an_earlier_share_or_force():
    a, b, c = layer("a", 100), layer("b", 0), layer("c", 0)
    forced = layer("a", 0, everyone=True)

    assert placed(a, b, c, testers="b c") == ("b", "candidate", "tester")
    assert placed(a, b, c, testers="b", wish="c") == ("c", "candidate", "manual")
    assert placed(forced, b, testers="b") == ("b", "candidate", "tester")
    assert placed(forced, layer("b", 100)) == ("a", "candidate", "everyone")


def test_who_asks_for_a_closed_ones_candidate_gets_the_baseline_whatever_else_is_on():
    assert placed(layer("a", 100), layer("b", 100, everyone=False), wish="b") == ("b", "baseline", "disabled")


def test_testers_of_a_closed_rollout_are_as_everybody():
    assert placed(layer("a", 0, everyone=False), layer("b", 0), testers="a") == ("b", "baseline", "percentage")


def test_with_all_closed_the_first_of_them_counts_the_request():
    assert placed(layer("a", 100, everyone=False), layer("b", 100, everyone=False, priority=1)) == (
        "b",
        "baseline",
        "disabled",
    )
