"""JSON as bytes, quickly: by orjson, and what that refuses and Python's own ``json`` takes, by that. Pure."""

import json
from typing import Any

import orjson


def read_json(data: bytes) -> Any:
    """What the data says; ValueError where it is no JSON. Half a surrogate pair is taken: models write them."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data.decode())


def write_json(document: Any) -> bytes:
    """Half a surrogate pair and numbers beyond 64 bits as Python has them. TypeError for what JSON has no word for."""
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        return json.dumps(document).encode()
