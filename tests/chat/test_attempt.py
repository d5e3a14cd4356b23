import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import pytest

from chat.attempt import Attempt, Deadlines, clean
from chat.providers.base import (
    ChatMessage,
    ChatRequest,
    Finished,
    ProviderUnavailable,
    ReasoningDelta,
    Refused,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Unsupported,
)
from metrics.pricing import Usage

REQUEST = ChatRequest(upstream_model="m", messages=[ChatMessage(role="user", content="hi")], connect_timeout_s=1)
PATIENT = Deadlines(first_token_s=5, idle_s=5, total_s=5, max_chars=1000)
STOP = Finished(finish_reason="stop", upstream_model="m-1", usage=Usage(input_tokens=3, output_tokens=2))


class Script:
    """A provider that plays a script: events to yield, seconds to wait, errors to raise."""

    def __init__(self, *steps: StreamEvent | float | Exception, cant: Unsupported | None = None) -> None:
        self.steps = steps
        self.cant = cant
        self.closed = False

    def check(self, request: ChatRequest) -> None:
        """Everything can be done, or what this script is told can't be."""
        if self.cant is not None:
            raise self.cant

    async def stream(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        try:
            for step in self.steps:
                if isinstance(step, int | float):
                    await asyncio.sleep(step)
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        finally:
            self.closed = True

    async def aclose(self) -> None:
        """Nothing is kept open."""


def play(provider: Script, deadlines: Deadlines = PATIENT) -> tuple[Attempt, str, str]:
    attempt = Attempt(deadlines=deadlines, clock=time.monotonic)
    text: list[str] = []
    thoughts: list[str] = []

    async def main() -> None:
        await attempt.run(provider, REQUEST, on_text=text.append, on_reasoning=thoughts.append)

    asyncio.run(main())
    return attempt, "".join(text), "".join(thoughts)


def test_an_answer_with_text_and_a_finish_reason_is_ok():
    attempt, text, thoughts = play(Script(ReasoningDelta(text="hm"), TextDelta(text="a"), TextDelta(text="b"), STOP))

    assert (attempt.outcome, text, thoughts) == ("ok", "ab", "hm")
    assert attempt.usage == Usage(input_tokens=3, output_tokens=2)
    assert attempt.upstream_model == "m-1"
    assert attempt.ttft_ms is not None
    assert attempt.latency_ms is not None
    assert attempt.ttft_ms <= attempt.latency_ms


def test_time_to_first_token_is_to_the_first_visible_text_not_to_the_first_thought():
    attempt, _, _ = play(Script(ReasoningDelta(text="hm"), 0.2, TextDelta(text="a"), STOP))

    assert attempt.ttft_ms is not None
    assert attempt.ttft_ms >= 150


def test_a_finish_reason_without_text_is_empty_and_not_ok():
    attempt, _, _ = play(Script(STOP))

    assert attempt.outcome == "empty"
    assert attempt.usage.input_tokens == 3


def test_a_stream_that_ends_without_a_finish_reason_is_an_error():
    attempt, text, _ = play(Script(TextDelta(text="a")))

    assert (attempt.outcome, text) == ("error", "a")
    assert attempt.error is not None
    assert attempt.error.error_class == "no_finish"


@pytest.mark.parametrize(
    ("steps", "deadlines", "error_class"),
    [
        ([5.0], Deadlines(first_token_s=0.05, idle_s=5, total_s=5, max_chars=9), "timeout_first_token"),
        ([TextDelta(text="a"), 5.0], Deadlines(first_token_s=5, idle_s=0.05, total_s=5, max_chars=9), "timeout_idle"),
        (
            [TextDelta(text="a"), *([0.03, TextDelta(text="b")] * 50)],
            Deadlines(first_token_s=5, idle_s=5, total_s=0.2, max_chars=999),
            "timeout_total",
        ),
    ],
    ids=["no first token", "a stall after text", "a drip that never ends"],
)
def test_each_deadline_ends_the_attempt_and_closes_the_stream(
    steps: Sequence[StreamEvent | float], deadlines: Deadlines, error_class: str
):
    provider = Script(*steps)

    attempt, _, _ = play(provider, deadlines)

    assert attempt.outcome == "timeout"
    assert attempt.error is not None
    assert attempt.error.error_class == error_class
    assert provider.closed


def test_an_endless_answer_is_cut_at_the_cap_and_its_text_kept():
    provider = Script(*[TextDelta(text="x" * 30) for _ in range(100)])

    attempt, text, _ = play(provider, Deadlines(first_token_s=5, idle_s=5, total_s=5, max_chars=100))

    assert len(text) == 100
    assert attempt.error is not None
    assert attempt.error.error_class == "too_long"
    assert provider.closed


def play_calls(provider: Script, deadlines: Deadlines = PATIENT) -> tuple[Attempt, list[ToolCallDelta]]:
    attempt = Attempt(deadlines=deadlines, clock=time.monotonic)
    calls: list[ToolCallDelta] = []
    text: list[str] = []

    async def main() -> None:
        await attempt.run(provider, REQUEST, on_text=text.append, on_reasoning=text.append, on_tool_call=calls.append)

    asyncio.run(main())
    assert text == []
    return attempt, calls


def test_a_tool_call_is_an_answer_and_not_empty():
    pieces = [ToolCallDelta(index=0, id="call_1", name="weather"), ToolCallDelta(index=0, arguments="{}")]
    end = Finished(finish_reason="tool_calls", upstream_model="m")

    attempt, calls = play_calls(Script(*pieces, end))

    assert (attempt.outcome, attempt.finish_reason) == ("ok", "tool_calls")
    assert calls == pieces
    assert attempt.ttft_ms is not None
    assert attempt.chars == len("call_1" + "weather" + "{}")


def test_a_tool_call_without_anybody_to_take_it_is_still_an_answer():
    attempt, text, _ = play(Script(ToolCallDelta(index=0, id="call_1", name="weather"), STOP))

    assert (attempt.outcome, text) == ("ok", "")
    assert attempt.chars


def test_endless_arguments_end_at_the_cap_and_no_piece_is_cut():
    piece = ToolCallDelta(index=0, arguments="x" * 30)
    provider = Script(*[piece] * 100)

    attempt, calls = play_calls(provider, Deadlines(first_token_s=5, idle_s=5, total_s=5, max_chars=100))

    assert calls == [piece] * 3
    assert attempt.error is not None
    assert attempt.error.error_class == "too_long"
    assert provider.closed


def test_what_a_store_cannot_hold_is_replaced_in_tool_calls():
    dirty = ToolCallDelta(index=2, id="a\x00", name="b\ud800", arguments='{"c": "\x00\udfff"}')

    _, calls = play_calls(Script(dirty, STOP))

    assert calls == [ToolCallDelta(index=2, id="a�", name="b�", arguments='{"c": "��"}')]


def test_what_a_provider_cant_do_fails_the_attempt_before_anything_is_sent():
    provider = Script(TextDelta(text="a"), STOP, cant=Unsupported("No.", param="seed"))

    attempt, text, _ = play(provider)

    assert (attempt.outcome, text) == ("error", "")
    assert attempt.error is provider.cant
    assert attempt.error is not None
    assert not attempt.error.retryable
    assert attempt.latency_ms is not None
    # The stream was never begun.
    assert not provider.closed


def test_a_refusal_is_an_outcome_of_its_own_and_its_tokens_count():
    attempt, _, _ = play(Script(Refused("no", usage=Usage(input_tokens=9, output_tokens=0))))

    assert attempt.outcome == "refused"
    assert attempt.usage.input_tokens == 9


def test_a_refusal_after_text_is_a_refusal_too():
    attempt, text, _ = play(
        Script(TextDelta(text="a"), Finished(finish_reason="refused", upstream_model="m", usage=Usage()))
    )

    assert (attempt.outcome, text) == ("refused", "a")


def test_an_error_keeps_its_class_and_the_text_before_it():
    attempt, text, _ = play(Script(TextDelta(text="a"), ProviderUnavailable("gone", error_class="broken_stream")))

    assert (attempt.outcome, text) == ("error", "a")
    assert attempt.error is not None
    assert attempt.error.error_class == "broken_stream"


def test_cancelling_leaves_a_cancelled_attempt_with_its_times():
    provider = Script(TextDelta(text="a"), 10.0)
    attempt = Attempt(deadlines=PATIENT, clock=time.monotonic)

    def ignore(_: str) -> None:
        return None

    async def main() -> None:
        task = asyncio.create_task(attempt.run(provider, REQUEST, on_text=ignore, on_reasoning=ignore))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(main())

    assert attempt.outcome == "cancelled"
    assert attempt.ttft_ms is not None
    assert attempt.latency_ms is not None
    assert provider.closed


def test_text_that_a_store_cannot_hold_is_replaced():
    assert clean("a\x00b\ud800c😀") == "a�b�c😀"
