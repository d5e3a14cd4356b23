"""The simulated vendors' protocols, through the vendors' own SDKs and over real HTTP."""

from collections.abc import Iterator

import httpx2
import openai
import pytest
from google import genai
from google.genai import types


@pytest.fixture
def openai_client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="any", base_url=f"{url}/v1", max_retries=0) as client:
        yield client


@pytest.fixture(params=["v1", "v1beta"])
def gemini_client(url: str, request: pytest.FixtureRequest) -> Iterator[genai.Client]:
    client = genai.Client(api_key="any", http_options=types.HttpOptions(base_url=url, api_version=request.param))
    yield client
    client.close()


# --- OpenAI ---------------------------------------------------------------------------------


def test_openai_streams_an_answer_with_usage_that_follows_from_the_text(openai_client: openai.OpenAI) -> None:
    chunks = list(
        openai_client.chat.completions.create(
            model="gpt-5.4",
            messages=[{"role": "user", "content": "tomatoes"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert "tomatoes" in text
    assert {chunk.model for chunk in chunks} == {"gpt-5.4"}
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-2:] == [None, "stop"]
    assert chunks[-1].choices == []
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (2, -(-len(text) // 4))
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 0
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 0


def test_openai_sends_no_usage_that_nobody_asked_for(openai_client: openai.OpenAI) -> None:
    chunks = openai_client.chat.completions.create(
        model="gpt-5.4", messages=[{"role": "user", "content": "tomatoes"}], stream=True
    )

    assert [chunk for chunk in chunks if chunk.usage is not None or not chunk.choices] == []


def test_openai_answers_in_one_piece_too_and_charges_for_thinking(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(model="gpt-5.5", messages=[{"role": "user", "content": "Hello"}])

    text, usage = answer.choices[0].message.content, answer.usage
    assert text
    assert usage is not None
    assert usage.completion_tokens_details is not None
    thought = usage.completion_tokens_details.reasoning_tokens
    assert thought
    assert usage.completion_tokens == thought + -(-len(text) // 4)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_openai_reuses_a_long_history(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(
        model="gpt-5.4",
        messages=[{"role": "user", "content": "a" * 6000}, {"role": "user", "content": "b" * 6000}],
    )

    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 3000
    assert answer.usage.prompt_tokens_details is not None
    # 1500 tokens of history, in whole blocks of 128.
    assert answer.usage.prompt_tokens_details.cached_tokens == 1408


def test_openai_lists_models(openai_client: openai.OpenAI) -> None:
    assert "gpt-5.4" in [model.id for model in openai_client.models.list()]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"messages": [{"role": "user", "content": "Hello"}]}, "model"),
        ({"model": "any", "messages": []}, "messages"),
        ({"model": "any", "messages": [{"role": "user"}]}, "content"),
        ([], "JSON"),
    ],
)
def test_openai_turns_down_what_it_cant_read(url: str, body: object, words: str) -> None:
    answer = httpx2.post(f"{url}/v1/chat/completions", json=body, headers={"Authorization": "Bearer any"})

    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_openai_wants_a_key(url: str) -> None:
    body = {"model": "any", "messages": [{"role": "user", "content": "Hello"}]}

    assert httpx2.post(f"{url}/v1/chat/completions", json=body).status_code == 401
    assert httpx2.get(f"{url}/v1/models").status_code == 401


def test_openai_calls_a_tool_that_the_message_asks_for_in_one_piece_too(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(
        model="gpt-5.4",
        messages=[{"role": "user", "content": 'call clock with {"zone": 1} and call unknown with {}'}],
        tools=[{"type": "function", "function": {"name": "clock"}}],
    )

    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("clock", '{"zone": 1}')


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "x" * 41, "type": "function", "function": {"name": "clock", "arguments": "{}"}}],
        },
    ],
    ids=["a result without its call", "an id that is too long"],
)
def test_openai_turns_down_calls_that_it_could_not_have_made(url: str, turn: object) -> None:
    body = {"model": "any", "messages": [{"role": "user", "content": "Hello"}, turn]}

    answer = httpx2.post(f"{url}/v1/chat/completions", json=body, headers={"Authorization": "Bearer any"})

    assert answer.status_code == 400


# --- Gemini ---------------------------------------------------------------------------------


def test_gemini_streams_fewer_and_larger_chunks_with_usage(
    gemini_client: genai.Client, openai_client: openai.OpenAI
) -> None:
    chunks = list(gemini_client.models.generate_content_stream(model="gemini-3.1-flash-lite", contents="tomatoes"))
    rival = openai_client.chat.completions.create(
        model="gpt-5.4", messages=[{"role": "user", "content": "tomatoes"}], stream=True
    )

    text = "".join(chunk.text or "" for chunk in chunks)
    assert "tomatoes" in text
    assert 1 < len(chunks) < len(list(rival)) / 4
    ends = [chunk.candidates[0].finish_reason for chunk in chunks if chunk.candidates]
    assert ends == [None] * (len(chunks) - 1) + [types.FinishReason.STOP]
    assert {chunk.model_version for chunk in chunks} == {"gemini-3.1-flash-lite"}
    usage = chunks[-1].usage_metadata
    assert usage is not None
    text_tokens = -(-len(text) // 4)
    assert (usage.prompt_token_count, usage.candidates_token_count) == (2, text_tokens)
    assert usage.total_token_count == 2 + text_tokens
    assert (usage.thoughts_token_count, usage.cached_content_token_count) == (None, None)


def test_gemini_answers_in_one_piece_too_and_charges_for_thinking(gemini_client: genai.Client) -> None:
    answer = gemini_client.models.generate_content(model="gemini-3.1-pro", contents=["a" * 6000, "b"])

    usage = answer.usage_metadata
    assert answer.text
    assert usage is not None
    assert usage.candidates_token_count == -(-len(answer.text) // 4)
    assert usage.thoughts_token_count
    assert usage.total_token_count == 1501 + usage.candidates_token_count + usage.thoughts_token_count


def test_gemini_wants_a_key(url: str) -> None:
    answer = httpx2.post(f"{url}/v1/models/any:generateContent", json={"contents": [{"parts": [{"text": "Hello"}]}]})

    assert answer.status_code == 403
    assert answer.json()["error"]["status"] == "PERMISSION_DENIED"


@pytest.mark.parametrize("body", [{}, {"contents": []}, {"contents": [{"role": "user"}]}, []])
def test_gemini_turns_down_what_it_cant_read(url: str, body: object) -> None:
    answer = httpx2.post(f"{url}/v1/models/any:generateContent", json=body, headers={"x-goog-api-key": "any"})

    assert answer.status_code == 400
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"


def test_gemini_turns_down_a_call_without_its_signature_from_the_third_generation_on(url: str) -> None:
    call = {"role": "model", "parts": [{"functionCall": {"name": "clock", "args": {}}}]}
    result = {"role": "user", "parts": [{"functionResponse": {"name": "clock", "response": {"output": "noon"}}}]}
    body = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}, call, result]}

    statuses = [
        httpx2.post(
            f"{url}/v1/models/{model}:generateContent", json=body, headers={"x-goog-api-key": "any"}
        ).status_code
        for model in ("gemini-2.5-flash", "gemini-3.1-flash-lite")
    ]

    assert statuses == [200, 400]
