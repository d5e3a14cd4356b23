"""Bodies as they come in."""

import json
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import exceptions, status
from rest_framework.parsers import JSONParser

# Many times what a change takes; a body is read into memory whole.
MAX_BODY_BYTES = 100_000


class BodyTooLarge(exceptions.APIException):
    """More than any change needs."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = gettext_lazy("The body is too large.")
    default_code = "too_large"


class StrictJSONParser(JSONParser):
    """JSON as its standard has it: no NaN, no half of a character, and no depth or length that could hurt."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """The body's value. ParseError where it is not JSON."""
        body = stream.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge
        try:
            value = json.loads(body, parse_constant=_refuse_constant)
            # A lone surrogate can't be written down again, neither in an answer nor in the database.
            json.dumps(value, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise exceptions.ParseError(_("The body is not valid JSON.")) from error
        return value


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
