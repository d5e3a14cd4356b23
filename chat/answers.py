"""HTTP around one answer: ask, follow, stop, try again, rate. Thin: each view makes one call to a service."""

import json
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST
from redis.exceptions import RedisError

from chat import accounts, capacity, generation, livelog, services
from chat.admission import breakers
from chat.calls import SURFACE
from chat.markdown import BlockStream
from chat.models import Message, User
from chat.refusals import refusals
from chat.services import AnswerRefused
from chat.tail import Progress, follow
from chat.threads import in_db

R = TypeVar("R")

_REFUSALS = {
    "empty": _("Write a message first."),
    "too_long": _("This message is too long. Shorten it and send it again."),
    "unknown_model": _("This model is not available. Choose another one."),
    "not_found": _("This conversation does not exist, or it is not yours."),
    "busy": _("The reply before is still being written. Wait for it, or stop it."),
    "conflict": _("The conversation has moved on. Reload the page and try again."),
    "bad_request": _("The page sent something unreadable. Reload it and try again."),
    "bad_rating": _("A rating is a number from 1 to 5."),
    "bad_reason": _("Only a rating from 1 to 3 can have a reason, and only one of those that the page offers."),
    "unavailable": _("This can't be done right now. Try again in a moment."),
    "overloaded": _("Too many people are asking right now. Try again in a moment."),
}
_STATUS = {"not_found": 404, "busy": 409, "conflict": 409, "too_long": 413, "unavailable": 503, "overloaded": 503}
# Proxies that buffer would hold an answer back until its end.
_STREAM_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
# How long a browser waits before it takes up a broken stream again, in ms.
_RECONNECT_MS = 1000


@require_POST
async def post_message(request: HttpRequest) -> HttpResponseBase:
    """Take a message; answer with the two new articles, or, without JavaScript, with the conversation's page."""
    try:
        conversation_id = _uuid(request.POST.get("conversation"), "not_found")
        client_id = _uuid(request.POST.get("client_id"), "bad_request")
        with _one_more_answer():
            await breakers.refresh()
            reply, job = await in_db(
                _for_person,
                request,
                services.send,
                text=request.POST.get("text", ""),
                model=request.POST.get("model", ""),
                conversation_id=conversation_id,
                client_id=client_id,
                language=get_language() or "",
                now=timezone.now(),
            )
            if job is not None:
                generation.start(job)
    except AnswerRefused as refusal:
        return _refused(refusal)
    if "application/json" not in request.headers.get("accept", ""):
        return redirect("conversation", reply.conversation_id)
    return JsonResponse(_sent(reply), status=201)


@require_GET
@never_cache
async def events(request: HttpRequest, reply_id: UUID) -> HttpResponseBase:
    """The answer as server-sent events, from the start or from ``Last-Event-ID`` on, to its end."""
    try:
        state = await in_db(_for_owner, request, services.state_of, reply_id=reply_id)
    except AnswerRefused as refusal:
        return _refused(refusal)
    last = request.headers.get("last-event-id", "")
    seen = int(last) if last.isascii() and last.isdigit() and len(last) < 10 else 0
    return StreamingHttpResponse(
        _stream(reply_id, state, seen), content_type="text/event-stream; charset=utf-8", headers=_STREAM_HEADERS
    )


@require_POST
async def stop(request: HttpRequest, reply_id: UUID) -> HttpResponse:
    """Ask the answer to stop; what it has said so far stays."""
    try:
        if await in_db(_for_owner, request, services.state_of, reply_id=reply_id) == Message.State.RUNNING:
            await livelog.request_stop(reply_id)
    except AnswerRefused as refusal:
        return _refused(refusal)
    except (RedisError, OSError):
        return _error("unavailable", 503)
    return HttpResponse(status=204)


@require_POST
async def retry(request: HttpRequest, reply_id: UUID) -> HttpResponse:
    """Answer the same question anew; the new reply takes the old one's place."""
    try:
        with _one_more_answer():
            await breakers.refresh()
            reply, job = await in_db(
                _for_owner,
                request,
                services.retry,
                reply_id=reply_id,
                language=get_language() or "",
                now=timezone.now(),
            )
            generation.start(job)
    except AnswerRefused as refusal:
        return _refused(refusal)
    return JsonResponse({**_sent(reply), "html": _article(reply)}, status=201)


