"""A line that breaks while an answer comes in, in a real browser."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from config.asgi import application
from rollout.changes import Actor, change_rollout
from simulator.upstream import Upstream
from tests.browser.steps import ended, reply, write
from tests.services import live

pytestmark = pytest.mark.browser


def test_a_lost_stream_is_mentioned_and_taken_up_again(page: Page, live_app: str, console_errors: list[str]):
    page.goto(live_app)
    page.route("**/events", lambda route: route.abort())
    write(page, "Tell me about canals")
    expect(reply(page).get_by_text("Reconnecting…")).to_be_visible()

    page.unroute("**/events")

    ended(page)
    expect(page.get_by_text("Reconnecting…")).to_have_count(0)
    console_errors.clear()


class BreakingLine:
    """The app behind a line that breaks after the third piece of each stream; notes from where readers go on."""

    def __init__(self) -> None:
        self.last_event_ids: list[int] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not scope.get("path", "").endswith("/events"):
            await application(scope, receive, send)
            return
        self.last_event_ids.append(int(dict(scope["headers"]).get(b"last-event-id", 0)))
        broken = asyncio.Event()
        pieces = 0

        async def send_some(message: Any) -> None:
            nonlocal pieces
            pieces += b"event: blocks" in message.get("body", b"")
            if not broken.is_set():
                await send({**message, "more_body": pieces < 3} if "body" in message else message)
            if pieces == 3:
                broken.set()

        async def hang_up() -> dict[str, str]:
            await broken.wait()
            return {"type": "http.disconnect"}

        request = await receive()
        incoming = iter([request])
        await application(scope, lambda: _next_or(incoming, hang_up), send_some)


async def _next_or(incoming: Iterator[Any], otherwise: Callable[[], Awaitable[Any]]) -> Any:
    message = next(incoming, None)
    return message if message is not None else await otherwise()


def test_a_stream_that_breaks_off_again_and_again_goes_on_where_it_was(
    page: Page, transactional_db: None, upstream: Upstream
):
    # Gemini says much at once, in few pieces; and a browser waits for a second before it comes back.
    change_rollout("gemini-flash-lite", {"percent": 0}, actor=Actor(name="test", source="cli"))
    upstream.slow_answer_s = 5
    line = BreakingLine()
    with live.serving(line, live.reserve_port()) as url:
        page.goto(url)
        write(page, "Go slowly")
        ended(page)
        streamed = reply(page).locator(".blocks").inner_html()
        page.reload()

        assert reply(page).locator(".blocks").inner_html() == streamed
    assert len(line.last_event_ids) > 2
    assert line.last_event_ids[0] == 0
    assert line.last_event_ids[1] > 0
    assert line.last_event_ids == sorted(line.last_event_ids)


def test_a_stream_that_is_gone_for_good_says_to_reload(page: Page, live_app: str, console_errors: list[str]):
    page.clock.install()
    page.route("**/events", lambda route: route.fulfill(status=404))
    page.goto(live_app)
    write(page, "Tell me about canals")
    lost = reply(page).get_by_text("The connection is lost. Reload the page to see the reply.")

    for _ in range(60):
        page.clock.run_for(5000)
        if lost.is_visible():
            break
        # The page's clock is ours, the network's is not.
        page.wait_for_timeout(100)

    expect(lost).to_be_visible()
    page.unroute("**/events")
    page.reload()
    ended(page)
    console_errors.clear()
