"""A simulator of their own for the tests of the simulator."""

from collections.abc import Iterator

import pytest

from simulator.behaviour import Behaviour, Behaviours
from simulator.upstream import Upstream
from tests.services import live


@pytest.fixture
def url() -> Iterator[str]:
    """The base URL of a quick and faultless one, new for each test."""
    quick = Behaviour(ttft_ms=1, tokens_per_s=20_000, jitter=0, min_words=30, max_words=50)
    app = Upstream(Behaviours(openai=quick, gemini=quick), seed=7)
    with live.serving(app, live.reserve_port()) as url:
        yield url
