"""Refusals in OpenAI's own shape: ``{"error": {"message", "type", "param", "code"}}``, and the status that goes along.

Source: platform.openai.com/docs/guides/error-codes and the openai SDK, which turns the status into its exceptions.
"""

import json
import math
from collections.abc import Mapping
from http import HTTPStatus

from chat.attempt import Attempt
from chat.providers.base import AuthenticationFailed, InvalidRequest, NotAsked, RateLimited, Unsupported

_TYPES = {
    HTTPStatus.BAD_REQUEST: "invalid_request_error",
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.NOT_FOUND: "invalid_request_error",
    HTTPStatus.METHOD_NOT_ALLOWED: "invalid_request_error",
    HTTPStatus.REQUEST_TIMEOUT: "invalid_request_error",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "invalid_request_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}


class ApiError(Exception):
    """A refusal: status, words for people, ``code`` for programs, and the parameter that is to blame, if one is."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    @property
    def body(self) -> bytes:
        """The JSON document."""
        error = {
            "message": self.message,
            "type": _TYPES.get(HTTPStatus(self.status), "server_error"),
            "param": self.param,
            "code": self.code,
        }
        return json.dumps({"error": error}, ensure_ascii=False).encode(errors="replace")


def is_answer(attempt: Attempt) -> bool:
    """Whether a program gets it as an answer. One without a word is one too, as with the vendor itself, and one that we
    cut because it is too long: as an error it would be asked for again, and paid for, as often as the program's client
    tries.
    """
    return attempt.outcome in ("ok", "refused", "empty") or is_cut(attempt)


def is_cut(attempt: Attempt) -> bool:
    """Whether it is longer than we take."""
    return attempt.error is not None and attempt.chars > attempt.deadlines.max_chars


def error_of(attempt: Attempt) -> ApiError:
    """How an answer that failed is told: in our words, never in a vendor's."""
    error = attempt.error
    if attempt.outcome == "abandoned":
        return shutting_down()
    if isinstance(error, NotAsked):
        return unavailable(error.retry_after_s)
    if isinstance(error, Unsupported):
        return ApiError(400, error.detail, code=error.code, param=error.param)
    if isinstance(error, RateLimited):
        wait = {} if error.retry_after_s is None else _retry_after(error.retry_after_s)
        return ApiError(429, "The model is asked too often just now.", code="upstream_rate_limited", headers=wait)
    if isinstance(error, AuthenticationFailed):
        return ApiError(502, "The model does not take this server's key.", code="upstream_unauthorized")
    if attempt.outcome == "timeout":
        return ApiError(504, "The model did not answer in time.", code="upstream_timeout")
    if isinstance(error, InvalidRequest):
        told = "The model refused the request."
        if error.reason == "context_length_exceeded":
            told = "The messages are longer than the model takes."
        elif error.param is not None:
            told = f"{error.param}: The model refuses it."
        return ApiError(400, told, code=error.reason or "upstream_invalid_request", param=error.param)
    return ApiError(502, "The model could not be reached, or broke off.", code="upstream_unavailable")


def unavailable(retry_after_s: float) -> ApiError:
    """The model has failed too often, or has no place left, and nothing else may answer."""
    told = "The model can't answer just now. Try again later."
    return ApiError(503, told, code="model_unavailable", headers=_retry_after(retry_after_s))


def shutting_down() -> ApiError:
    """This process ends; the next one answers."""
    return ApiError(503, "The server is going down. Try again.", code="shutting_down", headers=_retry_after(1))


def database_away() -> ApiError:
    """Nothing can be looked up or kept."""
    told = "The database can't be asked just now. Try again later."
    return ApiError(503, told, code="database_unavailable", headers=_retry_after(1))


def overloaded(retry_after_s: float) -> ApiError:
    """This process has as many answers as it may have."""
    told = "Too many answers are being written just now. Try again later."
    return ApiError(503, told, code="overloaded", headers=_retry_after(retry_after_s))


def _retry_after(wait_s: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(wait_s)))}
