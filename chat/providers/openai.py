"""OpenAI, and whatever speaks its protocol (OpenRouter): its SDK says where and with what key, we send and read.

Of each chunk the few fields are taken that are needed: parsing it into the SDK's models costs ten times as much. Text
that comes after a finish reason is ignored.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from chat.json_bytes import read_json
from chat.providers.answer import Answer, token_count
from chat.providers.base import (
    AuthenticationFailed,
    ChatMessage,
    ChatRequest,
    FinishReason,
    Image,
    InvalidRequest,
    Options,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    Refused,
    StreamEvent,
    Tool,
)
from chat.providers.sse import Reads, data_lines
from chat.providers.status import error_from_status, retry_after_s
from metrics.pricing import Usage

if TYPE_CHECKING:
    import openai

    from chat.providers.client import Template

FINISH_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "refused",
}
# What OpenAI, and Azure's version of it, call a question that is against their policy.
POLICY_CODES = ("content_policy_violation", "content_filter")
# Why it refuses a request, in words that programs know. Others, and other parameters than those that we send, may hold
# anything. Source: https://platform.openai.com/docs/guides/error-codes
REASONS = frozenset(
    (
        "array_above_max_length",
        "context_length_exceeded",
        "image_too_large",
        "invalid_function_parameters",
        "invalid_image_format",
        "invalid_image_url",
        "invalid_type",
        "invalid_value",
        "missing_required_parameter",
        "string_above_max_length",
        "unsupported_parameter",
        "unsupported_value",
    )
)
_PARAM = re.compile(
    r"(messages|tools|tool_choice|parallel_tool_calls|response_format|temperature|top_p|max_tokens|max_completion_tokens"
    r"|seed|stop|presence_penalty|frequency_penalty|reasoning_effort|verbosity)[\w.\[\]]{0,200}"
)
# What comes after the last event.
DONE = b"[DONE]"
# For the end of a body after its last event.
READ_OUT_S = 0.2
# The longest id of a tool call that OpenAI takes; other vendors' may be longer.
MAX_CALL_ID = 40
# No answer calls more tools at once; a greater number is garbage.
MAX_CALLS = 1000


class OpenAIProvider:
    """Chat completions, streamed. ``base_url`` ends in the version, as in ``https://api.openai.com/v1``.

    ``max_tokens_name`` is what the server calls the limit of an answer: OpenAI's reasoning models
    refuse ``max_tokens``, and some servers that speak the protocol know nothing else.
    """

    def __init__(self, *, api_key: str, base_url: str, max_tokens_name: str = "max_completion_tokens") -> None:
        # Imported here: the SDK takes a second, which `manage.py` need not pay.
        import httpx2
        import openai

        from chat.providers.client import Desk, Sender

        self._api_key = api_key
        self._max_tokens_name = max_tokens_name
        self._desk = Desk()
        self._sender = Sender("OpenAI")
        self._template: Template | None = None
        self._client = openai.AsyncOpenAI(
            api_key=api_key or "not set",
            base_url=base_url,
            max_retries=0,
            http_client=httpx2.AsyncClient(transport=self._desk),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sender.aclose()
        await self._client.close()

    def check(self, request: ChatRequest) -> None:
        """See ``Provider.check``. A request is in OpenAI's own words: there is nothing that they can't say."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """See ``Provider.stream``."""
        if not self._api_key:
            raise AuthenticationFailed("No API key is set for OpenAI.", error_class="no_key")
        answer = Answer("OpenAI", request.upstream_model)
        try:
            if self._template is None:
                self._template = await self._desk.template(self._ask)
            document = to_document(request, max_tokens_name=self._max_tokens_name)
            limit = request.connect_timeout_s
            async with self._sender.post(self._template, document, connect_timeout_s=limit) as response:
                if response.status != HTTPStatus.OK:
                    raise await self._desk.refusal(self._ask, response)
                chunks = Reads(response, answer, request.rest_s)
                async for lines in data_lines(chunks, "OpenAI"):
                    for event in answer.events(takewhile(DONE.__ne__, lines), _read):
                        yield event
                    if DONE in lines:
                        await _read_out(chunks)
                        break
        except ProviderError:
            raise
        except Exception as error:  # noqa: BLE001
            # The contract: nothing but a ProviderError leaves, and never an SDK's own words.
            if not answer.is_whole:
                raise to_provider_error(error) from None
        yield answer.finish()

    async def _ask(self) -> object:
        """What is the same for each request, by the SDK's public ``post``."""
        import httpx2

        return await self._client.post("/chat/completions", cast_to=httpx2.Response, body={})


def to_document(request: ChatRequest, *, max_tokens_name: str) -> dict[str, Any]:
    """The request's body."""
    return {
        "model": request.upstream_model,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        **_options(request.options, max_tokens_name),
    }


