"""What people say of answers, handed on by their application. Part of the gateway's services; told the time."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from chat.attempt import clean
from gateway.errors import ApiError
from gateway.models import ApiKey, Feedback
from metrics import services as metrics_services
from metrics.ratings import REASONS, go_together

MAX_COMMENT = 2_000
_THUMBS = {"up": 5, "down": 1}


def take(key: ApiKey, call: str, body: bytes, *, now: datetime) -> dict[str, Any]:
    """Keep it, in place of what was said before: sent twice it is the same. Returns what is kept. Raises ApiError.

    ``body`` is JSON with ``rating`` (1 to 5, "up", "down", or null to take it back), and perhaps ``reason`` and
    ``comment``. Only the application that made the call may send it.
    """
    answer_id = _answer_of(key, call)
    rating, reason, comment = _read(body)
    with transaction.atomic():
        metrics_services.rate(answer_id, rating, reason)
        Feedback.objects.update_or_create(
            answer_id=answer_id,
            defaults={"key": key, "rating": rating, "reason": reason, "comment": comment, "at": now},
        )
    return {"call": str(answer_id), "rating": rating, "reason": reason or None, "comment": comment or None}


def _answer_of(key: ApiKey, call: str) -> UUID:
    try:
        answer_id = UUID(call.removeprefix("chatcmpl-"))
    except ValueError:
        answer_id = None
    if answer_id is None or not metrics_services.is_call_of(answer_id, application=key.prefix):
        raise ApiError(404, "This key made no such call.", code="call_not_found")
    return answer_id


def _read(body: bytes) -> tuple[int | None, str, str]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or "rating" not in given:
        raise ApiError(400, "The body must be a JSON object with a rating.", code="invalid_json", param="rating")
    unknown = sorted(set(given) - {"rating", "reason", "comment"})
    if unknown:
        raise ApiError(400, f"{unknown[0]}: It is not known here.", code="unsupported_parameter", param=unknown[0])
    rating = given["rating"]
    rating = _THUMBS.get(rating, rating) if isinstance(rating, str) else rating
    if rating is not None and (isinstance(rating, bool) or not isinstance(rating, int) or not 1 <= rating <= 5):
        raise ApiError(400, 'rating: It must be 1 to 5, "up", "down" or null.', code="invalid_value", param="rating")
    reason, comment = given.get("reason") or "", given.get("comment") or ""
    if not isinstance(reason, str) or not go_together(rating, reason):
        told = f"reason: It goes with a rating of 1 to 3, and must be one of: {', '.join(REASONS)}."
        raise ApiError(400, told, code="invalid_value", param="reason")
    if not isinstance(comment, str) or len(comment) > MAX_COMMENT or clean(comment) != comment:
        raise ApiError(
            400, f"comment: It must be text of at most {MAX_COMMENT} characters.", code="invalid_value", param="comment"
        )
    return rating, reason, comment
