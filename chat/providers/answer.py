"""What one stream has said so far, and whether that was a whole answer: the same for every vendor.

Knows plain values only.
"""

from chat.providers.base import Finished, FinishReason, ProviderUnavailable, Refused, TextDelta, ToolCallDelta
from metrics.pricing import Usage

# More than any model's context; beyond it a count is garbage that would not fit a column either.
MAX_TOKENS = 1 << 53


class Answer:
    """Collects a stream's model, usage and finish reason, and what was shown; an adapter fills it from its chunks."""

    def __init__(self, vendor: str, upstream_model: str) -> None:
        self.vendor = vendor
        self.upstream_model = upstream_model
        self.usage = Usage()
        self.finish_reason: FinishReason | None = None
        # Said in so many words, whatever the finish reason claims.
        self.refused = False
        # How many tool calls have begun.
        self.calls = 0
        self._has_text = False

    def text(self, text: str) -> TextDelta:
        """A piece of visible text."""
        self._has_text = True
        return TextDelta(text=text)

    def tool_call(self, index: int, *, call_id: str = "", name: str = "", arguments: str = "") -> ToolCallDelta:
        """A piece of the tool call number ``index``."""
        self.calls = max(self.calls, index + 1)
        return ToolCallDelta(index=index, id=call_id, name=name, arguments=arguments)

    def finish(self) -> Finished:
        """The stream is over. Raises ProviderUnavailable if it gave no reason, Refused if it refused without a word."""
        if self.finish_reason is None:
            raise ProviderUnavailable(f"{self.vendor}'s answer ended without an end.", error_class="no_finish")
        if self.finish_reason == "refused" and not (self._has_text or self.calls):
            raise self.refusal("declined to answer")
        return Finished(finish_reason=self.finish_reason, upstream_model=self.upstream_model, usage=self.usage)

    def refusal(self, what: str) -> Refused:
        """A refusal of this vendor's, with what it charged."""
        return Refused(f"{self.vendor} {what}.", usage=self.usage, upstream_model=self.upstream_model)


def token_count(value: object) -> int | None:
    """A provider's count if it is a sensible one, else ``None``."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_TOKENS else None
