"""What a vendor says on the wire, part by part, so that a fault can put the parts together wrongly.

Knows two protocols. Knows no sockets and no faults.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

UNKNOWN = "solar_flare"


class Dialect(Protocol):
    """One vendor's protocol. Events are whole server-sent events; reasons are stop, length, calls, filter, unknown."""

    name: str

    def key(self, headers: Mapping[str, str]) -> str: ...
    def text(self, text: str) -> bytes: ...
    def call(self, number: int, name: str, arguments: str) -> list[bytes]:
        """A tool call, whole, in as many events as the vendor takes."""

    def finish(self, reason: str) -> bytes: ...
    def usage(self, input_tokens: object, output_tokens: object) -> bytes: ...
    def done(self) -> bytes: ...
    def nothing(self) -> bytes: ...
    def error(self, status: int, message: str) -> dict[str, Any]: ...
    def quota(self) -> dict[str, Any]: ...
    def blocked(self) -> bytes: ...
    def policy(self) -> tuple[int, dict[str, Any]] | None: ...


class OpenAI:
    """Chat completions."""

    name = "openai"

    def key(self, headers: Mapping[str, str]) -> str:
        return headers["authorization"].removeprefix("Bearer ")

    def text(self, text: str) -> bytes:
        return self._choice({"content": text}, None)

    def call(self, number: int, name: str, arguments: str) -> list[bytes]:
        half = len(arguments) // 2
        begun: dict[str, Any] = {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }
        more: list[dict[str, Any]] = [
            {"function": {"arguments": part}} for part in (arguments[:half], arguments[half:])
        ]
        return [self._choice({"tool_calls": [{"index": number, **piece}]}, None) for piece in (begun, *more)]

    def finish(self, reason: str) -> bytes:
        return self._choice(
            {}, {"filter": "content_filter", "calls": "tool_calls", "unknown": UNKNOWN}.get(reason, reason)
        )

    def usage(self, input_tokens: object, output_tokens: object) -> bytes:
        return self._chunk(choices=[], usage={"prompt_tokens": input_tokens, "completion_tokens": output_tokens})

    def done(self) -> bytes:
        return b"data: [DONE]\n\n"

    def nothing(self) -> bytes:
        return self._chunk(choices=[])

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"error": {"message": message, "type": "server_error", "param": None, "code": None}}

    def quota(self) -> dict[str, Any]:
        words = "You exceeded your current quota"
        return {"error": {"message": words, "type": "insufficient_quota", "param": None, "code": "insufficient_quota"}}

    def blocked(self) -> bytes:
        return self._choice({"refusal": "I can't help with that."}, "stop")

    def policy(self) -> tuple[int, dict[str, Any]] | None:
        error = {"message": "Rejected", "type": "invalid_request_error", "code": "content_policy_violation"}
        return 400, {"error": {**error, "param": None}}

    def _choice(self, delta: dict[str, Any], finish_reason: str | None) -> bytes:
        return self._chunk(choices=[{"index": 0, "delta": delta, "finish_reason": finish_reason}])

    def _chunk(self, **parts: Any) -> bytes:
        whole = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "served-model", **parts}
        return b"data: " + json.dumps(whole, ensure_ascii=False).encode() + b"\n\n"


class Gemini:
    """streamGenerateContent."""

    name = "gemini"

    def key(self, headers: Mapping[str, str]) -> str:
        return headers["x-goog-api-key"]

    def text(self, text: str) -> bytes:
        return self._part({"text": text})

    def call(self, number: int, name: str, arguments: str) -> list[bytes]:
        try:
            args = json.loads(arguments)
        except ValueError:
            args = arguments
        return [self._part({"functionCall": {"id": str(number), "name": name, "args": args}})]

    def finish(self, reason: str) -> bytes:
        names = {
            "stop": "STOP",
            "length": "MAX_TOKENS",
            "calls": "STOP",
            "filter": "SAFETY",
            "unknown": UNKNOWN.upper(),
        }
        return self._response(candidates=[{"finishReason": names[reason], "index": 0}])

    def usage(self, input_tokens: object, output_tokens: object) -> bytes:
        return self._response(usageMetadata={"promptTokenCount": input_tokens, "candidatesTokenCount": output_tokens})

    def done(self) -> bytes:
        return b""

    def nothing(self) -> bytes:
        return self._response()

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"error": {"code": status, "message": message, "status": "UNAVAILABLE"}}

    def quota(self) -> dict[str, Any]:
        words = "You exceeded your current quota, please check your plan and billing details."
        return {"error": {"code": 429, "message": words, "status": "RESOURCE_EXHAUSTED"}}

    def blocked(self) -> bytes:
        return self._response(promptFeedback={"blockReason": "PROHIBITED_CONTENT"})

    def policy(self) -> tuple[int, dict[str, Any]] | None:
        return None

    def _part(self, part: dict[str, Any]) -> bytes:
        return self._response(candidates=[{"content": {"parts": [part], "role": "model"}, "index": 0}])

    def _response(self, **parts: Any) -> bytes:
        whole = {**parts, "modelVersion": "served-model", "responseId": "r1"}
        return b"data: " + json.dumps(whole, ensure_ascii=False).encode() + b"\r\n\r\n"
