"""Readers of a running answer, here and elsewhere: another event loop knows as little as another process."""

import asyncio
import threading
from typing import Any
from uuid import UUID, uuid4

import pytest
import uvloop
from redis import Redis

from chat import eventlog, generation, livelog
from chat.livelog import LiveLog
from chat.models import Message
from chat.tail import Progress, follow
from simulator.upstream import Upstream
from tests.chat.test_generation import run, send


class Elsewhere(threading.Thread):
    """Follows an answer from an event loop of its own."""

    def __init__(self, answer: UUID, replay_to: int = 0) -> None:
        super().__init__()
        self._answer, self._replay_to = answer, replay_to
        self.read: list[Progress] = []

    def run(self) -> None:
        asyncio.run(self._follow())

    async def _follow(self) -> None:
        async for progress in follow(self._answer, replay_to=self._replay_to):
            self.read.append(progress)
        await eventlog.close_clients()


@pytest.mark.django_db(transaction=True)
def test_a_reader_in_another_process_sees_the_same_entries(upstream: Upstream):
    _, started = send()

    async def read_here() -> list[Progress]:
        generation.start(started)
        elsewhere.start()
        return [progress async for progress in follow(started.reply_id)]

    elsewhere = Elsewhere(started.reply_id)
    here = run(read_here())
    elsewhere.join()

    assert elsewhere.read[-1] == here[-1]
    seen_here = {progress.seq: progress for progress in here}
    both = [progress for progress in elsewhere.read if progress.seq in seen_here]
    assert both == [seen_here[progress.seq] for progress in both]


@pytest.mark.django_db(transaction=True)
def test_a_reader_goes_on_in_another_process_where_it_stopped_in_this_one(upstream: Upstream):
    _, started = send("Say it slowly")

    async def read_here() -> Progress:
        generation.start(started)
        async for progress in follow(started.reply_id):
            if progress.seq >= 2:
                return progress
        raise AssertionError("The answer was too short")

    async def both() -> tuple[Progress, Elsewhere]:
        seen = await read_here()
        elsewhere = Elsewhere(started.reply_id, replay_to=seen.seq)
        elsewhere.start()
        await livelog.request_stop(started.reply_id)
        await asyncio.to_thread(elsewhere.join)
        return seen, elsewhere

    seen, elsewhere = run(both())

    assert seen in elsewhere.read
    assert elsewhere.read[-1].done


@pytest.mark.django_db(transaction=True)
def test_without_redis_a_reader_here_sees_all_and_one_elsewhere_finds_it_in_the_database(
    upstream: Upstream, settings: Any
):
    settings.REDIS_URL = "unix:///nonexistent/redis.sock"
    reply, started = send()

    async def read_here() -> list[Progress]:
        generation.start(started)
        return [progress async for progress in follow(started.reply_id)]

    here = run(read_here())
    elsewhere = Elsewhere(reply.id)
    elsewhere.start()
    elsewhere.join()

    reply.refresh_from_db()
    assert reply.state == Message.State.COMPLETE
    assert here[-1].text == elsewhere.read[-1].text == reply.text != ""
    assert (here[-1].seq > 0, elsewhere.read[-1].seq) == (True, 0)


@pytest.mark.django_db(transaction=True)
def test_a_stop_in_the_same_process_needs_no_redis(upstream: Upstream, settings: Any):
    settings.REDIS_URL = "unix:///nonexistent/redis.sock"
    reply, started = send("Say it slowly")

    async def stop_it() -> None:
        generation.start(started)
        async for progress in follow(reply.id):
            if progress.text and not progress.done:
                await livelog.request_stop(reply.id)

    run(stop_it())

    reply.refresh_from_db()
    assert reply.state == Message.State.STOPPED


def test_a_log_that_lost_an_entry_gets_no_more_and_others_go_on(redis_server: Redis, settings: Any):
    lost, kept = uuid4(), uuid4()
    # Something that is no stream stands in the way of the first log.
    redis_server.set(f"sluice:answer:2:{lost}", "in the way")

    async def write() -> None:
        logs = [LiveLog(lost), LiveLog(kept)]
        logs[0].say("text", "one")
        await asyncio.sleep(2 * livelog.ENTRY_EVERY_S)
        redis_server.delete(f"sluice:answer:2:{lost}")
        for log in logs:
            log.say("text", "two")
        await asyncio.gather(*(log.close() for log in logs))
        await generation.shut_down(grace_s=0)

    asyncio.run(write())

    assert not redis_server.exists(f"sluice:answer:2:{lost}")
    items: Any = redis_server.xrange(f"sluice:answer:2:{kept}")
    assert sum(len(entries) for _id, entries in items) == 2


def test_the_writer_ends_with_the_last_log(redis_server: Redis, monkeypatch: pytest.MonkeyPatch):
    # For as long as there is another log it would wait this long.
    monkeypatch.setattr(livelog, "WRITE_EVERY_S", 3600)

    async def write() -> None:
        log = LiveLog(uuid4())
        (writer,) = (task for task in asyncio.all_tasks() if task.get_name() == "event logs")
        await log.close()
        await asyncio.wait_for(writer, 30)
        await generation.shut_down(grace_s=0)

    asyncio.run(write())


def test_a_log_lives_for_its_time_after_its_first_and_its_last_entry(redis_server: Redis, settings: Any):
    answer = uuid4()

    async def write() -> int:
        log = LiveLog(answer)
        log.say("text", "one")
        await asyncio.sleep(2 * livelog.ENTRY_EVERY_S)
        first = redis_server.ttl(f"sluice:answer:2:{answer}")
        redis_server.persist(f"sluice:answer:2:{answer}")
        await log.close()
        await generation.shut_down(grace_s=0)
        return int(first)

    # The web process's own loop, whose timers are not quite asyncio's.
    first = uvloop.run(write())

    assert 0 < first <= settings.EVENT_LOG_TTL_S
    assert 0 < redis_server.ttl(f"sluice:answer:2:{answer}") <= settings.EVENT_LOG_TTL_S


def test_a_busy_event_loop_gets_fewer_entries_and_reads_and_a_free_one_ten_a_second_again():
    async def paces() -> list[tuple[float, float]]:
        log = LiveLog(uuid4())
        found = []
        for late_s in (1.0, 0.0):
            for _entry in range(500):
                log._writer.adapt(late_s)
            found.append((log._writer.pace_s, log.rest_s()))
        await log.close()
        await generation.shut_down(grace_s=0)
        return found

    assert asyncio.run(paces()) == [(livelog.SLOWEST_S, livelog.REST_S), (livelog.ENTRY_EVERY_S, 0.0)]
