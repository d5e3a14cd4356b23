"""What OpenTelemetry's GenAI conventions call the things that a call knows: for counters and for spans.

Pure. Source: https://github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai.
"""

OPERATION = "chat"

_PROVIDERS = {"gemini": "gcp.gemini"}
_NO_ERROR = ("ok", "cancelled")


def provider_name(provider: str) -> str:
    """``gen_ai.provider.name`` of an adapter."""
    return _PROVIDERS.get(provider, provider)


def error_type(*, outcome: str, error_class: str) -> str:
    """``error.type`` of an ended call, "" where it did not fail: being stopped by a person is no failure."""
    return error_class or ("" if outcome in _NO_ERROR else outcome)
