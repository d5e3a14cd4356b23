"""``/v1/`` over ASGI, without Django's handler and middleware: no session, no cookie, no template belongs here.

Paths: ``POST /v1/chat/completions``, ``GET /v1/models``, ``GET /v1/models/{id}``, ``POST /v1/calls/{id}/feedback``.
"""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from chat import capacity
from chat.admission import breakers
from chat.cancelling import end_tasks, outlived, running_after
from chat.log_context import bind, open_log_context
from chat.providers.registry import catalogue
from chat.refusals import refusals
from chat.threads import END_TIMEOUT_S, in_db
from gateway import feedback
from gateway.answering import SURFACE, Answer, Asked, Job, beginnings
from gateway.callers import application, text_of
from gateway.errors import ApiError, database_away, error_of, is_answer, overloaded, shutting_down
from gateway.models import ApiKey
from gateway.wire_request import Completion, parse_completion
from gateway.writers import ClientGone, StreamWriter, WholeWriter
from rollout.services import log_route

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PREFIX = "/v1/"
# Pictures come inside it.
MAX_BODY_BYTES = 20 << 20
# For a body to come, and for the rest of an answer to be taken once it is there, in seconds.
BODY_TIMEOUT_S = 60.0
READ_TIMEOUT_S = 60.0
# A larger one is read for those alone who have a key: to hold and parse it takes more than to ask for the key twice.
SMALL_BODY_BYTES = 64 << 10
_MODEL = re.compile(r"/v1/models/(.+)")
_FEEDBACK = re.compile(r"/v1/calls/([^/]+)/feedback")
_running: dict[asyncio.Task[None], Answer] = {}
# When the answers of an event loop are ended that has begun to end.
_ends_at: WeakKeyDictionary[asyncio.AbstractEventLoop, float] = WeakKeyDictionary()


