"""What our own code takes for what is done most, in instructions and in bytes: a budget for each, and never a time.

A budget is at most a tenth over what it was when it was written. Whoever needs more says why where the number is.
"""

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from chat import eventlog, livelog
from chat.markdown import BlockStream
from chat.providers import gemini, openai
from chat.providers.answer import Answer
from gateway.wire import ChunkWriter
from gateway.wire_request import parse_completion
from metrics.pricing import Usage, cost_usd
from rollout.layers import Layer, assign
from tests.services.counting import instructions

if TYPE_CHECKING:
    from redis import Redis

PIECES = 64
LAYER = Layer(rollout="flag", salt="0123456789abcdef", percent=Decimal(30), everyone=None, priority=100)


def openai_line(number: int) -> bytes:
    choice = {"index": 0, "delta": {"content": f"word{number} "}, "finish_reason": None}
    return json.dumps({"id": "1", "model": "gpt", "choices": [choice]}).encode()


def gemini_line(number: int) -> bytes:
    candidate = {"content": {"parts": [{"text": f"word{number} "}], "role": "model"}, "index": 0}
    return json.dumps({"candidates": [candidate], "modelVersion": "gemini"}).encode()


def test_a_person_is_assigned():
    assert instructions(lambda: assign([LAYER], unit="a person")) <= 150


def test_a_call_is_priced():
    usage = Usage(input_tokens=9, output_tokens=64)

    def price() -> None:
        cost_usd(usage=usage, upstream_model="gpt-5.4", price_provider="openai", at=datetime(2026, 11, 1, tzinfo=UTC))

    assert instructions(price) <= 325


@pytest.mark.parametrize(("line", "read", "most"), [(openai_line, openai._read, 230), (gemini_line, gemini._read, 240)])
def test_a_piece_of_a_stream_is_read(line, read, most):
    lines = [line(number) for number in range(PIECES)]

    assert instructions(lambda: list(Answer("a vendor", "a model").events(lines, read))) <= most * PIECES


def test_a_request_is_understood():
    body = {"model": "chat-model", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    raw = json.dumps(body).encode()

    assert instructions(lambda: parse_completion(raw)) <= 975


def chunks() -> list[bytes]:
    writer = ChunkWriter(answer_id=f"chatcmpl-{UUID(int=1).hex}", created=1, model="gemini-flash-lite")
    return [*(writer.text(f"word{number} ") for number in range(PIECES)), writer.finish("stop")]


def test_a_piece_goes_out_to_a_program():
    assert instructions(chunks) <= 29 * PIECES
    assert sum(map(len, chunks())) <= 250 * PIECES


def test_a_word_is_put_into_a_page():
    stream = BlockStream()
    stream.feed("Once upon")

    # A look for bold words among them is a tenth of it, and spares parsing those; items of lists are written alike.
    assert instructions(lambda: stream.feed(" a time")) <= 150


def test_an_item_is_put_into_a_page():
    stream = BlockStream()
    stream.feed("- Once upon")

    assert instructions(lambda: stream.feed(" a time\n- There was")) <= 315


def test_an_answer_is_kept_for_other_processes(redis_server: "Redis"):
    async def answer() -> None:
        log = livelog.LiveLog(uuid4())
        for number in range(PIECES):
            log.say("text", f"word{number} ")
        await log.close()
        await livelog.close_writer()
        await eventlog.close_clients()

    def received() -> int:
        stats = redis_server.info("stats")
        assert isinstance(stats, dict)
        return int(stats["total_net_input_bytes"])

    asyncio.run(answer())
    before = received()
    asyncio.run(answer())

    assert received() - before <= 1100
