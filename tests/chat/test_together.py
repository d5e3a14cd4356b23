"""Database work that is done for many at once."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from chat.threads import Together


class Refused(Exception):
    pass


class Work:
    """Doubles numbers, and waits with its first batch until it is let go. Odd ones are refused, 13 breaks it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(numbers))
        assert self.go.wait(10)
        if 13 in numbers:
            raise ZeroDivisionError
        return [Refused(number) if number % 2 else 2 * number for number in numbers]


@pytest.fixture
def work() -> Work:
    return Work()


def run(work: Work, *numbers: int, most: int = 64, cancelled: Sequence[int] = ()) -> list[int | BaseException]:
    """All of them come while the first is at work."""

    async def ask() -> list[int | BaseException]:
        together: Together[int, int] = Together(work, most=most)
        futures = [together.put(number) for number in numbers]
        for number in cancelled:
            futures[number].cancel()
        work.go.set()
        return await asyncio.gather(*futures, return_exceptions=True)

    return asyncio.run(ask())


def test_what_comes_while_a_batch_is_at_work_is_the_next_batch(work):
    assert run(work, 0, 2, 4, 6) == [0, 4, 8, 12]
    assert work.batches == [[0], [2, 4, 6]]


def test_a_batch_has_its_most_and_nobody_is_passed_over(work):
    assert run(work, 0, 2, 4, 6, 8, 10, most=2) == [0, 4, 8, 12, 16, 20]
    assert work.batches == [[0], [2, 4], [6, 8], [10]]


def test_a_refusal_is_raised_for_its_item_alone(work):
    found = run(work, 0, 1, 2)

    assert found[0] == 0
    assert isinstance(found[1], Refused)
    assert found[2] == 4


def test_what_breaks_a_batch_is_raised_for_all_of_it_and_for_none_after_it(work):
    found = run(work, 0, 13, 2, 4, most=2)

    assert [type(each) for each in found] == [int, ZeroDivisionError, ZeroDivisionError, int]


def test_what_nobody_wants_any_more_is_not_done(work):
    found = run(work, 0, 2, 4, cancelled=[1])

    assert isinstance(found[1], asyncio.CancelledError)
    assert work.batches == [[0], [4]]


def test_an_item_that_is_cancelled_while_it_is_at_work_harms_nobody(work):
    found = run(work, 0, 2, cancelled=[0])

    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1] == 4


def test_each_event_loop_has_a_line_of_its_own(work):
    work.go.set()
    together: Together[int, int] = Together(work, most=64)

    async def ask() -> int:
        return await together.put(2)

    assert [asyncio.run(ask()), asyncio.run(ask())] == [4, 4]