async def application_v1(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request. What goes wrong is an error in OpenAI's shape."""
    open_log_context()
    try:
        await _dispatch(scope, receive, send)
    except ClientGone:
        pass
    except Exception as error:  # noqa: BLE001
        refused = _refusal(error)
        await _respond(send, refused.status, refused.body, refused.headers.items())


async def drain(grace_s: float) -> None:
    """Give running answers ``grace_s`` seconds, then end them: each gets its last row, and who asked is told. From now
    on nobody else is let in; an answer that was just beginning gets what is left of the time.
    """
    loop = asyncio.get_running_loop()
    _ends_at.setdefault(loop, loop.time() + grace_s)
    left = await running_after(_running, grace_s)
    for task in left:
        _running[task].abandon()
    await end_tasks(left)
    await outlived(END_TIMEOUT_S)


async def _dispatch(scope: Scope, receive: Receive, send: Send) -> None:
    path, method = scope["path"], scope["method"]
    rated, one = _FEEDBACK.fullmatch(path), _MODEL.fullmatch(path)
    if path == "/v1/chat/completions":
        _allow(method, "POST")
        completion = await _read_completion(scope, receive)
        try:
            with capacity.answers.one_more():
                await _complete(completion, scope, receive, send)
        except capacity.Overloaded:
            raise overloaded(capacity.RETRY_AFTER_S) from None
    elif path == "/v1/models" or one is not None:
        _allow(method, "GET", "HEAD")
        listed = _models(await _key_of(scope))
        await _respond(send, 200, json.dumps(_list_of(listed) if one is None else _find(listed, one[1])).encode())
    elif rated is not None:
        _allow(method, "POST")
        key = await _key_of(scope)
        body = await _read_body(receive)
        document = await in_db(feedback.take, key, rated[1], body, now=timezone.now())
        await _respond(send, 200, json.dumps(document).encode())
    else:
        raise ApiError(404, f"There is no {path} here.", code="unknown_url")


def _allow(method: str, *allowed: str) -> None:
    if method not in allowed:
        raise ApiError(
            405, f"Only {allowed[0]} is served here.", code="method_not_allowed", headers={"Allow": allowed[0]}
        )


async def _complete(completion: Completion, scope: Scope, receive: Receive, send: Send) -> None:
    if asyncio.get_running_loop() in _ends_at:
        raise shutting_down()
    now = timezone.now()
    await breakers.refresh()
    job = await beginnings.put(
        Asked(
            authorization=_header(scope, b"authorization"),
            named_unit=_header(scope, b"x-sluice-unit"),
            completion=completion,
            now=now,
        )
    )
    bind(answer_id=job.answer_id, rollout=job.route.rollout, arm=job.route.arm, reason=job.route.reason)
    log_route(job.route, served_model=job.served_model, unit=job.caller.recorded_unit, call_id=job.call_id)
    if completion.stream:
        await _stream(job, int(now.timestamp()), receive, send)
    else:
        await _whole(job, int(now.timestamp()), receive, send)


async def _read_completion(scope: Scope, receive: Receive) -> Completion:
    """What is asked for. Who has no key is told that, and nothing of the body."""
    text_of(_header(scope, b"authorization"))
    body = await _read_body(receive, before_more=lambda: _key_of(scope))
    try:
        return parse_completion(body)
    except ApiError:
        await _key_of(scope)
        raise


async def _key_of(scope: Scope) -> ApiKey:
    return await in_db(application, _header(scope, b"authorization"), now=timezone.now())


async def _whole(job: Job, created: int, receive: Receive, send: Send) -> None:
    writer = WholeWriter()
    answer = Answer(job, writer)
    task = _start(answer)
    gone = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
    finally:
        await end_tasks((gone, task))
    attempt = answer.attempt
    if not is_answer(attempt):
        raise _about(error_of(attempt), answer.job)
    await _respond(send, 200, writer.document(answer.job, attempt, created), _facts(answer.job).items())


async def _stream(job: Job, created: int, receive: Receive, send: Send) -> None:
    """The status line waits for the first visible piece: until then another model may still have to answer."""
    writer = StreamWriter(created)
    answer = Answer(job, writer)
    task = _start(answer)
    task.add_done_callback(lambda _task: writer.end(answer.job, answer.attempt))
    gone = asyncio.ensure_future(_disconnect(receive))
    gone.add_done_callback(lambda _gone: writer.hang_up())
    try:
        async with asyncio.timeout(None) as limit:
            task.add_done_callback(lambda _task: limit.reschedule(asyncio.get_running_loop().time() + READ_TIMEOUT_S))
            try:
                events = await writer.take()
                if writer.failure is not None:
                    raise _about(writer.failure, answer.job)
                headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", **_facts(answer.job)}
                await send(_head(200, headers))
                while not writer.is_over:
                    await send({"type": "http.response.body", "body": events, "more_body": True})
                    events = await writer.take()
                await send({"type": "http.response.body", "body": events})
            finally:
                await end_tasks((gone, task))
    except TimeoutError:
        # It is written to its end, and who asked does not take it.
        raise ClientGone from None


def _start(answer: Answer) -> "asyncio.Task[None]":
    loop = asyncio.get_running_loop()
    task = loop.create_task(answer.run(), name=f"answer {answer.job.answer_id}")
    _running[task] = answer
    task.add_done_callback(lambda done: _running.pop(done, None))
    if loop in _ends_at:
        loop.call_at(_ends_at[loop], _cut, task, answer)
    return task


def _cut(task: "asyncio.Task[None]", answer: Answer) -> None:
    answer.abandon()
    task.cancel()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read_body(receive: Receive, before_more: Callable[[], Awaitable[object]] | None = None) -> bytes:
    """All of it; ``before_more`` is awaited once, where it is no small one."""
    parts, size = [], 0
    until = asyncio.get_running_loop().time() + BODY_TIMEOUT_S
    while True:
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            raise ApiError(408, "The body did not come in time.", code="request_timeout") from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > SMALL_BODY_BYTES and before_more is not None:
            await before_more()
            before_more = None
        if size > MAX_BODY_BYTES:
            raise ApiError(413, "The body is too large.", code="request_too_large")
        if not message.get("more_body"):
            return b"".join(parts)


def _models(key: ApiKey) -> dict[str, dict[str, Any]]:
    """Those that it may use, by model key."""
    keys = [model for model in catalogue() if not key.models_allowed or model in key.models_allowed]
    return {model: {"id": model, "object": "model", "created": 0, "owned_by": "sluice"} for model in keys}


def _list_of(models: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return {"object": "list", "data": list(models.values())}


def _find(models: Mapping[str, dict[str, Any]], model: str) -> dict[str, Any]:
    if model not in models:
        raise ApiError(404, f"The model {model!r} does not exist, or this key may not use it.", code="model_not_found")
    return models[model]


def _facts(job: Job) -> dict[str, str]:
    """What happened, for who asked; the SDKs show the request's id in their errors."""
    return {
        "X-Request-Id": str(job.answer_id),
        "X-Sluice-Call": str(job.answer_id),
        "X-Sluice-Arm": job.route.arm or "none",
        "X-Sluice-Reason": job.route.reason,
        "X-Sluice-Model": job.served_model,
        "X-Sluice-Fallback": "true" if job.served_model != job.route.assigned_model else "false",
        **job.reservation.headers,
    }


def _refusal(error: Exception) -> ApiError:
    """What is told of it. Where no row says what happened, it is counted, and has an id that the log has too."""
    if isinstance(error, ApiError):
        refused = error
    elif isinstance(error, OperationalError | InterfaceError):
        logger.error("The database failed", exc_info=error)
        refused = database_away()
    else:
        logger.error("A request failed unexpectedly", exc_info=error)
        refused = ApiError(500, "Something went wrong inside Sluice.", code="internal")
    if "X-Sluice-Call" not in refused.headers:
        refusals.note(SURFACE, refused.code)
        request_id = refused.headers["X-Request-Id"] = str(uuid4())
        logger.info("Refused: %s", refused.code, extra={"request_id": request_id, "param": refused.param})
    return refused


def _about(error: ApiError, job: Job) -> ApiError:
    error.headers.update(_facts(job))
    return error


def _header(scope: Scope, name: bytes) -> str:
    """As UTF-8 where it is that, as the same name in a body is."""
    value: bytes = next((value for key, value in scope["headers"] if key == name), b"")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _head(status: int, headers: Mapping[str, str]) -> dict[str, Any]:
    listed = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": listed}


async def _respond(send: Send, status: int, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> None:
    told = {"Content-Type": "application/json", "Content-Length": str(len(body)), **dict(headers)}
    await send(_head(status, told))
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            await send({"type": "http.response.body", "body": body})
    except TimeoutError:
        raise ClientGone from None
