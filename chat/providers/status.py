"""HTTP status codes as provider errors: the same for every vendor. Knows plain values only."""

from chat.providers.base import (
    AuthenticationFailed,
    InvalidRequest,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
)


def error_from_status(vendor: str, status: int, retry_after_s: float | None = None) -> ProviderError:
    """The error that a response of ``status`` stands for; ``vendor`` is its name in words."""
    if status in (401, 403):
        return AuthenticationFailed(f"{vendor} refused our key.", status=status, error_class=f"http_{status}")
    if status == 429:
        return RateLimited(f"{vendor} is over its rate limit.", status=status, retry_after_s=retry_after_s)
    if status == 408:
        return ProviderTimeout(f"{vendor} gave up waiting.", status=status, error_class="http_408")
    if status == 404:
        return InvalidRequest(
            f"{vendor} knows no such model or path: check the model id, base URL and API version.",
            status=status,
            error_class="http_404",
        )
    if 400 <= status < 500:
        return InvalidRequest(f"{vendor} refused the request.", status=status, error_class=f"http_{status}")
    if 300 <= status < 400:
        return ProviderUnavailable(
            f"{vendor} sent us elsewhere; redirects are off.", status=status, error_class="redirect"
        )
    return ProviderUnavailable(f"{vendor} failed with HTTP {status}.", status=status, error_class=f"http_{status}")


def retry_after_s(header: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header; ``None`` for none, a date or garbage."""
    try:
        seconds = float(header) if header else None
    except ValueError:
        return None
    return seconds if seconds is not None and 0 <= seconds < 1e9 else None
