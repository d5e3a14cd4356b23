"""What a call cost: token usage × dated price → Decimal USD.

Knows prices and arithmetic. Knows no Django, no clock, no settings and no provider SDK: the moment
whose price counts is an argument, and so are the operator's own prices.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, TieredPrices

MTOK = Decimal(1_000_000)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens of one call. ``None`` is "the provider did not say", never 0.

    ``input_tokens`` includes ``cached_tokens``; ``output_tokens`` includes ``reasoning_tokens``.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class Price:
    """One model's price in USD per million tokens, as an operator states it."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None

    @classmethod
    def from_mapping(cls, parts: Mapping[str, Decimal]) -> "Price":
        """Build from ``{"input": …, "output": …, "cached": …}``; TypeError on another key."""
        return cls(**parts)


def cost_usd(
    *,
    usage: Usage,
    upstream_model: str,
    price_provider: str,
    at: datetime,
    override: Price | None = None,
) -> Decimal | None:
    """The cost of ``usage`` in USD, or ``None`` where it can't be known.

    Order: the operator's ``override``, then the ``genai-prices`` package (offline, with the price of
    the day ``at``), then unknown. Unknown also when the provider reported no token counts, or
    counts that contradict each other (more cached than input tokens).
    """
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    cached = usage.cached_tokens or 0
    if min(usage.input_tokens, usage.output_tokens, cached) < 0 or cached > usage.input_tokens:
        return None
    if override is not None:
        return _at_price(usage.input_tokens, usage.output_tokens, cached, override)
    return _at_list_price(usage.input_tokens, usage.output_tokens, cached, upstream_model, price_provider, at)


def _at_price(input_tokens: int, output_tokens: int, cached: int, price: Price) -> Decimal:
    cached_price = price.input if price.cached is None else price.cached
    fresh = input_tokens - cached
    return (fresh * price.input + cached * cached_price + output_tokens * price.output) / MTOK


def _at_list_price(
    input_tokens: int, output_tokens: int, cached: int, upstream_model: str, provider: str, at: datetime
) -> Decimal | None:
    # Imported here: the price tables take a quarter of a second, which `manage.py` need not pay.
    import genai_prices
    from genai_prices.data_snapshot import get_snapshot

    tokens: dict[str, Any] = {"input_tokens": input_tokens, "output_tokens": output_tokens, "cache_read_tokens": cached}
    try:
        vendor, model = get_snapshot().find_provider_model(upstream_model, None, provider, None)
        price = _of_tokens(model.get_prices(at), input_tokens)
        if price is not None:
            return _at_price(input_tokens, output_tokens, cached, price)
        return model.calc_price(genai_prices.Usage(**tokens), vendor, genai_request_timestamp=at).total_price
    except (LookupError, ValueError):
        return None


def _of_tokens(listed: "ModelPrice", input_tokens: int) -> Price | None:
    """What the package lists for a request of so many tokens; ``None`` where more than the three kinds of tokens that
    we count is charged, or less: that is for the package to work out, which takes ten times as long.
    """
    if listed.requests_kcount is not None:
        return None
    fresh, cached, output = (
        _rate(price, input_tokens) for price in (listed.input_mtok, listed.cache_read_mtok, listed.output_mtok)
    )
    return None if fresh is None or output is None else Price(input=fresh, output=output, cached=cached)


def _rate(price: "Decimal | TieredPrices | None", input_tokens: int) -> Decimal | None:
    """USD per million tokens. A tier counts for all tokens of a request that has more input than the tier's start."""
    if price is None or isinstance(price, Decimal):
        return price
    return next((tier.price for tier in reversed(price.tiers) if input_tokens > tier.start), price.base)
