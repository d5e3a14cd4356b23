"""Places at an upstream, and answers in a process."""

import asyncio

import pytest

from chat import capacity
from chat.capacity import Answers, Bulkhead, Overloaded
from chat.providers.base import NotAsked


def test_who_waits_gets_the_place_that_becomes_free_and_no_more_wait_than_may():
    async def crowd() -> list[str]:
        bulkhead, done, log = Bulkhead(places=1, queue=1), asyncio.Event(), []

        async def hold() -> None:
            async with bulkhead.place():
                log.append("first")
                await done.wait()

        async def follow() -> None:
            async with bulkhead.place():
                log.append("second")

        tasks = [asyncio.create_task(hold()), asyncio.create_task(follow())]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert bulkhead.is_full
        with pytest.raises(NotAsked) as raised:
            await bulkhead.place().__aenter__()
        assert raised.value.error_class == "bulkhead_full"
        done.set()
        await asyncio.gather(*tasks)
        assert not bulkhead.is_full
        return log

    assert asyncio.run(crowd()) == ["first", "second"]


def test_nobody_waits_long_for_a_place(monkeypatch):
    monkeypatch.setattr(capacity, "QUEUE_WAIT_S", 0.01)

    async def wait() -> None:
        bulkhead = Bulkhead(places=1, queue=5)
        async with bulkhead.place():
            with pytest.raises(NotAsked):
                await bulkhead.place().__aenter__()
        async with bulkhead.place():
            pass

    asyncio.run(wait())


def test_who_is_cancelled_while_waiting_takes_no_place():
    async def leave() -> None:
        bulkhead = Bulkhead(places=1, queue=1)
        async with bulkhead.place():
            waiting = asyncio.create_task(bulkhead.place().__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert not bulkhead.is_full
        async with bulkhead.place():
            pass

    asyncio.run(leave())


def test_above_the_limit_no_answer_is_taken_on(settings):
    settings.MAX_RUNNING_ANSWERS = 2
    answers = Answers()
    answers.add(1)
    with answers.one_more(), pytest.raises(Overloaded), answers.one_more():
        pass
    answers.add(-1)

    assert answers.running == 0
