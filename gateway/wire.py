"""Answers to chat completions in OpenAI's words, as they are on the wire: whole, and in events. Pure.

Source: platform.openai.com/docs/api-reference/chat. What is asked is in ``wire_request``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from chat.json_bytes import write_json
from gateway.errors import ApiError


def completion_document(
    *,
    answer_id: str,
    created: int,
    model: str,
    text: str,
    refusal: str,
    tool_calls: Sequence[Mapping[str, Any]],
    finish_reason: str,
    usage: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The whole answer."""
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": refusal or None}
    if tool_calls:
        message["tool_calls"] = list(tool_calls)
    elif not text and not refusal:
        message["content"] = ""
    return {
        "id": answer_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
        "usage": usage,
    }


class ChunkWriter:
    """Writes the events of one streamed answer. What is the same in each is put together once."""

    def __init__(self, *, answer_id: str, created: int, model: str) -> None:
        head = {"id": answer_id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._head = b"data: " + write_json(head)[:-1]
        self._begun = False
        before, after = self._chunk({"content": "|"}, None).split(b'"|"')
        self._text = before, after

    def text(self, text: str) -> bytes:
        """A piece of text: as ``delta`` writes it, and most of what is ever written."""
        if not self._begun:
            return self.delta({"content": text})
        return self._text[0] + write_json(text) + self._text[1]

    def delta(self, delta: Mapping[str, Any]) -> bytes:
        """A piece of the answer; the first one says whose turn it is."""
        if not self._begun:
            self._begun = True
            delta = {"role": "assistant", "content": "", **delta}
        return self._chunk(delta, None)

    def finish(self, reason: str) -> bytes:
        """The last choice."""
        return (b"" if self._begun else self.delta({})) + self._chunk({}, reason)

    def usage(self, usage: Mapping[str, Any] | None) -> bytes:
        """The chunk that has the usage alone."""
        return self._head + b',"choices":[],"usage":' + write_json(usage) + b"}\n\n"

    def _chunk(self, delta: Mapping[str, Any], reason: str | None) -> bytes:
        choice = write_json({"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason})
        return self._head + b',"choices":[' + choice + b"]}\n\n"


DONE = b"data: [DONE]\n\n"


def error_event(error: ApiError) -> bytes:
    """An answer that fails after its first piece: the SDK raises it."""
    return b"data: " + error.body + b"\n\n"
