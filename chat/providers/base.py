"""The provider contract: what goes to a model, what comes back, and how it fails.

Knows plain values only: no Django, no clock, no settings, no SDK.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

from metrics.pricing import Usage

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, kw_only=True)
class ChatMessage:
    """One turn of the conversation, as text."""

    role: Role
    text: str


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """What to ask: the vendor's model id and the turns, oldest first.

    ``connect_timeout_s`` bounds opening the connection; the other deadlines of an attempt belong
    to the caller, who cancels the stream.
    """

    upstream_model: str
    messages: Sequence[ChatMessage]
    connect_timeout_s: float


@dataclass(frozen=True, kw_only=True)
class TextDelta:
    """Visible text, never empty."""

    text: str


@dataclass(frozen=True, kw_only=True)
class ReasoningDelta:
    """Thinking that a provider shows apart from its answer, never empty."""

    text: str


# "stop" a whole answer, "length" cut at the model's limit, "refused" blocked for safety after some
# text, "other" a reason that the adapter does not know.
FinishReason = Literal["stop", "length", "refused", "other"]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The stream's only orderly end. ``upstream_model`` is the model that says it answered."""

    finish_reason: FinishReason
    upstream_model: str
    usage: Usage = field(default_factory=Usage)


StreamEvent = TextDelta | ReasoningDelta | Finished


class Provider(Protocol):
    """An adapter to one vendor."""

    def stream(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """Yield deltas and then exactly one ``Finished``; raise a ``ProviderError`` and nothing else.

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


class ProviderTimeout(ProviderError):
    """A deadline passed: ``error_class`` is ``timeout_connect``, ``_first_token``, ``_idle`` or ``_total``."""

    code = "timeout"


class InvalidRequest(ProviderError):
    """The provider refused the request itself (400, 404, 413, 422): another try would fail alike."""

    code = "invalid_request"


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
