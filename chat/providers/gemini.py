"""Google's Gemini, through the vendor's SDK. How requests are put in its words is in ``gemini_request``."""

import json
import warnings
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from chat.providers.answer import Answer, token_count
from chat.providers.base import (
    AuthenticationFailed,
    ChatRequest,
    FinishReason,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    ReasoningDelta,
    StreamEvent,
    ToolCallDelta,
)
from chat.providers.gemini_request import config, contents, join_call_id
from chat.providers.status import error_from_status, retry_after_s
from metrics.pricing import Usage

if TYPE_CHECKING:
    import httpx2
    from google.genai import types

FINISH_REASONS: Mapping[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "refused",
    "RECITATION": "refused",
    "BLOCKLIST": "refused",
    "PROHIBITED_CONTENT": "refused",
    "SPII": "refused",
    "MODEL_ARMOR": "refused",
}


class _Exchange:
    """One request on the wire: the deadline to open it with, and the response once there is one."""

    def __init__(self, connect_timeout_s: float) -> None:
        self.connect_timeout_s = connect_timeout_s
        self.response: httpx2.Response | None = None


_exchange: ContextVar[_Exchange | None] = ContextVar("gemini_exchange", default=None)


class GeminiProvider:
    """``streamGenerateContent``. ``base_url`` has no version; ``api_version`` is ``v1`` or ``v1beta``."""

    def __init__(self, *, api_key: str, base_url: str, api_version: str) -> None:
        # Imported here: the SDK takes a second, which `manage.py` need not pay.
        import httpx2
        from google import genai
        from google.genai import types

        # The SDK warns of enum values that are newer than itself; FINISH_REASONS takes care of them.
        warnings.filterwarnings("ignore", message=".* is not a valid ", module=r"google\.genai\.")
        self._api_key = api_key
        # A client of our own, because the SDK follows redirects with the key, passes no connect
        # timeout on, and does not close a response whose iterator is closed between two chunks.
        self._http = httpx2.AsyncClient(
            follow_redirects=False,
            event_hooks={"request": [_set_timeout], "response": [_note_response]},
            # Whoever asks has a place already (``capacity``).
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100),
        )
        self._client = genai.Client(
            api_key=api_key or "not set",
            vertexai=False,
            http_options=types.HttpOptions(
                base_url=base_url,
                api_version=api_version,
                retry_options=types.HttpRetryOptions(attempts=1),
                httpx_async_client=self._http,
            ),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aio.aclose()
        await self._http.aclose()

    def check(self, request: ChatRequest) -> None:
        """See ``Provider.check``."""
        contents(request)
        config(request)

    async def stream(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """See ``Provider.stream``."""
        if not self._api_key:
            raise AuthenticationFailed("No API key is set for Gemini.", error_class="no_key")
        answer = Answer("Gemini", request.upstream_model)
        exchange = _Exchange(request.connect_timeout_s)
        try:
            _exchange.set(exchange)
            chunks = await self._client.aio.models.generate_content_stream(**to_sdk_request(request))
            async for chunk in chunks:
                for event in _read(chunk, answer):
                    yield event
        except ProviderError:
            raise
        except Exception as error:  # noqa: BLE001
            # The contract: nothing but a ProviderError leaves, and never an SDK's own words.
            raise to_provider_error(error) from None
        finally:
            if exchange.response is not None:
                await exchange.response.aclose()
        yield answer.finish()


async def _set_timeout(request: "httpx2.Request") -> None:
    """The SDK sends ``None`` for every timeout; opening the connection gets its deadline here."""
    exchange = _exchange.get()
    if exchange is not None:
        limit = exchange.connect_timeout_s
        request.extensions["timeout"] = {"connect": limit, "pool": limit, "read": None, "write": None}


async def _note_response(response: "httpx2.Response") -> None:
    exchange = _exchange.get()
    if exchange is not None:
        exchange.response = response


def to_sdk_request(request: ChatRequest) -> dict[str, Any]:
    """The SDK's arguments."""
    from google.genai import types

    return {
        "model": request.upstream_model,
        "contents": [types.Content.model_validate(turn) for turn in contents(request)],
        "config": types.GenerateContentConfig(
            **config(request),
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        ),
    }


def to_usage(usage: "types.GenerateContentResponseUsageMetadata | None") -> Usage:
    """Billable tokens: output is what was said plus what was thought; what is missing is ``None``."""
    if usage is None:
        return Usage()
    said, thought = token_count(usage.candidates_token_count), token_count(usage.thoughts_token_count)
    return Usage(
        input_tokens=token_count(usage.prompt_token_count),
        output_tokens=None if said is None and thought is None else (said or 0) + (thought or 0),
        cached_tokens=token_count(usage.cached_content_token_count),
        reasoning_tokens=thought,
    )


def to_provider_error(error: Exception) -> ProviderError:
    """What the SDK or its transport raised, in our own words."""
    import httpx2
    import pydantic
    from google.genai import errors

    if isinstance(error, errors.UnknownApiResponseError | pydantic.ValidationError):
        return ProviderUnavailable("Gemini sent something unreadable.", error_class="bad_chunk")
    if isinstance(error, errors.APIError):
        return _from_api_error(error)
    if isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return ProviderTimeout("Gemini could not be reached in time.", error_class="timeout_connect")
    if isinstance(error, httpx2.ConnectError | httpx2.UnsupportedProtocol):
        return ProviderUnavailable("Gemini could not be reached.", error_class="connect")
    return ProviderUnavailable("Gemini's answer broke off.", error_class="broken_stream")


def _from_api_error(error: Any) -> ProviderError:
    status = error.code if isinstance(error.code, int) else 500
    headers = getattr(error.response, "headers", None) or {}
    if 200 <= status < 300:
        return ProviderUnavailable("Gemini sent something unreadable.", error_class="bad_chunk")
    return error_from_status("Gemini", status, retry_after_s(headers.get("retry-after")))


def _read(chunk: "types.GenerateContentResponse", answer: Answer) -> list[StreamEvent]:
    """Take one chunk in; return the deltas in it."""
    answer.upstream_model = chunk.model_version or answer.upstream_model
    if chunk.usage_metadata is not None:
        answer.usage = to_usage(chunk.usage_metadata)
    if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason is not None:
        raise answer.refusal("declined the question")
    if not chunk.candidates or answer.finish_reason is not None:
        return []
    candidate = chunk.candidates[0]
    events = _parts(candidate.content, answer)
    if candidate.finish_reason is not None and candidate.finish_reason.value != "FINISH_REASON_UNSPECIFIED":
        reason = FINISH_REASONS.get(candidate.finish_reason.value, "other")
        answer.finish_reason = "tool_calls" if reason == "stop" and answer.calls else reason
    return events


def _parts(content: "types.Content | None", answer: Answer) -> list[StreamEvent]:
    events: list[StreamEvent] = []
    for part in (content.parts or []) if content is not None else []:
        if part.text:
            events.append(ReasoningDelta(text=part.text) if part.thought else answer.text(part.text))
        elif part.function_call is not None:
            events.append(_call(part.function_call, part.thought_signature, answer))
    return events


def _call(call: "types.FunctionCall", signature: bytes | None, answer: Answer) -> ToolCallDelta:
    """A whole call: Gemini sends them in one piece."""
    return answer.tool_call(
        answer.calls,
        call_id=join_call_id(call.id, signature),
        name=call.name or "",
        arguments=json.dumps(call.args or {}, ensure_ascii=False),
    )
