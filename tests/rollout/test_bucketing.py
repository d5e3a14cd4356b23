import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.bucketing import bucket, in_candidate

# Each bucket from sha1sum(1) and bc(1); the first three are LaunchDarkly's own published test cases.
CASES = json.loads((Path(__file__).parent / "bucketing_cases.json").read_text())
UNITS = [f"{n:032x}" for n in range(100_000)]

texts = st.text(max_size=40)
percents = st.decimals(min_value=0, max_value=100, places=2)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["unit"] or "empty")
def test_a_bucket_is_what_another_program_computes(case):
    assert bucket(rollout=case["rollout"], salt=case["salt"], unit=case["unit"]) == pytest.approx(
        case["bucket"], abs=1e-12
    )


@given(rollout=texts, salt=texts, unit=texts)
def test_a_bucket_lies_between_0_and_100_and_never_changes(rollout, salt, unit):
    first = bucket(rollout=rollout, salt=salt, unit=unit)

    assert 0 <= first < 100
    assert bucket(rollout=rollout, salt=salt, unit=unit) == first


@given(unit=texts, salt=texts, percent=percents, more=percents)
def test_raising_the_percentage_never_drops_a_unit(unit, salt, percent, more):
    low, high = sorted((percent, more))

    if in_candidate(rollout="r", salt=salt, unit=unit, percent=low):
        assert in_candidate(rollout="r", salt=salt, unit=unit, percent=high)


@given(unit=texts, salt=texts)
def test_nobody_is_in_at_0_and_everybody_at_100(unit, salt):
    assert not in_candidate(rollout="r", salt=salt, unit=unit, percent=Decimal(0))
    assert in_candidate(rollout="r", salt=salt, unit=unit, percent=Decimal(100))


def members(percent: int, *, rollout: str = "gemini-flash-lite", salt: str = "0123456789abcdef") -> set[str]:
    return {unit for unit in UNITS if in_candidate(rollout=rollout, salt=salt, unit=unit, percent=Decimal(percent))}


def test_of_100000_units_5_15_and_35_percent_come_out_and_each_group_holds_the_smaller_one():
    groups = {percent: members(percent) for percent in (5, 15, 35)}

    for percent, group in groups.items():
        assert 100 * len(group) / len(UNITS) == pytest.approx(percent, abs=0.2)
    assert groups[5] < groups[15] < groups[35]


@pytest.mark.parametrize(
    ("rollout", "salt"), [("another-rollout", "0123456789abcdef"), ("gemini-flash-lite", "fedcba9876543210")]
)
def test_another_rollout_and_another_salt_choose_independently(rollout, salt):
    ours, theirs = members(35), members(35, rollout=rollout, salt=salt)
    total = len(UNITS)

    # Pearson's chi-square of the 2 × 2 table; 10.83 is its 99.9 % quantile at one degree of freedom.
    chi_square = 0.0
    for in_ours in (True, False):
        for in_theirs in (True, False):
            seen = sum((unit in ours) is in_ours and (unit in theirs) is in_theirs for unit in UNITS)
            mine = len(ours) if in_ours else total - len(ours)
            other = len(theirs) if in_theirs else total - len(theirs)
            expected = mine * other / total
            chi_square += (seen - expected) ** 2 / expected
    assert chi_square < 10.83
