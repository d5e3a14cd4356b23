"""OpenAI, and whatever speaks its protocol (OpenRouter), through the vendor's SDK.

Reads the stream by the SDK's public raw path and takes the few fields that are needed: parsing each
chunk into the SDK's models costs ten times as much. Text that comes after a finish reason is ignored.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from chat.providers.answer import Answer, token_count
from chat.providers.base import (
    AuthenticationFailed,
    ChatRequest,
    FinishReason,
    InvalidRequest,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    ReasoningDelta,
    Refused,
    StreamEvent,
)
from chat.providers.status import error_from_status, retry_after_s
from metrics.pricing import Usage

if TYPE_CHECKING:
    import openai

FINISH_REASONS: Mapping[str, FinishReason] = {"stop": "stop", "length": "length", "content_filter": "refused"}
# What OpenAI, and Azure's version of it, call a question that is against their policy.
POLICY_CODES = ("content_policy_violation", "content_filter")
# One event of a stream is a few hundred bytes; a line longer than this is no event.
MAX_LINE_BYTES = 1 << 20


class OpenAIProvider:
    """Chat completions, streamed. ``base_url`` ends in the version, as in ``https://api.openai.com/v1``."""

    def __init__(self, *, api_key: str, base_url: str) -> None:
        # Imported here: the SDK takes a second, which `manage.py` need not pay.
        import openai

        self._api_key = api_key
        self._client = openai.AsyncOpenAI(
            api_key=api_key or "not set",
            base_url=base_url,
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def stream(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """See ``Provider.stream``."""
        if not self._api_key:
            raise AuthenticationFailed("No API key is set for OpenAI.", error_class="no_key")
        answer = Answer("OpenAI", request.upstream_model)
        try:
            async with AsyncExitStack() as stack:
                response = await stack.enter_async_context(
                    self._client.chat.completions.with_streaming_response.create(**to_sdk_request(request))
                )
                async for data in _events(response.iter_bytes()):
                    for event in _read(data, answer):
                        yield event
        except ProviderError:
            raise
        except Exception as error:  # noqa: BLE001
            # The contract: nothing but a ProviderError leaves, and never an SDK's own words.
            raise to_provider_error(error) from None
        yield answer.finish()


def to_sdk_request(request: ChatRequest) -> dict[str, Any]:
    """The SDK's arguments. Reads and writes have no timeout here: the attempt's deadlines are the caller's."""
    import httpx2

    return {
        "model": request.upstream_model,
        "messages": [{"role": message.role, "content": message.text} for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        "timeout": httpx2.Timeout(None, connect=request.connect_timeout_s, pool=request.connect_timeout_s),
    }


def to_usage(usage: object) -> Usage:
    """The ``usage`` object of a chunk. What is missing or no sensible count is ``None``."""
    if not isinstance(usage, Mapping):
        return Usage()
    return Usage(
        input_tokens=token_count(usage.get("prompt_tokens")),
        output_tokens=token_count(usage.get("completion_tokens")),
        cached_tokens=token_count(_part(usage.get("prompt_tokens_details"), "cached_tokens")),
        reasoning_tokens=token_count(_part(usage.get("completion_tokens_details"), "reasoning_tokens")),
    )


def to_provider_error(error: Exception) -> ProviderError:
    """What the SDK or its transport raised, in our own words."""
    import httpx2
    import openai

    if isinstance(error, openai.APIStatusError):
        return _from_status(error)
    if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
        return ProviderTimeout("OpenAI could not be reached in time.", error_class="timeout_connect")
    if isinstance(error, openai.APIConnectionError):
        return ProviderUnavailable("OpenAI could not be reached.", error_class="connect")
    return ProviderUnavailable("OpenAI's answer broke off.", error_class="broken_stream")


def _from_status(error: "openai.APIStatusError") -> ProviderError:
    if error.status_code == 429 and error.code == "insufficient_quota":
        return RateLimited("OpenAI's quota is used up.", status=429, error_class="quota")
    if error.status_code == 400 and error.code in POLICY_CODES:
        return Refused("OpenAI declined the question.")
    return error_from_status("OpenAI", error.status_code, retry_after_s(error.response.headers.get("retry-after")))


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The data of each server-sent event, until ``[DONE]``.

    Splits bytes at newlines only: text may hold U+2028, which ``str.splitlines`` would cut at.
    """
    pending = b""
    async for chunk in chunks:
        *lines, pending = (pending + chunk).split(b"\n")
        if len(pending) > MAX_LINE_BYTES:
            raise ProviderUnavailable("OpenAI sent a line without an end.", error_class="too_long")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            yield data.decode()
    if pending.startswith(b"data:") and pending[5:].strip() != b"[DONE]":
        yield pending[5:].strip().decode()


def _read(data: str, answer: Answer) -> list[StreamEvent]:
    """Take one event's data in; return the deltas in it."""
    try:
        chunk = json.loads(data)
    except ValueError:
        chunk = None
    if not isinstance(chunk, dict):
        raise ProviderUnavailable("OpenAI sent something unreadable.", error_class="bad_chunk")
    if chunk.get("error"):
        raise _from_event(chunk["error"])
    if isinstance(chunk.get("model"), str):
        answer.upstream_model = chunk["model"] or answer.upstream_model
    if chunk.get("usage") is not None:
        answer.usage = to_usage(chunk["usage"])
    choices = chunk.get("choices")
    return _choice(choices[0], answer) if isinstance(choices, list) and choices else []


def _choice(choice: object, answer: Answer) -> list[StreamEvent]:
    if not isinstance(choice, dict) or answer.finish_reason is not None:
        return []
    delta = choice.get("delta")
    delta = delta if isinstance(delta, dict) else {}
    finish = choice.get("finish_reason")
    if delta.get("refusal"):
        answer.refused = True
    if isinstance(finish, str):
        answer.finish_reason = "refused" if answer.refused else FINISH_REASONS.get(finish, "other")
    return _deltas(delta, answer)


def _deltas(delta: Mapping[str, object], answer: Answer) -> list[StreamEvent]:
    events: list[StreamEvent] = []
    thought = delta.get("reasoning_content") or delta.get("reasoning")
    if isinstance(thought, str) and thought:
        events.append(ReasoningDelta(text=thought))
    text = delta.get("content")
    if isinstance(text, str) and text:
        events.append(answer.text(text))
    return events


def _from_event(error: object) -> ProviderError:
    """An error sent inside a stream that had begun with 200."""
    code = error.get("code") if isinstance(error, dict) else None
    kind = error.get("type") if isinstance(error, dict) else None
    if code in (429, "rate_limit_exceeded"):
        return RateLimited("OpenAI is over its rate limit.", error_class="rate_limited")
    if kind == "invalid_request_error":
        return InvalidRequest("OpenAI refused the request.", error_class="inband_error")
    return ProviderUnavailable("OpenAI reported an error in mid-answer.", error_class="inband_error")


def _part(details: object, name: str) -> object:
    return details.get(name) if isinstance(details, Mapping) else None
