"""One attempt: read one provider's stream to its end, within our own deadlines.

The only caller of providers. Knows the contract and the clock it is given; no Django, no database,
no Redis. The SDKs' timeouts are per read and never fire on a slow drip, hence the deadlines here.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal

from chat.providers.base import (
    ChatRequest,
    Delta,
    Finished,
    Provider,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    ReasoningDelta,
    RefusalDelta,
    Refused,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsedSoFar,
)
from metrics.pricing import Usage

OutcomeName = Literal["ok", "error", "timeout", "refused", "empty", "cancelled", "abandoned"]


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """Seconds: to the first token, between two tokens, for the whole; and the most characters kept."""

    first_token_s: float
    idle_s: float
    total_s: float
    max_chars: int


@dataclass(kw_only=True)
class Attempt:
    """One attempt as it goes on; whole once ``run`` has returned or was cancelled.

    Times in ms from the start of ``run``; ``ttft_ms`` is to the first visible text or tool call.
    ``chars`` counts the characters of both. ``usage`` is the vendor's last word on it, also of a stream that broke off.
    ``was_answered`` is true once anything came of it: before that, an error cost nothing.
    """

    deadlines: Deadlines
    clock: Callable[[], float]
    outcome: OutcomeName = "cancelled"
    error: ProviderError | None = None
    finish_reason: str = ""
    upstream_model: str = ""
    usage: Usage = field(default_factory=Usage)
    ttft_ms: int | None = None
    latency_ms: int | None = None
    chars: int = 0
    was_answered: bool = False
    _started: float = 0.0
    _thought: int = 0

    async def run(
        self,
        provider: Provider,
        request: ChatRequest,
        *,
        on_text: Callable[[str], None],
        on_reasoning: Callable[[str], None],
        on_tool_call: Callable[[ToolCallDelta], None] | None = None,
        on_refusal: Callable[[str], None] | None = None,
        on_answered: Callable[[], None] | None = None,
    ) -> None:
        """Read the stream, hand on what it shows, and set ``outcome``. Raises nothing but cancellation.

        Without ``on_tool_call`` the pieces of tool calls are counted and dropped; without ``on_refusal`` what a model
        says when it declines is not even seen. ``on_answered`` is called once, when the first of anything comes.
        """

        def take(event: Delta) -> None:
            if isinstance(event, ReasoningDelta):
                # As much as of an answer: what comes after that nobody reads.
                room = self.deadlines.max_chars - self._thought
                self._thought += len(event.text)
                if room > 0:
                    on_reasoning(clean(event.text[:room]))
            elif isinstance(event, TextDelta):
                self._take_text(event.text, on_text)
            elif isinstance(event, RefusalDelta):
                if on_refusal is not None:
                    self._take_text(event.text, on_refusal)
            else:
                self._take_call(event, on_tool_call)

        self._started = self.clock()
        try:
            provider.check(request)
            await self._read(provider.stream(request), take, on_answered)
        except ProviderError as error:
            self.fail(error)
        finally:
            self.latency_ms = self._elapsed_ms()

    async def _read(
        self, stream: AsyncIterator[StreamEvent], take: Callable[[Delta], None], on_answered: Callable[[], None] | None
    ) -> None:
        deadlines = self.deadlines
        watch = _Watch(deadlines.total_s)
        try:
            async with watch, aclosing(stream) as events:  # type: ignore[type-var]
                watch.wait(deadlines.first_token_s, "timeout_first_token")
                async for event in events:
                    if not self.was_answered:
                        self.was_answered = True
                        if on_answered is not None:
                            on_answered()
                    if isinstance(event, Finished):
                        return self._finish(event)
                    if isinstance(event, UsedSoFar):
                        self.usage = event.usage
                        continue
                    watch.wait(deadlines.idle_s, "timeout_idle")
                    take(event)
        except TimeoutError:
            raise ProviderTimeout("The model did not answer in time.", error_class=watch.missed) from None
        raise ProviderUnavailable("The answer ended without an end.", error_class="no_finish")

    def _take_text(self, text: str, hand_on: Callable[[str], None]) -> None:
        room = self.deadlines.max_chars - self.chars
        self._see(len(text))
        hand_on(clean(text[:room]))
        self._check_length()

    def _take_call(self, event: ToolCallDelta, on_tool_call: Callable[[ToolCallDelta], None] | None) -> None:
        self._see(len(event.id) + len(event.name) + len(event.arguments))
        # A piece that is too long is no use in part.
        self._check_length()
        if on_tool_call is not None:
            call_id, name, arguments = map(clean, (event.id, event.name, event.arguments))
            on_tool_call(ToolCallDelta(index=event.index, id=call_id, name=name, arguments=arguments))

    def _see(self, chars: int) -> None:
        if self.ttft_ms is None:
            self.ttft_ms = self._elapsed_ms()
        self.chars += chars

    def _check_length(self) -> None:
        if self.chars > self.deadlines.max_chars:
            raise ProviderUnavailable("The answer grew too long.", error_class="too_long")

    def _finish(self, event: Finished) -> None:
        self.usage, self.finish_reason = event.usage, event.finish_reason
        self.upstream_model = clean(event.upstream_model)
        if event.finish_reason == "refused":
            self.outcome = "refused"
        else:
            self.outcome = "ok" if self.ttft_ms is not None else "empty"

    def fail(self, error: ProviderError) -> None:
        """Note how the attempt failed."""
        self.error = error
        if isinstance(error, Refused):
            self.outcome, self.usage, self.upstream_model = "refused", error.usage, clean(error.upstream_model)
        else:
            self.outcome = "timeout" if isinstance(error, ProviderTimeout) else "error"

    def _elapsed_ms(self) -> int:
        return round(1000 * (self.clock() - self._started))


class _Watch:
    """A deadline that moves with each event of a stream, at the price of an assignment.

    Like ``asyncio.timeout``, which would want a timer and a context for each event: here one timer looks, when it
    goes off, whether the deadline has moved meanwhile. ``missed`` names the deadline that was.
    """

    def __init__(self, total_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = self._due = self._loop.time() + max(0.0, total_s)
        self._name = self.missed = "timeout_total"
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._timeout.__aexit__(*error)

    def wait(self, seconds: float, name: str) -> None:
        """The next event must come within so many seconds, and before the whole is over."""
        self._due, self._name = self._loop.time() + seconds, name
        if self._due >= self._end:
            self._due, self._name = self._end, "timeout_total"
        # A timer that goes off too early looks again; one that would go off too late is set anew.
        if self._timer is None or self._timer.when() > self._due:
            self._set()

    def _set(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        if self._loop.time() < self._due:
            self._set()
        else:
            self.missed = self._name
            self._timeout.reschedule(self._loop.time())


def clean(text: str) -> str:
    """Text that every store can hold: NUL and lone surrogates become U+FFFD."""
    if text.isascii() and "\x00" not in text:
        return text
    text = text.replace("\x00", "�")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