@require_POST
async def rating(request: HttpRequest, reply_id: UUID) -> HttpResponse:
    """Rate a reply 1 to 5, perhaps with a reason, or take the rating back with an empty value."""
    value = request.POST.get("value", "")
    try:
        if value and value not in {"1", "2", "3", "4", "5"}:
            raise AnswerRefused("bad_rating")
        reply = await in_db(
            _for_owner,
            request,
            services.rate,
            reply_id=reply_id,
            rating=int(value) if value else None,
            reason=request.POST.get("reason", ""),
        )
    except AnswerRefused as refusal:
        return _refused(refusal)
    return HttpResponse(render_to_string("chat/_rating.html", {"message": reply}))


@contextmanager
def _one_more_answer() -> Iterator[None]:
    try:
        with capacity.answers.one_more():
            yield
    except capacity.Overloaded:
        raise AnswerRefused("overloaded", retry_after_s=capacity.RETRY_AFTER_S) from None


# ``request.auser()`` and ``alogin()`` would do: but they work in the request's own thread, which keeps its
# database connection until the response has ended, and an answer's stream may last for minutes.


def _for_owner(request: HttpRequest, serve: Callable[..., R], **asked: Any) -> R:
    """Serve the person behind the session, guests included; somebody unknown owns no reply."""
    if not isinstance(request.user, User):
        raise AnswerRefused("not_found")
    return serve(user=request.user, **asked)


def _for_person(request: HttpRequest, serve: Callable[..., R], **asked: Any) -> R:
    """Serve the person behind the session; whoever comes without one becomes a guest."""
    if not request.user.is_authenticated:
        guest = accounts.create_guest()
        login(request, guest, backend="django.contrib.auth.backends.ModelBackend")
    return _for_owner(request, serve, **asked)


def _uuid(text: str | None, code: str) -> UUID | None:
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise AnswerRefused(code) from None


def _sent(reply: Message) -> dict[str, object]:
    conversation = reply.conversation
    return {
        "conversation": {
            "id": str(conversation.id),
            "url": reverse("conversation", args=[conversation.id]),
            "title": conversation.title,
        },
        "reply": str(reply.id),
        "html": _article(reply.reply_to) + _article(reply),
    }


def _article(message: Message | None) -> str:
    return render_to_string("chat/_message.html", {"message": message}) if message is not None else ""


def _refused(refusal: AnswerRefused) -> JsonResponse:
    refusals.note(SURFACE, refusal.code)
    response = _error(refusal.code, _STATUS.get(refusal.code, 400))
    if refusal.retry_after_s is not None:
        response["Retry-After"] = str(math.ceil(refusal.retry_after_s))
    return response


def _error(code: str, status: int) -> JsonResponse:
    return JsonResponse({"error": _REFUSALS[code], "code": code}, status=status)


async def _stream(reply_id: UUID, state: str, seen: int) -> AsyncIterator[str]:
    """The events. What lies before ``seen`` is taken in silently: the page shows it already."""
    yield f"retry: {_RECONNECT_MS}\n\n"
    if state == Message.State.RUNNING:
        blocks, before = BlockStream(), Progress()
        async for progress in follow(reply_id, replay_to=seen):
            changes = blocks.feed(progress.text[len(before.text) :])
            if progress.seq > seen or not progress.seq:
                for event in _changes(before, progress, changes):
                    yield event
            before = progress
    yield await in_db(_done, reply_id)


def _changes(before: Progress, progress: Progress, changes: tuple[int, list[str]]) -> list[str]:
    start, html = changes
    out = []
    if progress.reasoning != before.reasoning:
        out.append(_event("reasoning", {"text": progress.reasoning}, progress.seq))
    if html or progress.text != before.text:
        out.append(_event("blocks", {"start": start, "blocks": html}, progress.seq))
    return out or [": waiting\n\n"]


def _done(reply_id: UUID) -> str:
    try:
        final = Message.objects.get(pk=reply_id)
    except Message.DoesNotExist:
        return _event("done", {"state": Message.State.FAILED, "html": ""}, None)
    return _event("done", {"state": final.state, "html": _article(final)}, None)


def _event(name: str, data: dict[str, object], seq: int | None) -> str:
    """One server-sent event. JSON holds no raw line break, so no text can forge one."""
    number = f"id: {seq}\n" if seq else ""
    return f"{number}event: {name}\ndata: {json.dumps(data)}\n\n"
