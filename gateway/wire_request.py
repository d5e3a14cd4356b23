"""A request for chat completions in OpenAI's words, as it is on the wire. Pure.

Source: platform.openai.com/docs/api-reference/chat. Whatever a body holds that is not understood here is refused by
name: nothing is dropped in silence.
"""

import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from chat.json_bytes import read_json
from chat.providers.base import ChatMessage, Image, Options, Role, Tool, ToolCall
from gateway.errors import ApiError

MAX_UNIT = 200
# No schema needs as many; what is read here is written again, which some thousand levels break.
MAX_DEPTH = 64
_TOO_DEEP = f"is nested too deeply: {MAX_DEPTH} levels are the most."
_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
# These say what happens anyway.
_HARMLESS: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "store": (False,),
    "service_tier": ("auto", "default"),
    "modalities": (["text"],),
    "logit_bias": ({},),
}
_NUMBERS = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What a program asks for. ``unit`` is the body's ``user`` or ``safety_identifier``, "" for none."""

    model: str
    messages: tuple[ChatMessage, ...]
    options: Options
    stream: bool
    include_usage: bool
    unit: str


def parse_completion(body: bytes) -> Completion:
    """Read a request's body. Raises ApiError (400), which names the parameter."""
    try:
        given = read_json(body)
    except ValueError:
        raise ApiError(400, "The body is not valid JSON.", code="invalid_json") from None
    except RecursionError:
        raise ApiError(400, f"The body {_TOO_DEEP}", code="invalid_json") from None
    if not isinstance(given, dict):
        raise ApiError(400, "The body must be a JSON object.", code="invalid_json")
    # Most bodies have fewer brackets in all.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _check_depth(given)
    fields = _Fields({name: value for name, value in given.items() if value is not None})
    stream = fields.take("stream", _boolean) or False
    stream_options = fields.take("stream_options", _object) or {}
    user, identifier = fields.take("user", _unit), fields.take("safety_identifier", _unit)
    completion = Completion(
        model=fields.need("model", _text),
        messages=tuple(
            _message(item, f"messages[{n}]") for n, item in enumerate(fields.need("messages", _filled_list))
        ),
        options=_options(fields),
        stream=stream,
        include_usage=_include_usage(stream_options, stream=stream),
        unit=user or identifier or "",
    )
    fields.refuse_rest()
    return completion


Reader = Callable[[Any, str], Any]
T = TypeVar("T")


