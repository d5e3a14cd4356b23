"""Gemini's generateContent on the wire: requests in, bodies and stream events out.

Knows the protocol (https://ai.google.dev/api/generate-content). Knows no HTTP server, no clock and
no dice.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from simulator.exchange import Answer, Misunderstood, Question, Request, count_tokens, pieces

PATH = re.compile(r"/v1(?:beta)?/models/[^/:]+:(?:generateContent|streamGenerateContent)")
WORDS_A_CHUNK = 12
# From the third generation on, calls come back with their signatures or are refused.
UNSIGNED_MODELS = re.compile(r"gemini-[12]\b")
ANY_SIGNATURE = b"skip_thought_signature_validator"
FINISH_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}
STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def read(request: Request) -> Question:
    """The question in a request to ``PATH``; Misunderstood (403, 400) where something is missing or odd."""
    if not (request.headers.get("x-goog-api-key") or request.query.get("key")):
        raise Misunderstood(403, "Method doesn't allow unregistered callers. Please use API Key to call this API.")
    _, _, called = request.path.rpartition("/")
    model, _, method = called.partition(":")
    if method == "streamGenerateContent" and request.query.get("alt") != "sse":
        raise Misunderstood(400, "Only alt=sse is simulated for streamGenerateContent.")
    try:
        body = request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Misunderstood(400, "Invalid JSON payload received.")
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        raise Misunderstood(400, "* GenerateContentRequest.contents: contents is not specified")
    system = [body["systemInstruction"]] if "systemInstruction" in body else []
    turns = [_text(content) for content in [*system, *contents]]
    if not UNSIGNED_MODELS.match(model):
        _check_signatures(contents)
    tools, must_call = _tools(body)
    how = body.get("generationConfig", {})
    return Question(
        model=model,
        turns=turns,
        stream=method != "generateContent",
        tools=tools,
        must_call=must_call,
        results=[_result(part) for part in contents[-1]["parts"] if "functionResponse" in part],
        schema=how.get("responseJsonSchema", {}) if how.get("responseMimeType") == "application/json" else None,
        images=sum("inlineData" in part or "fileData" in part for content in contents for part in content["parts"]),
        max_tokens=how.get("maxOutputTokens"),
        stop=how.get("stopSequences", ()),
    )


def whole(question: Question, answer: Answer) -> dict[str, Any]:
    """The body of an answer that is not streamed."""
    return _response(question, answer, answer.text, answer.text_tokens, ended=True)


def events(question: Question, answer: Answer) -> Iterator[tuple[str, bytes]]:
    """The answer piece by piece, each with the server-sent event that carries it; calls come in one."""
    texts = pieces(answer.text, WORDS_A_CHUNK) or [""]
    sent = ""
    for number, piece in enumerate(texts, start=1):
        sent += piece
        ended = number == len(texts)
        tokens = answer.text_tokens if ended else count_tokens(sent)
        response = _response(question, answer, piece, tokens, ended=ended)
        yield piece, b"data: " + json.dumps(response, ensure_ascii=False).encode() + b"\r\n\r\n"


def error(status: int, message: str) -> dict[str, Any]:
    """An error's body."""
    fallback = "INTERNAL" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "FAILED_PRECONDITION"
    return {"error": {"code": status, "message": message, "status": STATUS_NAMES.get(status, fallback)}}


def _text(content: Any) -> str:
    parts = content.get("parts") if isinstance(content, dict) else None
    if not isinstance(parts, list):
        raise Misunderstood(400, "* GenerateContentRequest.contents.parts: contents.parts must not be empty.")
    return "".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def _result(part: dict[str, Any]) -> str:
    response = part["functionResponse"]["response"]
    return str(response["output"]) if list(response) == ["output"] else json.dumps(response, ensure_ascii=False)


def _tools(body: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The tools that may be called, and whether one must be."""
    functions = [function for tool in body.get("tools", []) for function in tool.get("functionDeclarations", [])]
    # The SDK leaves some names as they are in Python; protobuf's JSON takes both spellings.
    schemas = [each.get("parametersJsonSchema") or each.get("parameters_json_schema") or {} for each in functions]
    tools = {function["name"]: schema for function, schema in zip(functions, schemas, strict=True)}
    choice = body.get("toolConfig", {}).get("functionCallingConfig", {})
    allowed = choice.get("allowedFunctionNames", tools)
    if choice.get("mode") == "NONE":
        return {}, False
    return {name: schema for name, schema in tools.items() if name in allowed}, choice.get("mode") == "ANY"


def _signature(name: str) -> bytes:
    return hashlib.sha512(name.encode()).digest()


def _check_signatures(contents: list[dict[str, Any]]) -> None:
    for content in contents:
        for part in [part for part in content["parts"] if "functionCall" in part][:1]:
            name = part["functionCall"]["name"]
            # The SDK writes bytes in base64's alphabet for URLs; protobuf's JSON takes both.
            if base64.urlsafe_b64decode(part.get("thoughtSignature", "")) not in (ANY_SIGNATURE, _signature(name)):
                raise Misunderstood(
                    400, f"Function call `{name}` is missing a thought_signature in functionCall parts."
                )


def _call(answer: Answer, number: int) -> dict[str, Any]:
    call = answer.calls[number]
    function = {"id": f"{answer.id[:8]}{number}", "name": call.name, "args": json.loads(call.arguments)}
    signed = {} if number else {"thoughtSignature": base64.b64encode(_signature(call.name)).decode()}
    return {"functionCall": function, **signed}


def _response(question: Question, answer: Answer, text: str, tokens_so_far: int, *, ended: bool) -> dict[str, Any]:
    calls = [_call(answer, number) for number in range(len(answer.calls))]
    candidate: dict[str, Any] = {"content": {"parts": calls or [{"text": text}], "role": "model"}, "index": 0}
    if ended:
        candidate["finishReason"] = FINISH_REASONS[answer.finish]
    return {
        "candidates": [candidate],
        "usageMetadata": _usage(answer, tokens_so_far),
        "modelVersion": question.model,
        "responseId": answer.id,
    }


def _usage(answer: Answer, tokens_so_far: int) -> dict[str, int]:
    usage = {
        "promptTokenCount": answer.input_tokens,
        "candidatesTokenCount": tokens_so_far,
        "totalTokenCount": answer.input_tokens + tokens_so_far + answer.reasoning_tokens,
    }
    if answer.reasoning_tokens:
        usage["thoughtsTokenCount"] = answer.reasoning_tokens
    if answer.cached_tokens:
        usage["cachedContentTokenCount"] = answer.cached_tokens
    return usage
