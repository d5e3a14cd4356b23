"""What an adapter asks its SDK for: what is the same for each request, once, and what a refusal means."""

import asyncio
from contextlib import suppress

import httpx2
import pytest

from chat.providers.base import RateLimited
from chat.providers.client import Desk
from tests.chat.vendors import Vendor, ask, for_each_vendor
from tests.services.faulty_upstream import FaultyUpstream

pytestmark = for_each_vendor


@pytest.fixture
def asked_of_the_sdk(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    at_the_desk = Desk.handle_async_request

    async def counted(desk: Desk, request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        return await at_the_desk(desk, request)

    monkeypatch.setattr(Desk, "handle_async_request", counted)
    return asked


def test_an_sdk_is_asked_once_for_all_answers_and_once_for_each_refusal(
    vendor: Vendor, faulty: FaultyUpstream, asked_of_the_sdk: list[str]
) -> None:
    async def ask_often() -> list[int]:
        counts = []
        async with vendor.adapter(faulty.url) as provider:
            for model in ("ok", "ok", "ok", "p08-429", "p08-429", "ok"):
                with suppress(RateLimited):
                    async for _event in provider.stream(ask(model)):
                        pass
                counts.append(len(asked_of_the_sdk))
        return counts

    counts = asyncio.run(ask_often())

    # Gemini's address has the model in it.
    another = vendor.name == "gemini"
    assert counts == [1, 1, 1, 2 + another, 3 + another, 3 + another]
    assert len(faulty.requests) == 6
