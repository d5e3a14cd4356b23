"""Requests that were turned away, counted for all processes."""

import asyncio
import socket
import time
from typing import Any

import httpx2
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from chat.breakers import connect
from chat.refusals import Refusals
from gateway.keys import create_key
from tests.chat.factories import UserFactory


def told(live_app: str) -> dict[tuple[str, str], float]:
    text = httpx2.get(f"{live_app}/metrics").text
    return {
        (sample.labels["surface"], sample.labels["code"]): sample.value
        for family in text_string_to_metric_families(text)
        if family.name == "sluice_refused_requests"
        for sample in family.samples
    }


def test_metrics_tell_how_many_were_turned_away_and_why(live_app, settings):
    _key, text = create_key(name="shop", owner=UserFactory(), requests_per_minute=1)
    ask: Any = {"model": "chat-model", "messages": [{"role": "user", "content": "Hello"}]}
    assert told(live_app) == {}

    with openai.OpenAI(base_url=f"{live_app}/v1", api_key=text, max_retries=0) as client:
        client.chat.completions.create(**ask)
        for _ in range(2):
            with pytest.raises(openai.RateLimitError):
                client.chat.completions.create(**ask)
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="sk-nobody").chat.completions.create(**ask)
    httpx2.get(f"{live_app}/v1/nothing")

    expected = {("v1", "rate_limit_exceeded"): 2, ("v1", "invalid_api_key"): 1, ("v1", "unknown_url"): 1}
    deadline = time.monotonic() + 20
    while (found := told(live_app)) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_what_redis_is_not_there_for_is_told_later(settings):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        away = connect(f"redis://127.0.0.1:{nobody.getsockname()[1]}")
        refusals = Refusals(away)

        async def turn_away() -> None:
            refusals.note("chat", "busy")
            refusals.note("chat", "busy")
            await refusals.flush()

        asyncio.run(turn_away())
        assert refusals.counted() == {}
    refusals._redis = connect(settings.REDIS_URL)

    asyncio.run(refusals.flush())

    assert refusals.counted() == {("chat", "busy"): 2}
