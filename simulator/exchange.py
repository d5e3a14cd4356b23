"""A request as it came, the question in it, and its made-up answer, in no vendor's words.

Knows plain values. Knows no wire format, no server, no clock and no dice.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

# Models that think before they answer: the tokens are charged, the text is not shown.
THINKING_MODELS = re.compile(r"^(o\d|gpt-5\.5)|reasoning|thinking|-pro")
# Vendors reuse long prompts in whole blocks.
CACHE_LEAST_TOKENS = 1024
CACHE_BLOCK_TOKENS = 128


class Misunderstood(Exception):
    """A request that the vendor would turn down with ``status``, and the words it would use."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Request:
    """An HTTP request: the names of headers in small letters, the path without its query."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's value; ValueError where it is not JSON."""
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("the JSON is nested too deeply") from None


@dataclass(frozen=True, kw_only=True)
class Question:
    """What was asked: the model, every turn's text (oldest first), and how to answer.

    ``tools`` are the schemas of the arguments, by name; ``results`` what tools said, where they had the
    last word; ``schema`` that of the JSON to answer in, ``None`` for prose.
    """

    model: str
    turns: Sequence[str]
    stream: bool
    include_usage: bool = True
    tools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    must_call: bool = False
    results: Sequence[str] = ()
    schema: Mapping[str, Any] | None = None
    images: int = 0
    max_tokens: int | None = None
    stop: Sequence[str] = ()

    @property
    def text(self) -> str:
        """The newest turn."""
        return self.turns[-1]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A tool that the answer asks for; ``arguments`` is JSON."""

    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What comes back, with its token counts. ``created`` is in seconds since 1970."""

    id: str
    created: int
    text: str
    calls: Sequence[Call]
    finish: Literal["stop", "length", "tool_calls"]
    input_tokens: int
    cached_tokens: int
    text_tokens: int
    reasoning_tokens: int


def answer_to(question: Question, *, text: str, answer_id: str, created: int, calls: Sequence[Call] = ()) -> Answer:
    """``text`` and ``calls`` as the answer to ``question``, cut where it says; the counts follow from the texts."""
    said = _stopped(text, question.stop)
    room = len(said) if question.max_tokens is None else 4 * question.max_tokens
    text_tokens = count_tokens(said[:room] + "".join(call.name + call.arguments for call in calls))
    return Answer(
        id=answer_id,
        created=created,
        text=said[:room],
        calls=calls,
        finish="tool_calls" if calls else "length" if len(said) > room else "stop",
        input_tokens=sum(count_tokens(turn) for turn in question.turns),
        cached_tokens=_cached(question.turns[:-1]),
        text_tokens=text_tokens,
        reasoning_tokens=text_tokens // 2 if THINKING_MODELS.search(question.model) else 0,
    )


def count_tokens(text: str) -> int:
    """About what a tokenizer would say: four characters a token."""
    return math.ceil(len(text) / 4)


def pieces(text: str, words: int) -> list[str]:
    """``text`` cut into runs of ``words`` words, white space kept, so that the pieces join to it."""
    single = re.findall(r"\S+\s*|\s+", text)
    return ["".join(single[start : start + words]) for start in range(0, len(single), words)]


def _stopped(text: str, stop: Sequence[str]) -> str:
    return text[: min((text.index(word) for word in stop if word in text), default=len(text))]


def _cached(earlier_turns: Sequence[str]) -> int:
    tokens = sum(count_tokens(turn) for turn in earlier_turns)
    return 0 if tokens < CACHE_LEAST_TOKENS else tokens - tokens % CACHE_BLOCK_TOKENS
