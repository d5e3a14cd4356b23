"""How the simulated vendors behave, how that is changed while they run, and what they count."""

import json
import random
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from google import genai
from google.genai import errors, types

from simulator.behaviour import PROVIDERS, Behaviour, Behaviours
from simulator.words import compose

# For what ought to happen at once, however busy the machine is.
PATIENCE_S = 10


@pytest.fixture
def client(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, timeout=PATIENCE_S) as client:
        yield client


def behave(client: httpx2.Client, **changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Change the behaviour; what it now is comes back."""
    changed: dict[str, dict[str, Any]] = client.put("/_simulator/behaviour", json=changes).raise_for_status().json()
    return changed


def behaviour(client: httpx2.Client) -> dict[str, dict[str, Any]]:
    read: dict[str, dict[str, Any]] = client.get("/_simulator/behaviour").json()
    return read


def counts(client: httpx2.Client) -> dict[str, dict[str, int]]:
    read: dict[str, dict[str, int]] = client.get("/_simulator/counts").json()
    return read


def question(client: httpx2.Client, provider: str, text: str = "Hello", *, stream: bool = False) -> httpx2.Request:
    if provider == "openai":
        body: dict[str, Any] = {"model": "any", "messages": [{"role": "user", "content": text}], "stream": stream}
        return client.build_request("POST", "/v1/chat/completions", json=body, headers={"Authorization": "Bearer any"})
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    body = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    return client.build_request("POST", f"/v1beta/models/any:{method}", json=body, headers={"x-goog-api-key": "any"})


def statuses(client: httpx2.Client, provider: str, times: int, text: str = "Hello") -> list[int]:
    """The HTTP status of each of ``times`` requests to a vendor."""
    return [client.send(question(client, provider, text)).status_code for _ in range(times)]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_error_rate_of_one_fails_every_request_and_of_zero_none(client: httpx2.Client, provider: str) -> None:
    assert statuses(client, provider, 20) == [200] * 20

    behave(client, **{provider: {"error_rate": 1, "error_status": 529}})
    assert statuses(client, provider, 20) == [529] * 20

    behave(client, **{provider: {"error_rate": 0}})
    assert statuses(client, provider, 20) == [200] * 20


def test_an_error_rate_between_fails_about_that_share(client: httpx2.Client) -> None:
    behave(client, openai={"error_rate": 0.3})

    # The dice are seeded, so this is the same count in each run; five standard deviations are 0.16.
    assert 0.14 < statuses(client, "openai", 200).count(503) / 200 < 0.46


def test_one_vendor_fails_without_the_other(client: httpx2.Client) -> None:
    behave(client, gemini={"error_rate": 1})

    assert statuses(client, "gemini", 1) + statuses(client, "openai", 1) == [503, 200]


def test_the_sdks_know_a_failure_for_what_it_is(url: str) -> None:
    gemini = genai.Client(
        api_key="any", http_options=types.HttpOptions(base_url=url, retry_options=types.HttpRetryOptions(attempts=1))
    )
    with openai.OpenAI(api_key="any", base_url=f"{url}/v1", max_retries=0) as client:
        with pytest.raises(openai.InternalServerError) as of_openai:
            client.chat.completions.create(model="any", messages=[{"role": "user", "content": "error please"}])
        with pytest.raises(errors.ServerError) as of_gemini:
            gemini.models.generate_content(model="any", contents="error please")
    gemini.close()

    assert of_openai.value.status_code == 503
    assert (of_gemini.value.code, of_gemini.value.status) == (503, "UNAVAILABLE")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_code_please_brings_a_fenced_python_block(client: httpx2.Client, provider: str) -> None:
    for _ in range(5):
        assert "```python" in client.send(question(client, provider, "Code please, for tomatoes")).text


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_client_that_leaves_in_mid_answer_is_counted_and_ends_the_stream(
    client: httpx2.Client, provider: str
) -> None:
    response = client.send(question(client, provider, "Say it slowly", stream=True), stream=True)
    lines = response.iter_lines()
    next(lines)
    assert counts(client)[provider] == {"requests": 1, "errors": 0, "disconnects": 0}

    response.close()

    # A stream that runs to its end all by itself is never counted.
    deadline = time.monotonic() + PATIENCE_S
    while counts(client)[provider]["disconnects"] == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert counts(client)[provider] == {"requests": 1, "errors": 0, "disconnects": 1}


def test_requests_and_errors_are_counted_by_vendor(client: httpx2.Client) -> None:
    statuses(client, "openai", 3)
    statuses(client, "gemini", 2, "error please")

    assert counts(client) == {
        "openai": {"requests": 3, "errors": 0, "disconnects": 0},
        "gemini": {"requests": 2, "errors": 2, "disconnects": 0},
    }


def test_a_change_touches_only_what_it_names(client: httpx2.Client) -> None:
    before = behaviour(client)

    after = behave(client, gemini={"ttft_ms": 30})

    assert after == behaviour(client)
    assert after == {**before, "gemini": {**before["gemini"], "ttft_ms": 30}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"gemini": {"error_rate": NaN}}', "error_rate must be a number from 0 to 1"),
        ('{"gemini": {"error_rate": 1.01}}', "error_rate must be a number from 0 to 1"),
        ('{"gemini": {"error_rate": -0.1}}', "error_rate must be a number from 0 to 1"),
        ('{"gemini": {"error_rate": true}}', "error_rate must be a number from 0 to 1"),
        ('{"gemini": {"error_rate": "1"}}', "error_rate must be a number from 0 to 1"),
        ('{"gemini": {"ttft_ms": Infinity}}', "ttft_ms must be a number"),
        ('{"gemini": {"error_status": 503.0}}', "error_status must be a whole number from 400 to 599"),
        ('{"gemini": {"error_status": 200}}', "error_status must be a whole number from 400 to 599"),
        ('{"gemini": {"min_words": 900}}', "min_words must not be more than max_words"),
        ('{"openai": {"error_rate": 0.5}, "gemini": {"mood": 1}}', "mood can't be set"),
        ('{"openai": {"error_rate": 0.5}, "acme": {}}', "'acme' is not a provider"),
        ('{"openai": 1}', "the behaviour of a provider is an object"),
        ("[]", "expected an object"),
        ("{", "Expecting property name"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_change_is_refused_in_words_and_changes_nothing(client: httpx2.Client, body: str, words: str) -> None:
    before = behaviour(client)

    answer = client.put("/_simulator/behaviour", content=body)

    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert behaviour(client) == before


def test_gemini_is_the_quicker_one_by_default() -> None:
    ways = Behaviours()

    assert ways.gemini.ttft_ms < ways.openai.ttft_ms
    assert ways.of("gemini") is ways.gemini


def test_a_behaviour_survives_its_journey_through_json() -> None:
    ways = Behaviours(openai=Behaviour(error_rate=0.25, min_words=3))

    assert Behaviours().changed(json.loads(json.dumps(ways.as_json()))) == ways


@pytest.mark.parametrize("words", [1, 50, 400])
def test_an_answer_is_at_least_as_long_as_drawn_and_closes_what_it_opens(words: int) -> None:
    for seed in range(20):
        text = compose("Why do bicycles need brakes?", words=words, rng=random.Random(seed))

        assert words <= len(text.split()) < words + 60
        assert text.count("```") % 2 == 0
        assert "bicycles" in text
