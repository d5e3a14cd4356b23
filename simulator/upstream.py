"""The simulated vendors as a plain ASGI app: ``uvicorn --factory simulator.upstream:Upstream``.

OpenAI: ``POST /v1/chat/completions``, ``GET /v1/models``. Gemini: ``POST /{v1,v1beta}/models/{model}:generateContent``
and ``:streamGenerateContent?alt=sse``. Any key and any model name will do.

Words in the newest message that do something, for browser tests and demonstrations:
``slowly`` streams for about eight seconds; ``error please`` answers 503, whatever the behaviour is;
``code please`` makes sure of a fenced python block; ``call NAME with {…}`` calls that tool, if there is one;
``how many images`` counts those that were sent. JSON schemas, limits of length and stop words are kept to.

Control: ``GET`` and ``PUT /_simulator/behaviour`` read and change (in part: ``{"gemini": {"error_rate": 1}}``) how
the vendors behave, from the next request on. ``GET /_simulator/counts`` says per provider how many requests came, how
many were answered with an error status, and how many clients hung up before the end of their answer.

Knows HTTP and time. Knows no project code and no Django: the house reaches it over HTTP alone.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from simulator import gemini_wire, openai_wire, structured, words
from simulator.asgi import Receive, Scope, Send, hang_up, live, read_request, send_json, stream_events
from simulator.behaviour import PROVIDERS, Behaviour, Behaviours
from simulator.exchange import Answer, Misunderstood, Question, Request, answer_to

SLOW_ANSWER_S = 8.0
FAILED = "The model is overloaded. Please try again later."


class Wire(Protocol):
    """One vendor's protocol; each ``*_wire`` module is one."""

    def read(self, request: Request) -> Question: ...
    def whole(self, question: Question, answer: Answer) -> dict[str, Any]: ...
    def events(self, question: Question, answer: Answer) -> Iterator[tuple[str, bytes]]: ...
    def error(self, status: int, message: str) -> dict[str, Any]: ...


WIRES: dict[str, Wire] = {"openai": openai_wire, "gemini": gemini_wire}


class Upstream:
    """Both vendors. ``seed`` makes the dice repeatable: the same requests in the same order get the same answers.

    ``slow_answer_s`` can change at any time: what is left of slow answers goes on at the new pace.
    """

    def __init__(
        self, behaviours: Behaviours | None = None, *, seed: int | None = None, slow_answer_s: float = SLOW_ANSWER_S
    ) -> None:
        self._behaviours = behaviours or Behaviours()
        self.slow_answer_s = slow_answer_s
        self._counts = {provider: {"requests": 0, "errors": 0, "disconnects": 0} for provider in PROVIDERS}
        self._rng = random.Random(seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await live(receive, send)
            return
        request = await read_request(scope, receive)
        if request is None:
            return
        called = (request.method, request.path)
        if request.path.startswith("/_simulator/"):
            await self._control(request, send)
        elif called == ("POST", "/v1/chat/completions"):
            await self._serve("openai", request, receive, send)
        elif request.method == "POST" and gemini_wire.PATH.fullmatch(request.path):
            await self._serve("gemini", request, receive, send)
        elif called == ("GET", "/v1/models"):
            await _list_models(request, send)
        else:
            await send_json(send, 404, openai_wire.error(404, f"Unknown request URL: {' '.join(called)}."))

    async def _control(self, request: Request, send: Send) -> None:
        match request.method, request.path:
            case "GET", "/_simulator/behaviour":
                await send_json(send, 200, self._behaviours.as_json())
            case "PUT", "/_simulator/behaviour":
                try:
                    self._behaviours = self._behaviours.changed(request.json())
                except ValueError as problem:
                    await send_json(send, 400, {"error": str(problem)})
                else:
                    await send_json(send, 200, self._behaviours.as_json())
            case "GET", "/_simulator/counts":
                await send_json(send, 200, self._counts)
            case _:
                await send_json(send, 404, {"error": "there are /_simulator/behaviour and /_simulator/counts"})

    async def _serve(self, provider: str, request: Request, receive: Receive, send: Send) -> None:
        """Answer a vendor's request, and stop at once when its client hangs up."""
        self._counts[provider]["requests"] += 1
        work = asyncio.create_task(self._answer(provider, request, send))
        gone = asyncio.create_task(hang_up(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            else:
                self._counts[provider]["disconnects"] += 1
        finally:
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _answer(self, provider: str, request: Request, send: Send) -> None:
        wire, behaviour = WIRES[provider], self._behaviours.of(provider)
        ttft_s = behaviour.ttft_ms / 1000 * self._rng.lognormvariate(0, behaviour.jitter)
        try:
            question = wire.read(request)
            if "error please" in question.text.lower():
                raise Misunderstood(503, FAILED)
            if self._rng.random() < behaviour.error_rate:
                await asyncio.sleep(ttft_s)
                raise Misunderstood(behaviour.error_status, FAILED)
        except Misunderstood as problem:
            self._counts[provider]["errors"] += 1
            await send_json(send, problem.status, wire.error(problem.status, str(problem)))
            return
        answer = self._made_up(question, behaviour)
        speed = self._speed(question, answer, behaviour)
        await asyncio.sleep(ttft_s + answer.reasoning_tokens / speed())
        if question.stream:
            await stream_events(send, _paced(wire.events(question, answer), speed))
        else:
            await asyncio.sleep(answer.text_tokens / speed())
            await send_json(send, 200, wire.whole(question, answer))

    def _made_up(self, question: Question, behaviour: Behaviour) -> Answer:
        length = self._rng.randint(behaviour.min_words, behaviour.max_words)
        answer_id, created = f"{self._rng.getrandbits(96):024x}", int(time.time())
        if calls := structured.calls(question):
            return answer_to(question, text="", calls=calls, answer_id=answer_id, created=created)
        text = structured.reply(question)
        if text is None:
            with_code = "code please" in question.text.lower()
            text = words.compose(question.text, words=length, rng=self._rng, with_code=with_code)
        return answer_to(question, text=text, answer_id=answer_id, created=created)

    def _speed(self, question: Question, answer: Answer, behaviour: Behaviour) -> Callable[[], float]:
        """Tokens a second, as of each moment."""
        if "slowly" in question.text.lower():
            return lambda: answer.text_tokens / self.slow_answer_s
        same = behaviour.tokens_per_s * self._rng.lognormvariate(0, behaviour.jitter)
        return lambda: same


async def _list_models(request: Request, send: Send) -> None:
    try:
        openai_wire.read_key(request)
    except Misunderstood as problem:
        await send_json(send, problem.status, openai_wire.error(problem.status, str(problem)))
    else:
        await send_json(send, 200, openai_wire.models())


def _paced(events: Iterator[tuple[str, bytes]], speed: Callable[[], float]) -> Iterator[tuple[float, bytes]]:
    """Each event with the seconds to wait before it: as long as the piece before it took to be written."""
    wait_s = 0.0
    for piece, content in events:
        yield wait_s, content
        wait_s = len(piece) / 4 / speed()
