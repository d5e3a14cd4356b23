"""Google's Gemini: the vendor's SDK says where and with what key, we send and read.

How requests are put in Gemini's words is in ``gemini_request``.
"""

import base64
import json
import re
from collections.abc import AsyncIterator, Mapping
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from chat.json_bytes import read_json
from chat.providers.answer import Answer, token_count
from chat.providers.base import (
    AuthenticationFailed,
    ChatRequest,
    FinishReason,
    ProviderError,
    ProviderUnavailable,
    StreamEvent,
)
from chat.providers.gemini_request import join_call_id, to_document
from chat.providers.sse import Reads, data_lines
from chat.providers.status import error_from_status, retry_after_s
from metrics.pricing import Usage

if TYPE_CHECKING:
    from chat.providers.client import Template

FINISH_REASONS: Mapping[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "refused",
    "RECITATION": "refused",
    "BLOCKLIST": "refused",
    "PROHIBITED_CONTENT": "refused",
    "SPII": "refused",
    "MODEL_ARMOR": "refused",
    "IMAGE_SAFETY": "refused",
    "IMAGE_PROHIBITED_CONTENT": "refused",
    "IMAGE_RECITATION": "refused",
    "ESCALATION": "refused",
    "CONTINUATION": "length",
}
# Ends of what is no answer, whatever came before them, and what is to blame.
BROKEN_ENDS = {
    "MALFORMED_FUNCTION_CALL": "bad_call",
    "UNEXPECTED_TOOL_CALL": "bad_call",
    "TOO_MANY_TOOL_CALLS": "bad_call",
    "MISSING_THOUGHT_SIGNATURE": "bad_call",
    "MALFORMED_RESPONSE": "bad_answer",
    "PUP_LIMITED_DISABLED": "account",
}
# Why our key is not taken, by a refusal's details. One that is wrong, or too old, comes with 400.
# Source: https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto
KEY_REASONS = (
    "API_KEY_INVALID",
    "API_KEY_SERVICE_BLOCKED",
    "API_KEY_HTTP_REFERRER_BLOCKED",
    "API_KEY_IP_ADDRESS_BLOCKED",
    "API_KEY_ANDROID_APP_BLOCKED",
    "API_KEY_IOS_APP_BLOCKED",
)
# A duration as protobuf writes it in JSON.
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)s")


