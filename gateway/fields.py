"""Reading what a JSON document holds, piece by piece: what is wrong is refused by its path. Pure.

A reader takes a value and its path, and returns what it is read as or raises ApiError (400).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from gateway.errors import ApiError

# No schema needs as many; what is read here is written again, which some thousand levels break.
MAX_DEPTH = 64
TOO_DEEP = f"is nested too deeply: {MAX_DEPTH} levels are the most."

Reader = Callable[[Any, str], Any]
T = TypeVar("T")


def wrong(param: str, why: str, *, code: str = "invalid_value") -> ApiError:
    """To raise: 400 that names the parameter and says why."""
    return ApiError(400, f"{param}: {why}", code=code, param=param)


def only(given: dict[str, Any], path: str, *names: str) -> dict[str, Any]:
    """What is given by these names. Others may be empty alone: an SDK sends back what it got, with what is empty."""
    for name, value in given.items():
        if name not in names and not _is_empty(value):
            raise wrong(f"{path}.{name}", "It is not served here.", code="unsupported_parameter")
    return {name: given[name] for name in names if given.get(name) is not None}


def _is_empty(value: Any) -> bool:
    """Or holds only what is. False and 0 are something."""
    return value in (None, "", [], {}) or (isinstance(value, dict) and all(map(_is_empty, value.values())))


def check_depth(given: Mapping[str, Any]) -> None:
    """Raise ApiError for a value that nests more than MAX_DEPTH levels."""
    for name, value in given.items():
        level, depth = [[value]], 1
        while level := _nested_in(level):
            depth += 1
            if depth > MAX_DEPTH:
                raise wrong(name, f"It {TOO_DEEP}", code="invalid_json")


def _nested_in(level: Iterable[Any]) -> list[Any]:
    values = (value for each in level for value in (each.values() if isinstance(each, dict) else each))
    return [value for value in values if isinstance(value, (dict, list))]


def _typed(kind: type[T], called: str) -> Callable[[Any, str], T]:
    def read(given: Any, path: str) -> T:
        if not isinstance(given, kind):
            raise wrong(path, f"It must be {called}.", code="invalid_type")
        return given

    return read


text = _typed(str, "text")
boolean = _typed(bool, "true or false")
an_object = _typed(dict, "an object")
a_list = _typed(list, "a list")


def filled_list(given: Any, path: str) -> list[Any]:
    """With at least one item."""
    if not a_list(given, path):
        raise wrong(path, "It must not be empty.")
    return list(given)


def integer(given: Any, path: str) -> int:
    """Of any size."""
    if not isinstance(given, int) or isinstance(given, bool):
        raise wrong(path, "It must be a whole number.", code="invalid_type")
    return given


def positive(given: Any, path: str) -> int:
    """Of 31 bits, and not 0."""
    if integer(given, path) < 1:
        raise wrong(path, "It must be at least 1.")
    if given >= 1 << 31:
        raise wrong(path, f"It is too large: {(1 << 31) - 1} is the most.")
    return int(given)


def number_between(low: float, high: float) -> Reader:
    """A reader of whole numbers and fractions, both ends included."""

    def read(given: Any, path: str) -> float:
        if not isinstance(given, int | float) or isinstance(given, bool):
            raise wrong(path, "It must be a number.", code="invalid_type")
        if not low <= given <= high:
            raise wrong(path, f"It must be from {low} to {high}.")
        return float(given)

    return read
