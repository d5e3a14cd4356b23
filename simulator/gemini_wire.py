"""Gemini's generateContent on the wire: requests in, bodies and stream events out.

Knows the protocol (https://ai.google.dev/api/generate-content). Knows no HTTP server, no clock and
no dice.
"""

import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from simulator.exchange import Answer, Misunderstood, Question, Request, count_tokens, pieces

PATH = re.compile(r"/v1(?:beta)?/models/[^/:]+:(?:generateContent|streamGenerateContent)")
WORDS_A_CHUNK = 12
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
    return Question(
        model=model, turns=[_text(content) for content in [*system, *contents]], stream=method != "generateContent"
    )


def whole(question: Question, answer: Answer) -> dict[str, Any]:
    """The body of an answer that is not streamed."""
    return _response(question, answer, answer.text, answer.text_tokens, finish_reason="STOP")


def events(question: Question, answer: Answer) -> Iterator[tuple[str, bytes]]:
    """The answer's text piece by piece, each with the server-sent event that carries it."""
    parts = pieces(answer.text, WORDS_A_CHUNK)
    sent = ""
    for number, piece in enumerate(parts, start=1):
        sent += piece
        finish_reason = "STOP" if number == len(parts) else None
        response = _response(question, answer, piece, count_tokens(sent), finish_reason=finish_reason)
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


def _response(
    question: Question, answer: Answer, text: str, tokens_so_far: int, *, finish_reason: str | None
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if finish_reason:
        candidate["finishReason"] = finish_reason
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
