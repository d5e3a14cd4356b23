from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from django.conf import settings
from genai_prices.data_snapshot import get_snapshot
from hypothesis import example, given
from hypothesis import strategies as st

from chat.providers.registry import find_model
from metrics.pricing import Price, Usage, cost_usd

AT = datetime(2026, 11, 1, tzinfo=UTC)
OWN = Price(input=Decimal("2.5"), output=Decimal(15), cached=Decimal("0.25"))


def priced(
    usage: Usage, model: str = "gpt-5.4", provider: str = "openai", override: Price | None = None
) -> Decimal | None:
    return cost_usd(usage=usage, upstream_model=model, price_provider=provider, at=AT, override=override)


def listed(model: str, provider: str, **tokens: int) -> Decimal:
    found = priced(Usage(**{"input_tokens": 0, "output_tokens": 0, **tokens}), model, provider)
    assert found is not None
    return found


def test_an_operators_own_price_is_taken_to_the_last_digit():
    usage = Usage(input_tokens=1001, output_tokens=7, cached_tokens=1000, reasoning_tokens=5)

    # 1 × 2.5 + 1000 × 0.25 + 7 × 15, each per million.
    assert priced(usage, "no-such-model", override=OWN) == Decimal("0.0003575")


def test_an_own_price_without_one_for_cached_tokens_prices_them_like_others():
    price = Price(input=Decimal(2), output=Decimal(8))

    assert priced(Usage(input_tokens=100, output_tokens=0, cached_tokens=90), override=price) == Decimal("0.0002")


def test_an_own_price_wins_over_the_list():
    usage = Usage(input_tokens=1000, output_tokens=1000)

    assert priced(usage, override=Price(input=Decimal(0), output=Decimal(0))) == 0
    assert priced(usage) != 0


def test_a_price_is_made_of_known_parts_only():
    assert Price.from_mapping({"input": Decimal(1), "output": Decimal(2)}).cached is None
    with pytest.raises(TypeError):
        Price.from_mapping({"input": Decimal(1), "output": Decimal(2), "discount": Decimal(1)})


@pytest.mark.parametrize(
    "usage",
    [
        Usage(),
        Usage(input_tokens=10),
        Usage(output_tokens=10),
        Usage(input_tokens=-1, output_tokens=10),
        Usage(input_tokens=10, output_tokens=-1),
        Usage(input_tokens=10, output_tokens=10, cached_tokens=11),
        Usage(input_tokens=10, output_tokens=10, cached_tokens=-1),
    ],
)
@pytest.mark.parametrize("override", [None, OWN])
def test_counts_that_are_missing_or_contradict_each_other_cost_nobody_knows_what(usage, override):
    assert priced(usage, override=override) is None


@pytest.mark.parametrize(
    ("model", "provider"),
    [("no-such-model", "openai"), ("gpt-5.4", "no-such-provider"), ("", "openai"), ("gpt-5.4", "")],
)
def test_a_model_that_is_in_no_list_has_an_unknown_cost_and_not_0(model, provider):
    assert priced(Usage(input_tokens=10, output_tokens=10), model, provider) is None


@pytest.mark.parametrize("part", ["input_tokens", "output_tokens", "cached_tokens"])
def test_the_list_prices_tokens_in_exact_decimals(part):
    tokens = {part: 1000, **({"input_tokens": 1000} if part == "cached_tokens" else {})}

    found = listed("gpt-5.4", "openai", **tokens)
    assert isinstance(found, Decimal)
    assert 0 < found < 1


def test_cached_tokens_are_cheaper_and_reasoning_tokens_are_part_of_the_output():
    fresh = listed("gpt-5.4", "openai", input_tokens=10_000)

    assert listed("gpt-5.4", "openai", input_tokens=10_000, cached_tokens=10_000) < fresh
    assert listed("gpt-5.4", "openai", output_tokens=100, reasoning_tokens=90) == listed(
        "gpt-5.4", "openai", output_tokens=100
    )


def test_a_long_context_is_priced_by_its_tier():
    below = listed("gpt-5.4", "openai", input_tokens=200_000)

    assert listed("gpt-5.4", "openai", input_tokens=400_000) > 2 * below


COUNTS = st.one_of(st.integers(0, 5000), st.integers(0, 3_000_000))
LISTED = [(vendor.id, model.id) for vendor in get_snapshot().providers for model in vendor.models]


@given(st.sampled_from(LISTED), COUNTS, COUNTS, COUNTS)
@example(("openai", "gpt-5.4"), 300_000, 20, 7)
@example(("perplexity", "sonar"), 10, 20, 0)
def test_every_listed_price_is_the_packages_own_to_the_last_digit(listed, input_tokens, output_tokens, cached):
    provider, model = listed
    tokens = {"input_tokens": input_tokens, "output_tokens": output_tokens}
    cached = min(cached, input_tokens)
    try:
        usage = genai_prices.Usage(**tokens, cache_read_tokens=cached)
        own = genai_prices.calc_price(usage, model_ref=model, provider_id=provider, genai_request_timestamp=AT)
    except (LookupError, ValueError):
        own = None

    assert priced(Usage(**tokens, cached_tokens=cached), model, provider) == (own and own.total_price)


def at_default(key: str, **tokens: int) -> Decimal:
    model = find_model(key)
    assert model is not None
    return listed(model.upstream, model.price_provider, **tokens)


@pytest.mark.parametrize("key", list(settings.CHAT_MODELS))
def test_every_default_model_is_in_the_price_list(key):
    assert at_default(key, input_tokens=1000, output_tokens=1000) > 0


@given(st.integers(0, 20_000), st.integers(1, 20_000))
def test_the_default_candidate_is_at_least_75_percent_cheaper_for_any_mix_of_tokens(input_tokens, output_tokens):
    tokens = {"input_tokens": input_tokens, "output_tokens": output_tokens}

    assert at_default("gemini-flash-lite", **tokens) <= at_default("chat-model", **tokens) / 4
