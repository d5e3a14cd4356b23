"""The simulated vendors as a plain ASGI app: ``uvicorn --factory simulator.upstream:Upstream``.

OpenAI: ``POST /v1/chat/completions``, ``GET /v1/models``. Gemini: ``POST /{v1,v1beta}/models/{model}:generateContent``
and ``:streamGenerateContent?alt=sse``. Any key and any model name will do.

Words in the newest message that do something, for browser tests and demonstrations:
``slowly`` streams for about eight seconds; ``error please`` answers 503, whatever the behaviour is;
``code please`` makes sure of a fenced python block.

Control: ``GET`` and ``PUT /_simulator/behaviour`` read and change (in part: ``{"gemini": {"error_rate": 1}}``) how
the vendors behave, from the next request on. ``GET /_simulator/counts`` says per provider how many requests came, how
many were answered with an error status, and how many clients hung up before the end of their answer.

Knows HTTP and time. Knows no project code and no Django: the house reaches it over HTTP alone.
"""

import asyncio
import json
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from simulator import gemini_wire, openai_wire, words
from simulator.behaviour import PROVIDERS, Behaviour, Behaviours
from simulator.exchange import Answer, Misunderstood, Question, answer_to, count_tokens

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

GEMINI_PATH = re.compile(r"/v1(?:beta)?/models/([^/:]+):(generateContent|streamGenerateContent)")
SLOW_ANSWER_S = 8.0
OVERLOADED = "The model is overloaded. Please try again later."


class Upstream:
    """Both vendors. ``seed`` makes the dice, and so the answers to the same requests in the same order, repeatable."""

    def __init__(self, behaviours: Behaviours | None = None, *, seed: int | None = None) -> None:
        self.behaviours = behaviours or Behaviours()
        self.counts = {provider: {"requests": 0, "errors": 0, "disconnects": 0} for provider in PROVIDERS}
        self._rng = random.Random(seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        body = await _read_body(receive)
        if body is None:
            return
        method, path = scope["method"], scope["path"]
        if path.startswith("/_simulator/"):
            await self._control(method, path, body, send)
        elif (method, path) == ("POST", "/v1/chat/completions"):
            await self._serve("openai", _ask_openai, scope, body, receive, send)
        elif method == "POST" and GEMINI_PATH.fullmatch(path):
            await self._serve("gemini", _ask_gemini, scope, body, receive, send)
        elif (method, path) == ("GET", "/v1/models"):
            await self._list_models(scope, send)
        else:
            await _send_json(send, 404, openai_wire.error(404, f"Unknown request URL: {method} {path}."))

    async def _control(self, method: str, path: str, body: bytes, send: Send) -> None:
        match method, path:
            case "GET", "/_simulator/behaviour":
                await _send_json(send, 200, self.behaviours.as_json())
            case "PUT", "/_simulator/behaviour":
                try:
                    self.behaviours = self.behaviours.changed(_parsed(body))
                except ValueError as problem:
                    await _send_json(send, 400, {"error": str(problem)})
                else:
                    await _send_json(send, 200, self.behaviours.as_json())
            case "GET", "/_simulator/counts":
                await _send_json(send, 200, self.counts)
            case _:
                await _send_json(send, 404, {"error": "there are /_simulator/behaviour and /_simulator/counts"})

    async def _list_models(self, scope: Scope, send: Send) -> None:
        try:
            openai_wire.read_key(_headers(scope), {})
        except Misunderstood as problem:
            await _send_json(send, problem.status, openai_wire.error(problem.status, problem.message))
        else:
            await _send_json(send, 200, openai_wire.models())

    async def _serve(
        self,
        provider: str,
        ask: Callable[[Scope, bytes], Question],
        scope: Scope,
        body: bytes,
        receive: Receive,
        send: Send,
    ) -> None:
        """Answer one request of a vendor's, and stop at once when its client hangs up."""
        counts = self.counts[provider]
        counts["requests"] += 1
        work = asyncio.create_task(self._answer(provider, ask, scope, body, send))
        gone = asyncio.create_task(_hang_up(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            else:
                counts["disconnects"] += 1
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _answer(
        self, provider: str, ask: Callable[[Scope, bytes], Question], scope: Scope, body: bytes, send: Send
    ) -> None:
        wire = WIRES[provider]
        behaviour = self.behaviours.of(provider)
        rng = self._rng
        wait_s = behaviour.ttft_ms / 1000 * rng.lognormvariate(0, behaviour.jitter)
        try:
            question = ask(scope, body)
            if "error please" in question.text.lower():
                raise Misunderstood(503, OVERLOADED)
            if rng.random() < behaviour.error_rate:
                await asyncio.sleep(wait_s)
                raise Misunderstood(behaviour.error_status, OVERLOADED)
        except Misunderstood as problem:
            self.counts[provider]["errors"] += 1
            await _send_json(send, problem.status, wire.error(problem.status, problem.message))
            return
        answer = self._made_up(question, behaviour)
        tokens_per_s = _speed(question, answer, behaviour, rng)
        await asyncio.sleep(wait_s + answer.reasoning_tokens / tokens_per_s)
        if question.stream:
            await _stream(send, wire.events(question, answer), tokens_per_s)
        else:
            await asyncio.sleep(answer.text_tokens / tokens_per_s)
            await _send_json(send, 200, wire.whole(question, answer))

    def _made_up(self, question: Question, behaviour: Behaviour) -> Answer:
        length = self._rng.randint(behaviour.min_words, behaviour.max_words)
        with_code = "code please" in question.text.lower()
        text = words.compose(question.text, words=length, rng=self._rng, with_code=with_code)
        return answer_to(question, text=text, answer_id=f"{self._rng.getrandbits(96):024x}", created=int(time.time()))


def _speed(question: Question, answer: Answer, behaviour: Behaviour, rng: random.Random) -> float:
    """Tokens a second."""
    if "slowly" in question.text.lower():
        return answer.text_tokens / SLOW_ANSWER_S
    return behaviour.tokens_per_s * rng.lognormvariate(0, behaviour.jitter)


def _ask_openai(scope: Scope, body: bytes) -> Question:
    openai_wire.read_key(_headers(scope), {})
    return openai_wire.read_question(_understood(body))


def _ask_gemini(scope: Scope, body: bytes) -> Question:
    query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
    gemini_wire.read_key(_headers(scope), query)
    match = GEMINI_PATH.fullmatch(scope["path"])
    assert match is not None
    stream = match[2] == "streamGenerateContent"
    if stream and query.get("alt") != "sse":
        raise Misunderstood(400, "Only alt=sse is simulated for streamGenerateContent.")
    return gemini_wire.read_question(_understood(body), model=unquote(match[1]), stream=stream)
