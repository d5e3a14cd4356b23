"""OpenAI's chat completions on the wire: requests in, bodies and stream events out.

Knows the protocol (https://platform.openai.com/docs/api-reference/chat). Knows no HTTP server, no
clock and no dice.
"""

import json
from collections.abc import Iterator
from http import HTTPStatus
from itertools import takewhile
from typing import Any

from simulator.exchange import Answer, Misunderstood, Question, Request, pieces

WORDS_A_CHUNK = 1
# Listed for the curious; a request may name any model.
LISTED_MODELS = ("gpt-5.4", "gpt-5.5")
LONGEST_CALL_ID = 40
ERROR_TYPES = {429: ("rate_limit_error", "rate_limit_exceeded")}


def read_key(request: Request) -> None:
    """Misunderstood (401) without a bearer key; any key will do."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Misunderstood(401, "You didn't provide an API key in the Authorization header (Bearer YOUR_KEY).")


def read(request: Request) -> Question:
    """The question in a request; Misunderstood (401, 400) where something is missing or odd."""
    read_key(request)
    try:
        body = request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Misunderstood(400, "We could not parse the JSON body of your request.")
    model, messages = body.get("model"), body.get("messages")
    if not isinstance(model, str) or not model:
        raise Misunderstood(400, "you must provide a model parameter")
    if not isinstance(messages, list) or not messages:
        raise Misunderstood(400, "Invalid 'messages': expected a non-empty array.")
    options = body.get("stream_options")
    _check_calls(messages)
    tools, must_call = _tools(body)
    stop = body.get("stop") or ()
    return Question(
        model=model,
        turns=[_text(message) for message in messages],
        stream=body.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        tools=tools,
        must_call=must_call,
        results=_results(messages),
        schema=_schema(body.get("response_format") or {}),
        images=sum(part.get("type") == "image_url" for message in messages for part in _parts(message)),
        max_tokens=body.get("max_completion_tokens", body.get("max_tokens")),
        stop=[stop] if isinstance(stop, str) else stop,
    )


def whole(question: Question, answer: Answer) -> dict[str, Any]:
    """The body of an answer that is not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None, "annotations": []}
    if answer.calls:
        calls = [_call(answer, number, answer.calls[number].arguments) for number in range(len(answer.calls))]
        message = {**message, "content": None, "tool_calls": calls}
    return {
        **_envelope(question, answer, "chat.completion"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}],
        "usage": _usage(answer),
    }


def events(question: Question, answer: Answer) -> Iterator[tuple[str, bytes]]:
    """The answer piece by piece, each with the server-sent event that carries it."""
    yield "", _chunk(question, answer, {"role": "assistant", "content": None if answer.calls else "", "refusal": None})
    for piece in pieces(answer.text, WORDS_A_CHUNK):
        yield piece, _chunk(question, answer, {"content": piece})
    for number, call in enumerate(answer.calls):
        begun = {"index": number, **_call(answer, number, "")}
        yield call.name, _chunk(question, answer, {"tool_calls": [begun]})
        for piece in pieces(call.arguments, WORDS_A_CHUNK):
            more = {"index": number, "function": {"arguments": piece}}
            yield piece, _chunk(question, answer, {"tool_calls": [more]})
    yield "", _chunk(question, answer, {}, finish_reason=answer.finish)
    if question.include_usage:
        yield (
            "",
            _event({**_envelope(question, answer, "chat.completion.chunk"), "choices": [], "usage": _usage(answer)}),
        )
    yield "", b"data: [DONE]\n\n"


def error(status: int, message: str) -> dict[str, Any]:
    """An error's body."""
    default = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    kind, code = ERROR_TYPES.get(status, (default, None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def models() -> dict[str, Any]:
    """The body of the list of models."""
    listed = [{"id": name, "object": "model", "created": 1767225600, "owned_by": "openai"} for name in LISTED_MODELS]
    return {"object": "list", "data": listed}


def _text(message: Any) -> str:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part["text"] for part in _parts(message) if isinstance(part.get("text"), str))
    if isinstance(message, dict) and message.get("tool_calls"):
        return ""
    raise Misunderstood(400, "Invalid type for 'messages[].content': expected a string or an array of parts.")


def _parts(message: Any) -> list[dict[str, Any]]:
    content = message.get("content") if isinstance(message, dict) else None
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _check_calls(messages: list[Any]) -> None:
    known: set[str] = set()
    for message in messages:
        if not isinstance(message, dict):
            continue
        known.update(call["id"] for call in message.get("tool_calls") or [])
        if message.get("role") == "tool" and message.get("tool_call_id") not in known:
            raise Misunderstood(400, "A message of the role 'tool' must answer a preceding message with 'tool_calls'.")
    if any(len(call_id) > LONGEST_CALL_ID for call_id in known):
        raise Misunderstood(400, f"Invalid 'tool_calls[].id': expected a maximum length of {LONGEST_CALL_ID}.")


def _results(messages: list[Any]) -> list[str]:
    last = takewhile(lambda message: isinstance(message, dict) and message.get("role") == "tool", reversed(messages))
    return [_text(message) for message in last][::-1]


def _tools(body: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The tools that may be called, and whether one must be."""
    functions = [tool["function"] for tool in body.get("tools") or []]
    tools = {function["name"]: function.get("parameters") or {} for function in functions}
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, dict):
        name = choice["function"]["name"]
        return {name: tools[name]}, True
    return ({}, False) if choice == "none" else (tools, choice == "required")


def _schema(wanted: dict[str, Any]) -> dict[str, Any] | None:
    if wanted.get("type") == "json_schema":
        schema: dict[str, Any] = wanted["json_schema"]["schema"]
        return schema
    return {} if wanted.get("type") == "json_object" else None


def _call(answer: Answer, number: int, arguments: str) -> dict[str, Any]:
    function = {"name": answer.calls[number].name, "arguments": arguments}
    return {"id": f"call_{answer.id}{number}", "type": "function", "function": function}


def _envelope(question: Question, answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer.id}",
        "object": kind,
        "created": answer.created,
        "model": question.model,
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _chunk(question: Question, answer: Answer, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    chunk = {**_envelope(question, answer, "chat.completion.chunk"), "choices": [choice]}
    return _event({**chunk, "usage": None} if question.include_usage else chunk)


def _usage(answer: Answer) -> dict[str, Any]:
    output_tokens = answer.text_tokens + answer.reasoning_tokens
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": answer.input_tokens + output_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": answer.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