def _message(message: ChatMessage) -> dict[str, Any]:
    sent: dict[str, Any] = {"role": message.role, "content": _content(message)}
    if message.tool_calls:
        sent["content"] = sent["content"] or None
        sent["tool_calls"] = [
            {
                "id": _call_id(call.id),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        sent["tool_call_id"] = _call_id(message.tool_call_id)
    if message.name:
        sent["name"] = message.name
    return sent


def _content(message: ChatMessage) -> str | list[dict[str, Any]]:
    """Parts stay apart, as OpenAI takes them from each role; a lone text is no list, which some servers can't read."""
    if len(message.parts) > 1 or message.images:
        return [_part(part) for part in message.parts]
    return message.text


def _part(part: str | Image) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    detail = {"detail": part.detail} if part.detail else {}
    return {"type": "image_url", "image_url": {"url": part.url, **detail}}


def _call_id(call_id: str) -> str:
    """The id, or one that always stands for it where it is too long for OpenAI."""
    return call_id if len(call_id) <= MAX_CALL_ID else f"call_{hashlib.sha256(call_id.encode()).hexdigest()[:32]}"


def _options(options: Options, max_tokens_name: str) -> dict[str, Any]:
    """What was asked for, and nothing else: servers refuse what they do not know, even where it is null."""
    asked = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        max_tokens_name: options.max_tokens,
        "seed": options.seed,
        "presence_penalty": options.presence_penalty,
        "frequency_penalty": options.frequency_penalty,
        "stop": list(options.stop) or None,
        "reasoning_effort": options.reasoning_effort,
        "verbosity": options.verbosity,
        "response_format": options.response_format,
        "tools": [_tool(tool) for tool in options.tools] or None,
        "tool_choice": options.tool_choice,
        "parallel_tool_calls": options.parallel_tool_calls,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def to_usage(usage: object) -> Usage:
    """The ``usage`` object of a chunk. What is missing or no sensible count is ``None``."""
    if not isinstance(usage, Mapping):
        return Usage()
    return Usage(
        input_tokens=token_count(usage.get("prompt_tokens")),
        output_tokens=token_count(usage.get("completion_tokens")),
        cached_tokens=token_count(_inner(usage.get("prompt_tokens_details"), "cached_tokens")),
        reasoning_tokens=token_count(_inner(usage.get("completion_tokens_details"), "reasoning_tokens")),
    )


def to_provider_error(error: Exception) -> ProviderError:
    """What the SDK made of a refusal, or the client raised, in our own words."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return _from_status(error)
    return ProviderUnavailable("OpenAI's answer broke off.", error_class="broken_stream")


def _from_status(error: "openai.APIStatusError") -> ProviderError:
    if error.status_code == 429 and error.code == "insufficient_quota":
        return RateLimited("OpenAI's quota is used up.", status=429, error_class="quota")
    if error.status_code == 400 and error.code in POLICY_CODES:
        return Refused("OpenAI declined the question.")
    found = error_from_status("OpenAI", error.status_code, retry_after_s(error.response.headers.get("retry-after")))
    if error.status_code == 400 and isinstance(found, InvalidRequest):
        found.param = error.param if isinstance(error.param, str) and _PARAM.fullmatch(error.param) else None
        found.reason = error.code if error.code in REASONS else None
    return found


async def _read_out(chunks: AsyncIterator[bytes]) -> None:
    """Read the body's end, which is here already as a rule: a connection with a rest in it can't be used again. If it
    breaks, all was said.
    """
    from aiohttp import ClientError

    with suppress(OSError, ClientError):
        async with asyncio.timeout(READ_OUT_S):
            async for _rest in chunks:
                pass


def _read(data: bytes, answer: Answer) -> None:
    """Take one event's data in."""
    try:
        chunk = read_json(data)
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
    if isinstance(choices, list) and choices and isinstance(choices[0], dict) and answer.finish_reason is None:
        _choice(choices[0], answer)


def _choice(choice: Mapping[str, object], answer: Answer) -> None:
    delta = choice.get("delta")
    if isinstance(delta, dict):
        _delta(delta, answer)
    finish = choice.get("finish_reason")
    if isinstance(finish, str):
        answer.finish_reason = "refused" if answer.refused else FINISH_REASONS.get(finish, "other")


def _delta(delta: Mapping[str, object], answer: Answer) -> None:
    declined = delta.get("refusal")
    if isinstance(declined, str) and declined:
        answer.decline(declined)
    thought = delta.get("reasoning_content") or delta.get("reasoning")
    if isinstance(thought, str) and thought:
        answer.reasoning(thought)
    text = delta.get("content")
    if isinstance(text, str) and text:
        answer.text(text)
    calls = delta.get("tool_calls")
    if isinstance(calls, list):
        _calls(calls, answer)


def _calls(calls: list[object], answer: Answer) -> None:
    for call in calls:
        if not isinstance(call, dict):
            continue
        function = call.get("function")
        said = [call.get("id"), _inner(function, "name"), _inner(function, "arguments")]
        call_id, name, arguments = (value if isinstance(value, str) else "" for value in said)
        index = call.get("index")
        if index is None:
            index = answer.number_of(call_id, name)
        if not isinstance(index, int) or not 0 <= index < MAX_CALLS:
            raise ProviderUnavailable("OpenAI sent something unreadable.", error_class="bad_chunk")
        if call_id or name or arguments:
            answer.tool_call(index, call_id=call_id, name=name, arguments=arguments)


def _from_event(error: object) -> ProviderError:
    """An error sent inside a stream that had begun with 200."""
    code = error.get("code") if isinstance(error, dict) else None
    kind = error.get("type") if isinstance(error, dict) else None
    if code in (429, "rate_limit_exceeded"):
        return RateLimited("OpenAI is over its rate limit.", error_class="rate_limited")
    if kind == "invalid_request_error":
        return InvalidRequest("OpenAI refused the request.", error_class="inband_error")
    return ProviderUnavailable("OpenAI reported an error in mid-answer.", error_class="inband_error")


def _inner(details: object, name: str) -> object:
    return details.get(name) if isinstance(details, Mapping) else None
