"""What holds for every operation of ``/api/v1/``, added to the OpenAPI schema once instead of to each view."""

from collections.abc import Iterator
from typing import Any

from api.idempotency import HEADER, KEY_PATTERN
from api.problems import PAGE, ROOT

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_WORDS = {
    "400": f"Not valid. Each kind of problem is described at {PAGE}.",
    "401": "Nobody is signed in, or the token is unknown, revoked or expired.",
    "403": "This account may not do that, or its token is read-only.",
    "404": "There is no such thing.",
    "406": "None of the formats that Accept names.",
    "409": "It does not fit the present state.",
    "412": "Not the version that If-Match names.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "422": "The idempotency key was sent with another request.",
    "429": "Too many requests in this minute.",
    "500": "Something failed here; nothing was changed.",
}
_EVERYWHERE = ("401", "403", "406", "429", "500")
_TEXT = {"schema": {"type": "string"}}
_HEADERS = {
    "RateLimit-Policy": {"description": 'The quota and its window in seconds: `"default";q=600;w=60`.', **_TEXT},
    "RateLimit": {"description": 'What is left, and until when in seconds: `"default";r=599;t=60`.', **_TEXT},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
}
_KEY = {
    "name": HEADER,
    "in": "header",
    "description": "Makes the request safe to repeat for 24 hours: the same key gets the same answer.",
    "schema": {"type": "string", "pattern": f"^({KEY_PATTERN})$"},
    "example": "8e03978e-40d5-43dd-bc93-6894a57f9324",
}


def add_conventions(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A postprocessing hook of drf-spectacular."""
    result["components"]["headers"] = _HEADERS
    result["components"]["responses"] = {
        f"Problem{code}": {
            "description": words,
            "content": _PROBLEM,
            "headers": _limits("Retry-After") if code == "429" else _limits(),
        }
        for code, words in _WORDS.items()
    }
    for method, operation in _operations(result):
        operation["responses"] = dict(sorted(_responses(operation).items()))
        if method == "post":
            operation.setdefault("parameters", []).append(_KEY)
        for content in operation.get("requestBody", {}).get("content", {}).values():
            name = content["schema"].get("$ref", "").rpartition("/")[2]
            _close(result["components"]["schemas"], name)
    return result


def _operations(result: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in result["paths"].items():
        if path.startswith(ROOT):
            yield from ((method, item[method]) for method in ("get", "post", "patch") if method in item)


def _responses(operation: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {code: {"$ref": f"#/components/responses/Problem{code}"} for code in _EVERYWHERE}
    for code, response in operation["responses"].items():
        if "application/problem+json" in response.get("content", {}):
            own = response.get("headers", {})
            found[code] = (
                {"$ref": f"#/components/responses/Problem{code}"}
                if not own
                else {
                    "description": _WORDS[code],
                    "content": _PROBLEM,
                    "headers": {**own, **_limits()},
                }
            )
        else:
            found[code] = {**response, "headers": {**response.get("headers", {}), **_limits()}}
    return found


def _limits(*others: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("RateLimit-Policy", "RateLimit", *others)}


def _close(schemas: dict[str, Any], name: str) -> None:
    """A body may hold the fields named and no others, and so may the objects in it."""
    schema = schemas[name]
    schema["additionalProperties"] = False
    for part in schema.get("properties", {}).values():
        inner = part.get("items", {}).get("$ref", "").rpartition("/")[2]
        if "properties" in schemas.get(inner, {}):
            _close(schemas, inner)
