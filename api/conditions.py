"""Entity tags and the two headers that ask about them (RFC 9110, 8.8.3, 13.1)."""

import re

from django.utils.http import parse_etags
from rest_framework.request import Request


def etag_of(version: int) -> str:
    """The strong tag of a thing's version: ``"v7"``, quotes and all."""
    return f'"v{version}"'


def wanted_versions(request: Request) -> list[int] | None:
    """The versions that ``If-Match`` names; ``None`` where any will do. A weak tag, or a strange one, names none."""
    given = request.headers.get("If-Match")
    if given is None or given.strip() == "*":
        return None
    return [int(found[1]) for tag in parse_etags(given) if (found := re.fullmatch(r'"v(\d{1,9})"', tag, re.ASCII))]


def is_known(request: Request, etag: str) -> bool:
    """Whether ``If-None-Match`` says that the client has this already (weak comparison): answer 304."""
    given = request.headers.get("If-None-Match", "").strip()
    return given == "*" or etag.removeprefix("W/") in [tag.removeprefix("W/") for tag in parse_etags(given)]
