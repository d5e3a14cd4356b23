"""The catalogue and the adapters behind it, from settings. The one place that reads them."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

from django.conf import settings
from django.utils.module_loading import import_string

from chat.providers.base import Provider
from metrics.pricing import Price

# The vendors' ids in genai-prices, by adapter.
_PRICE_PROVIDERS = {"openai": "openai", "gemini": "google"}

# Connections belong to the event loop that opened them.
_providers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Provider]] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class Model:
    """One entry of the catalogue: what a person asks for, and what is asked upstream."""

    key: str
    label: str
    description: str
    provider: str
    upstream: str
    price: Price | None
    first_token_timeout_s: float | None = None
    total_timeout_s: float | None = None

    @property
    def price_provider(self) -> str:
        """The vendor's id in genai-prices; for OpenRouter's ``vendor/model`` ids it is openrouter."""
        return "openrouter" if "/" in self.upstream else _PRICE_PROVIDERS.get(self.provider, self.provider)


def catalogue() -> dict[str, Model]:
    """Every model that can be asked for, by key, in the order of settings."""
    return {key: _model(key, entry) for key, entry in settings.CHAT_MODELS.items()}


def find_model(key: str) -> Model | None:
    """The catalogue's entry, or ``None`` for an unknown key."""
    entry = settings.CHAT_MODELS.get(key)
    return None if entry is None else _model(key, entry)


def _model(key: str, entry: Mapping[str, Any]) -> Model:
    price = settings.MODEL_PRICES.get(key)
    return Model(
        key=key,
        label=entry["label"],
        description=entry["description"],
        provider=entry["provider"],
        upstream=entry["upstream"],
        price=None if price is None else Price.from_mapping(price),
        first_token_timeout_s=entry.get("first_token_timeout_s"),
        total_timeout_s=entry.get("total_timeout_s"),
    )


def get_provider(name: str) -> Provider:
    """The adapter of that name, made once for each event loop. KeyError for an unknown name."""
    of_loop = _providers.setdefault(asyncio.get_running_loop(), {})
    if name not in of_loop:
        entry = settings.CHAT_PROVIDERS[name]
        of_loop[name] = cast("Provider", import_string(entry["BACKEND"])(**entry["OPTIONS"]))
    return of_loop[name]


async def close_providers() -> None:
    """Close the running event loop's adapters; the next call makes new ones."""
    for provider in _providers.pop(asyncio.get_running_loop(), {}).values():
        await provider.aclose()


def warm_up() -> None:
    """Make every adapter now, and read the price tables: their imports take a second that no person should wait."""
    import genai_prices  # noqa: F401

    for name in settings.CHAT_PROVIDERS:
        get_provider(name)
