"""Connections that every adapter keeps for later requests, and that the vendor closes in the meantime."""

import asyncio

import pytest

from chat.providers import client
from chat.providers.base import ProviderUnavailable
from tests.chat.vendors import Vendor, answer, ask, for_each_vendor, text_of
from tests.services.faults import KEPT, TOKENS
from tests.services.faulty_upstream import FaultyUpstream

pytestmark = for_each_vendor


def test_a_kept_connection_that_the_vendor_closed_fails_nobody(vendor: Vendor, faulty: FaultyUpstream) -> None:
    async def ask_twice() -> list[str]:
        async with vendor.adapter(faulty.url) as provider:
            return [text_of([event async for event in provider.stream(ask(KEPT))]) for _ in range(2)]

    texts = asyncio.run(ask_twice())

    assert texts == ["".join(TOKENS)] * 2
    # The second came twice: on the connection that was no more, and on a new one.
    assert len(faulty.requests) == 3


def test_a_vendor_that_may_have_worked_on_it_is_not_asked_again(
    vendor: Vendor, faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However soon it closes: that is too late.
    monkeypatch.setattr(client, "CLOSING_S", 0.0)

    async def ask_twice() -> None:
        async with vendor.adapter(faulty.url) as provider:
            for _ in range(2):
                [event async for event in provider.stream(ask(KEPT))]

    with pytest.raises(ProviderUnavailable):
        asyncio.run(ask_twice())

    assert len(faulty.requests) == 2


def test_a_new_connection_that_the_vendor_closes_is_asked_on_once(vendor: Vendor, faulty: FaultyUpstream) -> None:
    events, error = answer(vendor, faulty.url, ask("closes"))

    assert events == []
    assert isinstance(error, ProviderUnavailable)
    assert error.error_class == "connect"
    assert len(faulty.requests) == 1