class GeminiProvider:
    """``streamGenerateContent``. ``base_url`` has no version; ``api_version`` is ``v1`` or ``v1beta``."""

    def __init__(self, *, api_key: str, base_url: str, api_version: str) -> None:
        # Imported here: the SDK takes a second, which `manage.py` need not pay.
        import httpx2
        from google import genai
        from google.genai import types

        from chat.providers.client import Desk, Sender, trusted

        self._api_key = api_key
        self._desk = Desk()
        self._sender = Sender("Gemini")
        # The model is in the address.
        self._templates: dict[str, Template] = {}
        self._client = genai.Client(
            api_key=api_key or "not set",
            vertexai=False,
            http_options=types.HttpOptions(
                base_url=base_url,
                api_version=api_version,
                retry_options=types.HttpRetryOptions(attempts=1),
                httpx_async_client=httpx2.AsyncClient(transport=self._desk),
                # For its other clients, which are made and never used.
                client_args={"verify": trusted()},
                async_client_args={"ssl": trusted()},
            ),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sender.aclose()
        await self._client.aio.aclose()

    def check(self, request: ChatRequest) -> None:
        """See ``Provider.check``."""
        to_document(request)

    async def stream(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """See ``Provider.stream``."""
        if not self._api_key:
            raise AuthenticationFailed("No API key is set for Gemini.", error_class="no_key")
        model = request.upstream_model
        answer = Answer("Gemini", model, one_call=request.options.parallel_tool_calls is False)
        ask = partial(self._ask, model)
        try:
            if model not in self._templates:
                self._templates[model] = await self._desk.template(ask)
            limit = request.connect_timeout_s
            async with self._sender.post(
                self._templates[model], to_document(request), connect_timeout_s=limit
            ) as response:
                if response.status != HTTPStatus.OK:
                    raise await self._desk.refusal(ask, response)
                chunks = Reads(response, answer, request.rest_s)
                async for lines in data_lines(chunks, "Gemini"):
                    for event in answer.events(lines, _read):
                        yield event
        except ProviderError:
            raise
        except Exception as error:  # noqa: BLE001
            # The contract: nothing but a ProviderError leaves, and never an SDK's own words.
            if not answer.is_whole:
                raise to_provider_error(error) from None
        yield answer.finish()

    async def _ask(self, model: str) -> None:
        """What is the same for each request to a model."""
        from google.genai import types

        config = types.GenerateContentConfig(
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True)
        )
        async for _nothing in await self._client.aio.models.generate_content_stream(
            model=model, contents="?", config=config
        ):
            pass


def to_usage(usage: object) -> Usage:
    """Billable tokens: output is what was said plus what was thought; what is missing is ``None``."""
    if not isinstance(usage, Mapping):
        return Usage()
    said, thought = token_count(usage.get("candidatesTokenCount")), token_count(usage.get("thoughtsTokenCount"))
    return Usage(
        input_tokens=token_count(usage.get("promptTokenCount")),
        output_tokens=None if said is None and thought is None else (said or 0) + (thought or 0),
        cached_tokens=token_count(usage.get("cachedContentTokenCount")),
        reasoning_tokens=thought,
    )


def to_provider_error(error: Exception) -> ProviderError:
    """What the SDK made of a refusal, or the client raised, in our own words."""
    from google.genai import errors

    if isinstance(error, errors.APIError):
        return _from_api_error(error)
    return ProviderUnavailable("Gemini's answer broke off.", error_class="broken_stream")


def _from_api_error(error: Any) -> ProviderError:
    status = error.code if isinstance(error.code, int) else 500
    headers = getattr(error.response, "headers", None) or {}
    told = error.details.get("error") if isinstance(error.details, dict) else None
    return _from_refusal(status, told, retry_after_s(headers.get("retry-after")))


def _from_refusal(status: int, told: object, wait_s: float | None = None) -> ProviderError:
    """By the status, and by what Google says of it in the body's ``error``; ``wait_s`` is what the headers say."""
    listed = told.get("details") if isinstance(told, dict) else None
    details = [detail for detail in listed if isinstance(detail, dict)] if isinstance(listed, list) else []
    if any(detail.get("reason") in KEY_REASONS for detail in details):
        return AuthenticationFailed("Gemini refused our key.", status=status, error_class="bad_key")
    if wait_s is None:
        # ``google.rpc.RetryInfo``, which comes without a header.
        delays = [_DURATION.fullmatch(str(detail.get("retryDelay"))) for detail in details]
        wait_s = next((retry_after_s(delay[1]) for delay in delays if delay), None)
    return error_from_status("Gemini", status, wait_s)


def _read(line: bytes, answer: Answer) -> None:
    """Take one chunk in. Its shape: https://ai.google.dev/api/generate-content."""
    try:
        chunk = read_json(line)
    except ValueError:
        chunk = None
    if not isinstance(chunk, dict):
        raise _unreadable()
    if chunk.get("error"):
        raise _from_event(chunk["error"])
    model = chunk.get("modelVersion")
    if isinstance(model, str):
        answer.upstream_model = model or answer.upstream_model
    if chunk.get("usageMetadata") is not None:
        answer.usage = to_usage(chunk["usageMetadata"])
    feedback = chunk.get("promptFeedback")
    if isinstance(feedback, dict) and feedback.get("blockReason"):
        raise answer.refusal("declined the question")
    candidates = chunk.get("candidates")
    if not isinstance(candidates, list) or not candidates:
        return
    if not isinstance(candidates[0], dict):
        raise _unreadable()
    finish = candidates[0].get("finishReason")
    # Some servers put one on each chunk. It is the end for certain where chunks before it had none and nothing follows.
    answer.may_go_on = answer.finish_reason is not None or not answer.has_begun
    _parts(candidates[0].get("content"), answer)
    if isinstance(finish, str) and finish != "FINISH_REASON_UNSPECIFIED":
        _finish(finish, answer)


def _finish(finish: str, answer: Answer) -> None:
    """The last reason counts."""
    reason = FINISH_REASONS.get(finish, "other")
    answer.finish_reason = "tool_calls" if reason == "stop" and answer.calls else reason
    answer.broken = BROKEN_ENDS.get(finish, "")


def _from_event(error: object) -> ProviderError:
    """An error sent inside a stream that had begun with 200."""
    code = error.get("code") if isinstance(error, dict) else None
    return _from_refusal(code if isinstance(code, int) and code >= 400 else 500, error)


def _unreadable() -> ProviderError:
    return ProviderUnavailable("Gemini sent something unreadable.", error_class="bad_chunk")


def _parts(content: object, answer: Answer) -> None:
    parts = content.get("parts") if isinstance(content, dict) else None
    for part in parts if isinstance(parts, list) else ():
        if not isinstance(part, dict):
            raise _unreadable()
        text, call = part.get("text"), part.get("functionCall")
        if isinstance(text, str) and text:
            (answer.reasoning if part.get("thought") else answer.text)(text)
        elif isinstance(call, dict):
            _call(call, part.get("thoughtSignature"), answer)


def _call(call: Mapping[str, object], signature: object, answer: Answer) -> None:
    """A whole call: Gemini sends them in one piece."""
    call_id, name = (value if isinstance(value, str) else "" for value in (call.get("id"), call.get("name")))
    arguments = call.get("args") or {}
    if not isinstance(arguments, dict):
        raise _unreadable()
    try:
        signed = base64.b64decode(signature) if isinstance(signature, str) else None
    except ValueError:
        raise _unreadable() from None
    answer.tool_call(
        answer.calls,
        call_id=join_call_id(call_id or None, signed),
        name=name,
        arguments=json.dumps(arguments, ensure_ascii=False),
    )
    if answer.finish_reason == "stop":
        answer.finish_reason = "tool_calls"
