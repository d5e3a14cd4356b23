"""What one stream has said so far, and whether that was a whole answer: the same for every vendor.

Knows plain values only.
"""

from collections.abc import Callable, Iterable, Iterator

from chat.providers.base import (
    Delta,
    Finished,
    FinishReason,
    ProviderError,
    ProviderUnavailable,
    ReasoningDelta,
    RefusalDelta,
    Refused,
    TextDelta,
    ToolCallDelta,
    UsedSoFar,
)
from metrics.pricing import Usage

# More than any model's context; beyond it a count is garbage, and what it cost would not fit a column either.
MAX_TOKENS = 1 << 31

Words = TextDelta | ReasoningDelta | RefusalDelta


class Answer:
    """Collects a stream's model, usage and finish reason, and what it says; an adapter fills it from its chunks.

    Text that comes in one read of the network is one piece, however many events it came in: under load there is more
    of it in each, and each costs as much as a short one.
    """

    def __init__(self, vendor: str, upstream_model: str, *, one_call: bool = False) -> None:
        self.vendor = vendor
        # Whoever wants tools called one after the other, of a vendor that can't be told so, gets the first alone: it
        # asks for the others once it has that one's result.
        self._one_call = one_call
        self.upstream_model = upstream_model
        self.usage = Usage()
        self.finish_reason: FinishReason | None = None
        # What is to blame for an end that makes it no answer.
        self.broken = ""
        # Whether more may come after the finish reason, for all that is known.
        self.may_go_on = False
        # Declined in so many words, whatever the finish reason claims.
        self.refused = False
        # How many tool calls have begun.
        self.calls = 0
        self._numbers: dict[str, int] = {}
        self.has_begun = False
        self.has_text = False
        self._told = self.usage
        self._said: list[Delta | UsedSoFar] = []
        # Text of one kind that no delta has yet.
        self._kind: type[Words] = TextDelta
        self._text: list[str] = []

    def text(self, text: str) -> None:
        """Visible text, never empty."""
        self.has_text = True
        self._say(TextDelta, text)

    def reasoning(self, text: str) -> None:
        """Thinking that is shown apart, never empty."""
        self._say(ReasoningDelta, text)

    def decline(self, text: str) -> None:
        """What is said instead of an answer, never empty."""
        self.refused = True
        self._say(RefusalDelta, text)

    def tool_call(self, index: int, *, call_id: str = "", name: str = "", arguments: str = "") -> None:
        """A piece of the tool call number ``index``."""
        self.has_begun = True
        if index and self._one_call:
            return
        self.calls = max(self.calls, index + 1)
        self._close_text()
        self._said.append(ToolCallDelta(index=index, id=call_id, name=name, arguments=arguments))

    def number_of(self, call_id: str, name: str) -> int:
        """Which call a piece belongs to whose vendor does not say it: another id begins one, and so does a name where
        calls have no ids; the rest goes on with the last one.
        """
        if call_id:
            return self._numbers.setdefault(call_id, self.calls)
        return self.calls if name and not self._numbers else max(self.calls - 1, 0)

    def events(self, lines: Iterable[bytes], read: Callable[[bytes, "Answer"], None]) -> Iterator[Delta | UsedSoFar]:
        """What these lines say, by an adapter's way of reading one. Where one is an error, what was said before it is
        given first.
        """
        try:
            for line in lines:
                read(line, self)
        except ProviderError:
            yield from self._taken()
            raise
        yield from self._taken()

    def _say(self, kind: type[Words], text: str) -> None:
        self.has_begun = True
        if kind is not self._kind:
            self._close_text()
            self._kind = kind
        self._text.append(text)

    def _close_text(self) -> None:
        if self._text:
            self._said.append(self._kind(text="".join(self._text)))
            self._text = []

    def _taken(self) -> list[Delta | UsedSoFar]:
        self._close_text()
        # Also at the end: the stream may break off before its last event.
        if self.usage is not self._told:
            self._said.append(UsedSoFar(usage=self.usage))
            self._told = self.usage
        taken, self._said = self._said, []
        return taken

    @property
    def is_whole(self) -> bool:
        """Nothing is missing but the stream's own end: how it comes, and whether, does not matter any more."""
        return self.finish_reason is not None and self.usage.output_tokens is not None and not self.may_go_on

    def finish(self) -> Finished:
        """The stream is over. Raises ProviderUnavailable if it gave no reason or a bad one, Refused if it refused
        without a word.
        """
        if self.finish_reason is None:
            raise ProviderUnavailable(f"{self.vendor}'s answer ended without an end.", error_class="no_finish")
        if self.broken:
            raise ProviderUnavailable(f"{self.vendor} could not finish its answer.", error_class=self.broken)
        if self.finish_reason == "refused" and not (self.has_text or self.calls):
            raise self.refusal("declined to answer")
        return Finished(finish_reason=self.finish_reason, upstream_model=self.upstream_model, usage=self.usage)

    def refusal(self, what: str) -> Refused:
        """A refusal of this vendor's, with what it charged."""
        return Refused(f"{self.vendor} {what}.", usage=self.usage, upstream_model=self.upstream_model)


def token_count(value: object) -> int | None:
    """A provider's count if it is a sensible one, else ``None``."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_TOKENS else None
