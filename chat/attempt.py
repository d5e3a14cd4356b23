"""One attempt: read one provider's stream to its end, within our own deadlines.

The only caller of providers. Knows the contract and the clock it is given; no Django, no database,
no Redis. The SDKs' timeouts are per read and never fire on a slow drip, hence the deadlines here.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal

from chat.providers.base import (
    ChatRequest,
    Finished,
    Provider,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    ReasoningDelta,
    Refused,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
)
from metrics.pricing import Usage

Delta = TextDelta | ReasoningDelta | ToolCallDelta
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
    ``chars`` counts the characters of both.
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
    _started: float = 0.0

    async def run(
        self,
        provider: Provider,
        request: ChatRequest,
        *,
        on_text: Callable[[str], None],
        on_reasoning: Callable[[str], None],
        on_tool_call: Callable[[ToolCallDelta], None] | None = None,
    ) -> None:
        """Read the stream, hand on what it shows, and set ``outcome``. Raises nothing but cancellation.

        Without ``on_tool_call`` the pieces of tool calls are counted and dropped.
        """

        def take(event: Delta) -> None:
            if isinstance(event, ReasoningDelta):
                on_reasoning(clean(event.text))
            elif isinstance(event, TextDelta):
                self._take_text(event, on_text)
            else:
                self._take_call(event, on_tool_call)

        self._started = self.clock()
        try:
            provider.check(request)
            await self._read(provider.stream(request), take)
        except ProviderError as error:
            self.fail(error)
        finally:
            self.latency_ms = self._elapsed_ms()

    async def _read(self, stream: AsyncIterator[StreamEvent], take: Callable[[Delta], None]) -> None:
        begun = False
        async with aclosing(stream) as events:  # type: ignore[type-var]
            while True:
                event = await self._next(events, begun)
                begun = True
                if isinstance(event, Finished):
                    return self._finish(event)
                take(event)

    async def _next(self, events: AsyncIterator[StreamEvent], begun: bool) -> StreamEvent:
        wait_s = self.deadlines.idle_s if begun else self.deadlines.first_token_s
        left_s = self.deadlines.total_s - (self.clock() - self._started)
        name = "timeout_total" if left_s <= wait_s else "timeout_idle" if begun else "timeout_first_token"
        try:
            async with asyncio.timeout(max(0.0, min(wait_s, left_s))):
                return await anext(events)
        except TimeoutError:
            raise ProviderTimeout("The model did not answer in time.", error_class=name) from None
        except StopAsyncIteration:
            raise ProviderUnavailable("The answer ended without an end.", error_class="no_finish") from None

    def _take_text(self, event: TextDelta, on_text: Callable[[str], None]) -> None:
        room = self.deadlines.max_chars - self.chars
        self._see(len(event.text))
        on_text(clean(event.text[:room]))
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
        self.usage, self.upstream_model, self.finish_reason = event.usage, event.upstream_model, event.finish_reason
        if event.finish_reason == "refused":
            self.outcome = "refused"
        else:
            self.outcome = "ok" if self.ttft_ms is not None else "empty"

    def fail(self, error: ProviderError) -> None:
        """Note how the attempt failed."""
        self.error = error
        if isinstance(error, Refused):
            self.outcome, self.usage, self.upstream_model = "refused", error.usage, error.upstream_model
        else:
            self.outcome = "timeout" if isinstance(error, ProviderTimeout) else "error"

    def _elapsed_ms(self) -> int:
        return round(1000 * (self.clock() - self._started))


def clean(text: str) -> str:
    """Text that every store can hold: NUL and lone surrogates become U+FFFD."""
    text = text.replace("\x00", "�")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
