"""What Gemini alone says, and how (chat/providers/gemini.py), over real HTTP and through its real SDK."""

import asyncio
import json

import pytest
from google.genai import types

from chat.providers.base import (
    AuthenticationFailed,
    FinishReason,
    InvalidRequest,
    ProviderUnavailable,
    RateLimited,
    StreamEvent,
    UsedSoFar,
)
from chat.providers.gemini import BROKEN_ENDS, FINISH_REASONS
from chat.providers.sse import SILENCE_S
from metrics.pricing import Usage
from tests.chat.vendors import Vendor, answer, ask, calls_of, finished, text_of
from tests.services.dialects import Gemini
from tests.services.faults import FAULTS, INPUT_TOKENS, OUTPUT_TOKENS, SECRET_WORDS, Ask, Reply
from tests.services.faulty_upstream import FaultyUpstream

GEMINI = Vendor(name="gemini")

Said = tuple[list[StreamEvent], Exception | None]


def chunk(candidate: dict[str, object]) -> bytes:
    return b"data: %s\r\n\r\n" % json.dumps({"candidates": [candidate]}).encode()


def said(faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch, *candidates: dict[str, object]) -> Said:
    """What becomes of a stream of these candidates."""

    async def speak(reply: Reply, ask: Ask) -> None:
        await reply.start()
        await reply.send(*map(chunk, candidates))
        await reply.send(ask.dialect.usage(INPUT_TOKENS, OUTPUT_TOKENS))
        await reply.end()

    monkeypatch.setitem(FAULTS, "speaks", speak)
    return answer(GEMINI, faulty.url, ask("speaks"))


def text(words: str, reason: str | None = None) -> dict[str, object]:
    return {"content": {"parts": [{"text": words}]}, "finishReason": reason}


def test_a_reason_on_each_chunk_ends_none_of_them(faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    events, error = said(faulty, monkeypatch, *(text(words, "STOP") for words in ("One ", "two ", "three.")))

    assert error is None
    assert text_of(events) == "One two three."
    assert finished(events).finish_reason == "stop"


def test_an_answer_with_a_reason_on_each_chunk_is_not_whole_where_it_breaks_off(
    faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def speak(reply: Reply, ask: Ask) -> None:
        usage = ask.dialect.usage(INPUT_TOKENS, OUTPUT_TOKENS)
        await reply.start()
        for words in ("One ", "two "):
            await reply.send(chunk(text(words, "STOP")), usage)
            # More than what would end one that said all.
            await asyncio.sleep(SILENCE_S + 0.1)
        reply.reset()

    monkeypatch.setitem(FAULTS, "speaks", speak)

    events, error = answer(GEMINI, faulty.url, ask("speaks"))

    assert text_of(events) == "One two "
    assert isinstance(error, ProviderUnavailable)
    assert UsedSoFar(usage=Usage(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS)) in events


@pytest.mark.parametrize(("first", "last", "reason"), [("STOP", "SAFETY", "refused"), ("OTHER", "STOP", "stop")])
def test_of_two_reasons_the_last_one_counts(
    faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch, first: str, last: str, reason: str
) -> None:
    events, error = said(faulty, monkeypatch, text("One ", first), text("two", last))

    assert error is None
    assert finished(events).finish_reason == reason


def test_a_call_after_a_reason_is_waited_for(faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    call: dict[str, object] = {"content": {"parts": [{"functionCall": {"name": "weather", "args": {}}}]}}

    events, error = said(faulty, monkeypatch, text("Let me see.", "STOP"), call)

    assert error is None
    assert [made.name for made in calls_of(events)] == ["weather"]
    assert finished(events).finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("IMAGE_SAFETY", "refused"),
        ("ESCALATION", "refused"),
        ("CONTINUATION", "length"),
        ("LANGUAGE", "other"),
        ("OTHER", "other"),
    ],
)
def test_an_end_after_some_text_is_told_by_its_reason(
    faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch, reason: str, told: FinishReason
) -> None:
    events, error = said(faulty, monkeypatch, text("Let me look that", reason))

    assert error is None
    assert finished(events).finish_reason == told


@pytest.mark.parametrize(
    ("reason", "error_class"),
    [
        ("MALFORMED_FUNCTION_CALL", "bad_call"),
        ("UNEXPECTED_TOOL_CALL", "bad_call"),
        ("MISSING_THOUGHT_SIGNATURE", "bad_call"),
        ("MALFORMED_RESPONSE", "bad_answer"),
    ],
)
@pytest.mark.parametrize("words", ["", "Let me look that"])
def test_what_gemini_could_not_finish_is_no_answer(
    faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch, words: str, reason: str, error_class: str
) -> None:
    events, error = said(faulty, monkeypatch, text(words, reason))

    assert isinstance(error, ProviderUnavailable)
    assert error.error_class == error_class
    assert text_of(events) == words


def test_every_reason_that_the_sdk_knows_is_one_of_ours_or_another() -> None:
    other = {"FINISH_REASON_UNSPECIFIED", "LANGUAGE", "OTHER", "IMAGE_OTHER", "NO_IMAGE"}

    assert {reason.value for reason in types.FinishReason} == {*FINISH_REASONS, *BROKEN_ENDS, *other}


def refused(faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch, status: int, **detail: object) -> Exception | None:
    """What becomes of a refusal with this detail, as Google's servers write one."""

    async def refuse(reply: Reply, ask: Ask) -> None:
        error = Gemini().error(status, SECRET_WORDS)["error"]
        words = {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": SECRET_WORDS}
        await reply.whole(status, {"error": {**error, "details": [detail, words]}})

    monkeypatch.setitem(FAULTS, "refuses", refuse)
    return answer(GEMINI, faulty.url, ask("refuses"))[1]


@pytest.mark.parametrize(
    ("status", "reason"),
    [(400, "API_KEY_INVALID"), (403, "API_KEY_SERVICE_BLOCKED"), (403, "API_KEY_IP_ADDRESS_BLOCKED")],
)
def test_a_key_that_is_not_taken_is_no_fault_of_the_request(
    faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch, status: int, reason: str
) -> None:
    kind = "type.googleapis.com/google.rpc.ErrorInfo"

    error = refused(faulty, monkeypatch, status, **{"@type": kind, "reason": reason, "domain": "googleapis.com"})

    assert isinstance(error, AuthenticationFailed)
    assert (error.status, error.error_class) == (status, "bad_key")
    assert SECRET_WORDS not in str(error)


@pytest.mark.parametrize(
    ("delay", "retry_after_s"),
    [("12s", 12.0), ("0.5s", 0.5), ("0s", 0.0), ("1e3s", None), ("-1s", None), ("12", None), (" 1s", None), (12, None)],
)
def test_how_long_to_wait_is_read_from_the_body(
    faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch, delay: object, retry_after_s: float | None
) -> None:
    kind = "type.googleapis.com/google.rpc.RetryInfo"

    error = refused(faulty, monkeypatch, 429, **{"@type": kind, "retryDelay": delay})

    assert isinstance(error, RateLimited)
    assert error.retry_after_s == retry_after_s


@pytest.mark.parametrize("reason", ["API_KEY_INVALID ", "FIELD_VIOLATION", ["API_KEY_INVALID"], {}, None])
def test_other_reasons_leave_a_refusal_what_it_is(
    faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch, reason: object
) -> None:
    assert isinstance(refused(faulty, monkeypatch, 400, reason=reason, retryDelay="1s"), InvalidRequest)
