"""An answer as it goes out: whole, or in pieces. Knows OpenAI's documents; sends nothing itself."""

import asyncio
from typing import Any

from chat.attempt import Attempt
from chat.json_bytes import write_json
from chat.providers.base import ToolCallDelta
from gateway.answering import Job
from gateway.errors import ApiError, error_of, is_answer, is_cut
from gateway.wire import DONE, ChunkWriter, completion_document, error_event
from metrics.pricing import Usage

_FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool_calls"}


def public_id(job: Job) -> str:
    """The answer's id as programs get it."""
    return f"chatcmpl-{job.answer_id.hex}"


def finish_reason(attempt: Attempt, *, has_refusal: bool) -> str:
    """Why an answer ended, in OpenAI's words: where a model said why it declines, it stopped by itself."""
    if attempt.outcome == "refused" and not has_refusal:
        return "content_filter"
    if is_cut(attempt):
        return "length"
    return _FINISH.get(attempt.finish_reason, "stop")


def usage_document(usage: Usage) -> dict[str, Any] | None:
    """OpenAI's ``usage``; ``None`` where a provider told nothing."""
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
    }


class WholeWriter:
    """Gathers an answer."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}

    def text(self, job: Job, text: str) -> None:
        """See ``Writer``."""
        self._text.append(text)

    def tool_call(self, job: Job, piece: ToolCallDelta) -> None:
        """See ``Writer``."""
        call = self._calls.setdefault(
            piece.index, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        call["id"] = call["id"] or piece.id
        call["function"]["name"] = call["function"]["name"] or piece.name
        call["function"]["arguments"] += piece.arguments

    def refusal(self, job: Job, text: str) -> None:
        """See ``Writer``."""
        self._refusal.append(text)

    def document(self, job: Job, attempt: Attempt, created: int) -> bytes:
        """The answer's JSON."""
        document = completion_document(
            answer_id=public_id(job),
            created=created,
            model=job.served_model,
            text="".join(self._text),
            refusal="".join(self._refusal),
            tool_calls=[self._calls[index] for index in sorted(self._calls)],
            finish_reason=finish_reason(attempt, has_refusal=bool(self._refusal)),
            usage=usage_document(attempt.usage),
        )
        return write_json(document)


class ClientGone(Exception):
    """Nobody reads the answer any more."""


class StreamWriter:
    """Turns an answer into events as it comes; ``take`` hands over those that are there.

    ``failure`` is why there is nothing to stream at all; ``is_over`` is true once the last events were handed over.
    """

    def __init__(self, created: int) -> None:
        self.failure: ApiError | None = None
        self._created = created
        self._chunks: ChunkWriter | None = None
        self._pending: list[bytes] = []
        # Text that is in no event yet: what a reader is behind with is one event, however many pieces it came in.
        self._text: list[str] = []
        self._wake = asyncio.Event()
        self._has_refusal = False
        self._has_ended = False
        self._is_gone = False

    @property
    def is_over(self) -> bool:
        """Whether nothing will come any more."""
        return self._has_ended and not self._pending

    def text(self, job: Job, text: str) -> None:
        """See ``Writer``."""
        self._of(job)
        self._text.append(text)
        self._wake.set()

    def tool_call(self, job: Job, piece: ToolCallDelta) -> None:
        """See ``Writer``."""
        function = {**({"name": piece.name} if piece.name else {}), "arguments": piece.arguments}
        first = {"id": piece.id, "type": "function"} if piece.id else {}
        self._put(self._after_text(job).delta({"tool_calls": [{"index": piece.index, **first, "function": function}]}))

    def refusal(self, job: Job, text: str) -> None:
        """See ``Writer``."""
        self._has_refusal = True
        self._put(self._after_text(job).delta({"refusal": text}))

    def end(self, job: Job, attempt: Attempt) -> None:
        """The answer's end: its reason and the usage where that is wanted, or its error."""
        self._has_ended = True
        if is_answer(attempt):
            chunks = self._after_text(job)
            self._put(chunks.finish(finish_reason(attempt, has_refusal=self._has_refusal)))
            if job.completion.include_usage:
                self._put(chunks.usage(usage_document(attempt.usage)))
            self._put(DONE)
        elif self._chunks is None:
            self.failure = error_of(attempt)
            self._wake.set()
        else:
            self._close_text()
            self._put(error_event(error_of(attempt)) + DONE)

    def hang_up(self) -> None:
        """The client has gone."""
        self._is_gone = True
        self._wake.set()

    async def take(self) -> bytes:
        """What has come since; waits for something. Raises ClientGone."""
        await self._wake.wait()
        self._wake.clear()
        if self._is_gone:
            raise ClientGone
        self._close_text()
        taken, self._pending = b"".join(self._pending), []
        return taken

    def _of(self, job: Job) -> ChunkWriter:
        if self._chunks is None:
            self._chunks = ChunkWriter(answer_id=public_id(job), created=self._created, model=job.served_model)
        return self._chunks

    def _after_text(self, job: Job) -> ChunkWriter:
        chunks = self._of(job)
        self._close_text()
        return chunks

    def _close_text(self) -> None:
        if self._text and self._chunks is not None:
            self._pending.append(self._chunks.text("".join(self._text)))
            self._text = []

    def _put(self, event: bytes) -> None:
        self._pending.append(event)
        self._wake.set()
