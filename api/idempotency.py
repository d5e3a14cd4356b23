"""Requests that may be repeated: the same ``Idempotency-Key`` gets the same answer, and nothing is done twice.

Source: draft-ietf-httpapi-idempotency-key-header-07. The key is claimed first, in a transaction of its own, so that
others see that it is taken; the work and its answer are then kept together or not at all. What dies in between has
done nothing, and its claim is free again after a minute. Answers of 500 and above are not kept.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from hashlib import sha256
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpResponse
from django.http.request import RawPostDataException
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.request import Request

from api.models import StoredAnswer
from api.problems import Refusal

HEADER = "Idempotency-Key"
KEPT = timedelta(hours=24)
LEASE = timedelta(minutes=1)
BATCH = 500

# A Structured Fields string; without its quotes too, as many clients send it.
KEY_PATTERN = r'"([ !#-\[\]-~]{1,255})"|([!#-\[\]-~]{1,255})'


def idempotent(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler of a view's POST that can be repeated with a key. Errors that it raises are its answers."""

    @wraps(handler)
    def answer(view: Any, request: Request, *args: Any, **kwargs: Any) -> Any:
        given = request.headers.get(HEADER)
        if given is None:
            return handler(view, request, *args, **kwargs)
        user: Any = request.user
        claim = _claim(account_id=user.pk, key=_parse(given), fingerprint=_fingerprint(request))
        if claim.status is not None:
            headers = {**claim.headers, "Idempotent-Replayed": "true"}
            return HttpResponse(bytes(claim.body), status=claim.status, headers=headers)
        try:
            with transaction.atomic():
                return _keep(claim, _answered(handler, view, request, *args, **kwargs))
        except BaseException:
            StoredAnswer.objects.filter(pk=claim.pk, claimed_at=claim.claimed_at, status=None).delete()
            raise

    return answer


def delete_old_answers(*, now: datetime) -> int:
    """Forget keys after ``KEPT``, in batches. Returns how many."""
    deleted = 0
    while old := list(StoredAnswer.objects.filter(claimed_at__lte=now - KEPT).values_list("pk", flat=True)[:BATCH]):
        deleted += StoredAnswer.objects.filter(pk__in=old).delete()[0]
    return deleted


def _answered(handler: Callable[..., Any], view: Any, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
    """The handler's answer, rendered, so that the first one is to the byte what later ones are."""
    try:
        response = handler(view, request, *args, **kwargs)
    except Exception as error:  # noqa: BLE001  (as DRF does; what is not a refusal is raised again)
        response = view.handle_exception(error)
    renderer: Any = request.accepted_renderer
    headers = {**response.headers, "Content-Type": renderer.media_type}
    return HttpResponse(
        renderer.render(response.data, renderer.media_type, {}), status=response.status_code, headers=headers
    )


def _keep(claim: StoredAnswer, response: HttpResponse) -> HttpResponse:
    mine = StoredAnswer.objects.filter(pk=claim.pk, claimed_at=claim.claimed_at)
    if not mine.update(status=response.status_code, headers=dict(response.headers), body=response.content):
        raise _in_progress()
    return response


def _claim(*, account_id: int, key: str, fingerprint: str) -> StoredAnswer:
    """A row without a status: it is ours to do. With one: it is done. Refusal where it is neither."""
    now = timezone.now()
    try:
        kept, is_made = StoredAnswer.objects.get_or_create(
            account_id=account_id, key=key, defaults={"fingerprint": fingerprint, "claimed_at": now}
        )
    except IntegrityError as error:
        # Taken and given back between the two looks.
        raise _in_progress() from error
    if is_made:
        return kept
    if kept.claimed_at <= now - (LEASE if kept.status is None else KEPT):
        old = StoredAnswer.objects.filter(pk=kept.pk, claimed_at=kept.claimed_at)
        if not old.update(claimed_at=now, fingerprint=fingerprint, status=None, headers={}, body=b""):
            raise _in_progress()
        kept.claimed_at, kept.status = now, None
        return kept
    if kept.fingerprint != fingerprint:
        told = _("This key was sent with another request. Use a new key for each request.")
        raise Refusal(told, status=422, code="idempotency_key_reused", fields=[HEADER])
    if kept.status is None:
        raise _in_progress()
    return kept


def _in_progress() -> Refusal:
    told = _("A request with this key is being worked on. Try again in a moment.")
    return Refusal(told, status=409, code="request_in_progress", headers={"Retry-After": "1"})


def _parse(given: str) -> str:
    found = re.fullmatch(KEY_PATTERN, given)
    if found is None:
        told = _('A key is 1 to 255 printable characters, in quotes: "8e03978e-40d5-43dd-bc93-6894a57f9324".')
        raise Refusal(told, status=400, code="invalid", fields=[HEADER])
    return found[1] or found[2]


def _fingerprint(request: Request) -> str:
    asked = request._request
    try:
        body = asked.body
    except RawPostDataException as error:
        # A form with files, which the check for CSRF has looked into.
        raise exceptions.UnsupportedMediaType(request.content_type) from error
    return sha256(f"{asked.method} {asked.get_full_path()}\n".encode() + body).hexdigest()
