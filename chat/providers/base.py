"""The provider contract: what goes to a model, what comes back, and how it fails.

Knows plain values only: no Django, no clock, no settings, no SDK.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from metrics.pricing import Usage

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, kw_only=True)
class Image:
    """A picture in a message: a ``data:`` URL or an https one. ``detail`` is OpenAI's word for how closely to look."""

    url: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A function that the model asked for. ``arguments`` is JSON as the model wrote it, which may be broken."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True)
class ChatMessage:
    """One turn of the conversation: ``content`` is its text, or texts and pictures in their order.

    An ``assistant``'s turn may hold the tool calls that it made; a ``tool``'s turn is the result, as
    text, of the call ``tool_call_id``. ``name`` tells people of the same role apart.
    """

    role: Role
    content: str | tuple[str | Image, ...] = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    name: str = ""

    @property
    def parts(self) -> tuple[str | Image, ...]:
        """The content's parts, one for mere text."""
        return (self.content,) if isinstance(self.content, str) else self.content

    @property
    def text(self) -> str:
        """All texts of it, with nothing between them: vendors read the parts on from each other, and JSON that is cut
        into parts would not stand a newline.
        """
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def images(self) -> tuple[Image, ...]:
        """All pictures of it."""
        return tuple(part for part in self.parts if isinstance(part, Image))


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A function that the model may ask for. ``parameters`` is a JSON schema, ``None`` for a function without any."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to answer, in OpenAI's names, shapes and units; ``None`` and ``()`` leave it to the provider.

    Source: https://platform.openai.com/docs/api-reference/chat/create. ``max_tokens`` counts reasoning too.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] = ()
    reasoning_effort: str | None = None
    verbosity: str | None = None
    response_format: Mapping[str, Any] | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    parallel_tool_calls: bool | None = None


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """What to ask: the vendor's model id and the turns, oldest first.

    ``connect_timeout_s`` bounds opening the connection; the other deadlines of an attempt belong
    to the caller, who cancels the stream. ``rest_s`` says, as of each moment, for how many seconds the stream may be
    left alone once it shows text; 0 is to read all as it comes.
    """

    upstream_model: str
    messages: Sequence[ChatMessage]
    connect_timeout_s: float
    options: Options = Options()
    rest_s: Callable[[], float] = lambda: 0.0


@dataclass(frozen=True, kw_only=True)
class TextDelta:
    """Visible text, never empty."""

    text: str


@dataclass(frozen=True, kw_only=True)
class ReasoningDelta:
    """Thinking that a provider shows apart from its answer, never empty."""

    text: str


@dataclass(frozen=True, kw_only=True)
class RefusalDelta:
    """What a model says instead of an answer where it declines, never empty."""

    text: str


@dataclass(frozen=True, kw_only=True)
class ToolCallDelta:
    """A piece of the call number ``index``: its id and name come with the first one, its arguments in pieces."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


# "stop" a whole answer, "length" cut at a limit, "tool_calls" it waits for their results, "refused"
# blocked for safety after some text, "other" a reason that the adapter does not know.
FinishReason = Literal["stop", "length", "tool_calls", "refused", "other"]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The stream's only orderly end. ``upstream_model`` is the model that says it answered."""

    finish_reason: FinishReason
    upstream_model: str
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, kw_only=True)
class UsedSoFar:
    """What the vendor says was used by now, in the middle of a stream: all that is known where it breaks off."""

    usage: Usage


Delta = TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta
StreamEvent = Delta | UsedSoFar | Finished


class Provider(Protocol):
    """An adapter to one vendor."""

    def check(self, request: ChatRequest) -> None:
        """Raise ``Unsupported`` where the request asks for what this vendor can't do. Sends nothing."""
        ...

    def stream(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """Yield deltas, what was used so far where it is told, and then exactly one ``Finished``; raise a
        ``ProviderError`` and nothing else.

        A stream that ends without a finish reason raises ``ProviderUnavailable``. Closing the
        iterator, or cancelling the task that reads it, closes the connection upstream.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections that are kept for later requests."""
        ...


class ProviderError(Exception):
    """A failed attempt, in our own words: never holds text that a provider sent (it may echo keys).

    ``code`` is a stable word for programs and metrics; ``status`` the HTTP status, if there was one.
    ``retryable`` says that the same request may succeed a moment later.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, *, status: int | None = None, error_class: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.error_class = error_class or self.code


class RateLimited(ProviderError):
    """429. ``retry_after_s`` is what the provider asked for, ``None`` if it did not say."""

    code = "rate_limited"

    def __init__(
        self,
        detail: str,
        *,
        retry_after_s: float | None = None,
        status: int | None = None,
        error_class: str = "",
    ) -> None:
        super().__init__(detail, status=status, error_class=error_class)
        self.retry_after_s = retry_after_s


class ProviderUnavailable(ProviderError):
    """No connection, a 5xx, or an answer that broke off or made no sense."""

    code = "unavailable"
    retryable = True


class NotAsked(ProviderError):
    """We did not ask: the upstream's breaker is open, or all its places are taken. ``retry_after_s`` is a guess."""

    code = "unavailable"

    def __init__(self, detail: str, *, error_class: str, retry_after_s: float) -> None:
        super().__init__(detail, error_class=error_class)
        self.retry_after_s = retry_after_s


class ProviderTimeout(ProviderError):
    """A deadline passed: ``error_class`` is ``timeout_connect``, ``_first_token``, ``_idle`` or ``_total``."""

    code = "timeout"


class InvalidRequest(ProviderError):
    """The provider refused the request itself (400, 404, 413, 422): another try would fail alike.

    ``param`` is OpenAI's path of what is to blame and ``reason`` its word for why, where it said so: known words alone.
    """

    code = "invalid_request"

    param: str | None = None
    reason: str | None = None


class Unsupported(ProviderError):
    """This provider can't do what was asked. ``param`` is OpenAI's path of it, as in ``messages[2].content[1]``."""

    code = "unsupported_parameter"

    def __init__(self, detail: str, *, param: str) -> None:
        super().__init__(detail)
        self.param = param


class AuthenticationFailed(ProviderError):
    """401 or 403, or no key is set."""

    code = "authentication"


class Refused(ProviderError):
    """Blocked for safety before any text: an answer, not a failure to route around.

    ``usage`` is what the provider charged for it, where it said.
    """

    code = "refused"

    def __init__(self, detail: str, *, usage: Usage | None = None, upstream_model: str = "") -> None:
        super().__init__(detail)
        self.usage = usage or Usage()
        self.upstream_model = upstream_model