class _Fields:
    """A body's fields, each read once; what nobody reads is refused."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._left = given

    def take(self, name: str, read: Reader) -> Any:
        return read(self._left.pop(name), name) if name in self._left else None

    def need(self, name: str, read: Reader) -> Any:
        if name not in self._left:
            raise _wrong(name, "It is required.", code="missing_required_parameter")
        return self.take(name, read)

    def refuse_rest(self) -> None:
        for name, value in self._left.items():
            if name in _HINTS:
                _HINTS[name](value, name)
                continue
            served = _HARMLESS.get(name, ())
            if value not in served:
                told = f"Only {' or '.join(map(json.dumps, served))} is" if served else "It is not"
                raise _wrong(name, f"{told} served here.", code="unsupported_parameter")


def _wrong(param: str, why: str, *, code: str = "invalid_value") -> ApiError:
    return ApiError(400, f"{param}: {why}", code=code, param=param)


def _only(given: dict[str, Any], path: str, *names: str) -> dict[str, Any]:
    """What is given by these names. Others may be empty alone: an SDK sends back what it got, with what is empty."""
    for name, value in given.items():
        if name not in names and not _is_empty(value):
            raise _wrong(f"{path}.{name}", "It is not served here.", code="unsupported_parameter")
    return {name: given[name] for name in names if given.get(name) is not None}


def _is_empty(value: Any) -> bool:
    """Or holds only what is. False and 0 are something."""
    return value in (None, "", [], {}) or (isinstance(value, dict) and all(map(_is_empty, value.values())))


def _check_depth(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        level, depth = [[value]], 1
        while level := _nested_in(level):
            depth += 1
            if depth > MAX_DEPTH:
                raise _wrong(name, f"It {_TOO_DEEP}", code="invalid_json")


def _nested_in(level: Iterable[Any]) -> list[Any]:
    values = (value for each in level for value in (each.values() if isinstance(each, dict) else each))
    return [value for value in values if isinstance(value, (dict, list))]


def _typed(kind: type[T], called: str) -> Callable[[Any, str], T]:
    def read(given: Any, path: str) -> T:
        if not isinstance(given, kind):
            raise _wrong(path, f"It must be {called}.", code="invalid_type")
        return given

    return read


_text = _typed(str, "text")
_boolean = _typed(bool, "true or false")
_object = _typed(dict, "an object")
_list = _typed(list, "a list")


# For the vendor's cache and its own lists, without effect on what is answered.
_HINTS: Mapping[str, Reader] = {"prompt_cache_key": _text, "prompt_cache_retention": _text, "metadata": _object}


def _unit(given: Any, path: str) -> str:
    text = _text(given, path)
    if len(text) > MAX_UNIT or any(unicodedata.category(each) in ("Cc", "Cs") for each in text):
        raise _wrong(path, f"It must be text of at most {MAX_UNIT} characters, none of them a control character.")
    return text


def _filled_list(given: Any, path: str) -> list[Any]:
    if not _list(given, path):
        raise _wrong(path, "It must not be empty.")
    return list(given)


def _integer(given: Any, path: str) -> int:
    if not isinstance(given, int) or isinstance(given, bool):
        raise _wrong(path, "It must be a whole number.", code="invalid_type")
    return given


def _positive(given: Any, path: str) -> int:
    if _integer(given, path) < 1:
        raise _wrong(path, "It must be at least 1.")
    if given >= 1 << 31:
        raise _wrong(path, f"It is too large: {(1 << 31) - 1} is the most.")
    return int(given)


def _seed(given: Any, path: str) -> int:
    if not -(1 << 63) <= _integer(given, path) < 1 << 63:
        raise _wrong(path, "It must be a 64-bit number.")
    return int(given)


def _number_between(low: float, high: float) -> Reader:
    def read(given: Any, path: str) -> float:
        if not isinstance(given, int | float) or isinstance(given, bool):
            raise _wrong(path, "It must be a number.", code="invalid_type")
        if not low <= given <= high:
            raise _wrong(path, f"It must be from {low} to {high}.")
        return float(given)

    return read


def _include_usage(given: dict[str, Any], *, stream: bool) -> bool:
    if given and not stream:
        raise _wrong("stream_options", "It goes with stream only.")
    known = _only(given, "stream_options", "include_usage", "include_obfuscation")
    if _boolean(known.get("include_obfuscation", False), "stream_options.include_obfuscation"):
        raise _wrong("stream_options.include_obfuscation", "Only false is served here.", code="unsupported_parameter")
    return _boolean(known.get("include_usage", False), "stream_options.include_usage")


def _options(fields: _Fields) -> Options:
    most, older = fields.take("max_completion_tokens", _positive), fields.take("max_tokens", _positive)
    if most is not None and older not in (None, most):
        raise _wrong("max_tokens", "max_completion_tokens says something else.")
    tools = tuple(_tool(item, f"tools[{n}]") for n, item in enumerate(fields.take("tools", _list) or []))
    choice, parallel = fields.take("tool_choice", _tool_choice), fields.take("parallel_tool_calls", _boolean)
    if not tools and choice not in (None, "none", "auto"):
        raise _wrong("tool_choice", "There are no tools to choose from.")
    return Options(
        **{name: fields.take(name, _number_between(*span)) for name, span in _NUMBERS.items()},
        max_tokens=older if most is None else most,
        seed=fields.take("seed", _seed),
        stop=fields.take("stop", _stop) or (),
        reasoning_effort=fields.take("reasoning_effort", _text),
        verbosity=fields.take("verbosity", _text),
        response_format=fields.take("response_format", _response_format),
        tools=tools,
        tool_choice=choice if tools else None,
        parallel_tool_calls=parallel if tools else None,
    )


def _stop(given: Any, path: str) -> tuple[str, ...]:
    listed = [given] if isinstance(given, str) else _list(given, path)
    if len(listed) > 4:
        raise _wrong(path, "There can be 4 at most.")
    return tuple(_text(item, f"{path}[{n}]") for n, item in enumerate(listed))


def _response_format(given: Any, path: str) -> Mapping[str, Any] | None:
    known = _only(_object(given, path), path, "type", "json_schema")
    kind = known.get("type")
    if kind == "text":
        return None
    if kind not in ("json_object", "json_schema"):
        raise _wrong(f"{path}.type", "It must be text, json_object or json_schema.")
    if kind == "json_schema":
        known["json_schema"] = _json_schema(known.get("json_schema"), f"{path}.json_schema")
    return known


def _json_schema(given: Any, path: str) -> dict[str, Any]:
    known = _only(_object(given, path), path, "name", "description", "schema", "strict")
    _object(known.get("schema", {}), f"{path}.schema")
    _text(known.get("name"), f"{path}.name")
    _text(known.get("description", ""), f"{path}.description")
    _boolean(known.get("strict", False), f"{path}.strict")
    return known


def _function(given: Any, path: str, *names: str, beside: tuple[str, ...] = ()) -> dict[str, Any]:
    """What ``{"type": "function", "function": …}`` holds, and ``beside`` it."""
    if _object(given, path).get("type") != "function":
        raise _wrong(f"{path}.type", "Only functions are served here.", code="unsupported_parameter")
    _only(given, path, "type", "function", *beside)
    return _only(_object(given.get("function"), f"{path}.function"), f"{path}.function", *names)


def _tool(given: Any, path: str) -> Tool:
    function = _function(given, path, "name", "description", "parameters", "strict")
    return Tool(
        name=_text(function.get("name"), f"{path}.function.name"),
        description=_text(function.get("description", ""), f"{path}.function.description"),
        parameters=_object(function["parameters"], f"{path}.function.parameters") if "parameters" in function else None,
        strict=_boolean(function["strict"], f"{path}.function.strict") if "strict" in function else None,
    )


def _tool_choice(given: Any, path: str) -> str | Mapping[str, Any]:
    if isinstance(given, str):
        if given not in ("none", "auto", "required"):
            raise _wrong(path, "It must be none, auto, required or a function.")
        return given
    name = _text(_function(given, path, "name").get("name"), f"{path}.function.name")
    return {"type": "function", "function": {"name": name}}


def _message(given: Any, path: str) -> ChatMessage:
    fields = dict(_object(given, path))
    role = _ROLES.get(str(fields.pop("role", "")))
    if role is None:
        raise _wrong(f"{path}.role", f"It must be one of: {', '.join(_ROLES)}.")
    content = fields.pop("content", None)
    if role == "assistant":
        # The SDKs send back what they have made of the content, and an empty list where there are calls alone.
        fields.pop("parsed", None)
        content = content or None
    content = _content(content, f"{path}.content", role)
    if role == "assistant" and (declined := fields.pop("refusal", None)):
        # What the model said when it declined, sent back: its words like others.
        said = (content,) if isinstance(content, str) else content
        content = (*filter(None, said), _text(declined, f"{path}.refusal"))
    calls = _list(fields.pop("tool_calls", None) or [], f"{path}.tool_calls")
    call_id = _text(fields.pop("tool_call_id", None) or "", f"{path}.tool_call_id")
    name = _text(fields.pop("name", None) or "", f"{path}.name")
    if role == "tool" and not call_id:
        raise _wrong(f"{path}.tool_call_id", "It is required.", code="missing_required_parameter")
    _only(fields, path)
    made = tuple(_tool_call(item, f"{path}.tool_calls[{n}]") for n, item in enumerate(calls))
    return ChatMessage(role=role, content=content, tool_calls=made, tool_call_id=call_id, name=name)


def _content(given: Any, path: str, role: Role) -> str | tuple[str | Image, ...]:
    if given is None and role == "assistant":
        return ""
    if given is None:
        raise _wrong(path, "It is required.", code="missing_required_parameter")
    if isinstance(given, str):
        return given
    parts: list[str | Image] = []
    for number, part in enumerate(_filled_list(given, path)):
        where = f"{path}[{number}]"
        kind = _object(part, where).get("type")
        if kind == "text" or (kind == "refusal" and role == "assistant"):
            _only(part, where, "type", kind)
            parts.append(_text(part.get(kind), f"{where}.{kind}"))
        elif kind == "image_url" and role == "user":
            image = _object(_only(part, where, "type", "image_url").get("image_url"), f"{where}.image_url")
            _only(image, f"{where}.image_url", "url", "detail")
            url = _text(image.get("url"), f"{where}.image_url.url")
            if not url.startswith(("data:image/", "https://")):
                raise _wrong(f"{where}.image_url.url", "It must be an https address or a data: URL of an image.")
            parts.append(Image(url=url, detail=_text(image.get("detail") or "", f"{where}.image_url.detail")))
        else:
            raise _wrong(f"{where}.type", "It is not served here.", code="unsupported_parameter")
    return tuple(parts)


def _tool_call(given: Any, path: str) -> ToolCall:
    # A stream's pieces have an index, and an application may send them back put together.
    _integer(_object(given, path).get("index") or 0, f"{path}.index")
    call = {**given, "type": given.get("type") or "function"}
    # What the SDKs have made of the arguments says nothing else.
    function = _function(call, path, "name", "arguments", "parsed_arguments", beside=("id", "index"))
    return ToolCall(
        id=_text(given.get("id"), f"{path}.id"),
        name=_text(function.get("name"), f"{path}.function.name"),
        arguments=_text(function.get("arguments"), f"{path}.function.arguments"),
    )
