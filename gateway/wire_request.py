"""A request for chat completions in OpenAI's words, as it is on the wire. Pure.

Source: platform.openai.com/docs/api-reference/chat. Whatever a body holds that is not understood here is refused by
name: nothing is dropped in silence.
"""

import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chat.json_bytes import read_json
from chat.providers.base import ChatMessage, Image, Options, Role, Tool, ToolCall
from gateway.errors import ApiError

MAX_UNIT = 200
# No schema needs as many; what is read here is written again, which some thousand levels break.
MAX_DEPTH = 64
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
    "metadata": ({},),
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
    except (ValueError, RecursionError):
        raise ApiError(400, "The body is not valid JSON.", code="invalid_json") from None
    if not isinstance(given, dict):
        raise ApiError(400, "The body must be a JSON object.", code="invalid_json")
    # Most bodies have fewer brackets in all.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _check_depth(given)
    fields = _Fields({name: value for name, value in given.items() if value is not None})
    stream = fields.take("stream", _boolean) or False
    stream_options = fields.take("stream_options", _object) or {}
    user, identifier = fields.take("user", _unit), fields.take("safety_identifier", _unit)
    # A hint for the vendor's cache, without effect on what is answered.
    fields.take("prompt_cache_key", _text)
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
            served = _HARMLESS.get(name, ())
            if value not in served:
                told = f"Only {' or '.join(map(json.dumps, served))} is" if served else "It is not"
                raise _wrong(name, f"{told} served here.", code="unsupported_parameter")


def _wrong(param: str, why: str, *, code: str = "invalid_value") -> ApiError:
    return ApiError(400, f"{param}: {why}", code=code, param=param)


def _only(given: dict[str, Any], path: str, *names: str) -> dict[str, Any]:
    """Refuse other names, but those with nothing in them: an SDK sends back what it got, with what is empty in it."""
    for name, value in given.items():
        if name not in names and value:
            raise _wrong(f"{path}.{name}", "It is not served here.", code="unsupported_parameter")
    return given


def _check_depth(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        level, depth = [value], 1
        while level := [inner for each in level for inner in _inside(each)]:
            depth += 1
            if depth > MAX_DEPTH:
                raise _wrong(name, f"It is nested more than {MAX_DEPTH} levels deep.")


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _text(given: Any, path: str) -> str:
    if not isinstance(given, str):
        raise _wrong(path, "It must be text.", code="invalid_type")
    return given


def _unit(given: Any, path: str) -> str:
    text = _text(given, path)
    if len(text) > MAX_UNIT or any(unicodedata.category(each) in ("Cc", "Cs") for each in text):
        raise _wrong(path, f"It must be text of at most {MAX_UNIT} characters, none of them a control character.")
    return text


def _boolean(given: Any, path: str) -> bool:
    if not isinstance(given, bool):
        raise _wrong(path, "It must be true or false.", code="invalid_type")
    return given


def _object(given: Any, path: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise _wrong(path, "It must be an object.", code="invalid_type")
    return given


def _list(given: Any, path: str) -> list[Any]:
    if not isinstance(given, list):
        raise _wrong(path, "It must be a list.", code="invalid_type")
    return given


def _filled_list(given: Any, path: str) -> list[Any]:
    if not _list(given, path):
        raise _wrong(path, "It must not be empty.")
    return list(given)


def _integer(given: Any, path: str) -> int:
    if not isinstance(given, int) or isinstance(given, bool):
        raise _wrong(path, "It must be a whole number.", code="invalid_type")
    return given


def _positive(given: Any, path: str) -> int:
    if not 0 < _integer(given, path) < 1 << 31:
        raise _wrong(path, f"It must be from 1 to {(1 << 31) - 1}.")
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
    _only(given, "stream_options", "include_usage")
    return _boolean(given.get("include_usage", False), "stream_options.include_usage")


def _options(fields: _Fields) -> Options:
    most, older = fields.take("max_completion_tokens", _positive), fields.take("max_tokens", _positive)
    if most is not None and older not in (None, most):
        raise _wrong("max_tokens", "max_completion_tokens says something else.")
    tools = tuple(_tool(item, f"tools[{n}]") for n, item in enumerate(fields.take("tools", _list) or []))
    choice = fields.take("tool_choice", _tool_choice)
    if not tools and choice not in (None, "none", "auto"):
        raise _wrong("tool_choice", "There are no tools to choose from.")
    return Options(
        **{name: fields.take(name, _number_between(*span)) for name, span in _NUMBERS.items()},
        max_tokens=older if most is None else most,
        seed=fields.take("seed", _integer),
        stop=fields.take("stop", _stop) or (),
        reasoning_effort=fields.take("reasoning_effort", _text),
        response_format=fields.take("response_format", _response_format),
        tools=tools,
        tool_choice=choice if tools else None,
        parallel_tool_calls=fields.take("parallel_tool_calls", _boolean),
    )


def _stop(given: Any, path: str) -> tuple[str, ...]:
    listed = [given] if isinstance(given, str) else _list(given, path)
    if len(listed) > 4:
        raise _wrong(path, "There can be 4 at most.")
    return tuple(_text(item, f"{path}[{n}]") for n, item in enumerate(listed))


def _response_format(given: Any, path: str) -> Mapping[str, Any] | None:
    kind = _only(_object(given, path), path, "type", "json_schema").get("type")
    if kind == "text":
        return None
    if kind not in ("json_object", "json_schema"):
        raise _wrong(f"{path}.type", "It must be text, json_object or json_schema.")
    if kind == "json_schema":
        named = _object(given.get("json_schema"), f"{path}.json_schema")
        _only(named, f"{path}.json_schema", "name", "description", "schema", "strict")
        _object(named.get("schema"), f"{path}.json_schema.schema")
    return dict(given)


def _tool(given: Any, path: str) -> Tool:
    if _object(given, path).get("type") != "function":
        raise _wrong(f"{path}.type", "Only functions are served here.", code="unsupported_parameter")
    function = _object(_only(given, path, "type", "function").get("function"), f"{path}.function")
    _only(function, f"{path}.function", "name", "description", "parameters", "strict")
    return Tool(
        name=_text(function.get("name"), f"{path}.function.name"),
        description=_text(function.get("description") or "", f"{path}.function.description"),
        parameters=None
        if function.get("parameters") is None
        else _object(function["parameters"], f"{path}.function.parameters"),
        strict=None if function.get("strict") is None else _boolean(function["strict"], f"{path}.function.strict"),
    )


def _tool_choice(given: Any, path: str) -> str | Mapping[str, Any]:
    if isinstance(given, str):
        if given not in ("none", "auto", "required"):
            raise _wrong(path, "It must be none, auto, required or a function.")
        return given
    if _only(_object(given, path), path, "type", "function").get("type") != "function":
        raise _wrong(f"{path}.type", "Only functions are served here.", code="unsupported_parameter")
    function = _only(_object(given.get("function"), f"{path}.function"), f"{path}.function", "name")
    _text(function.get("name"), f"{path}.function.name")
    return dict(given)


def _message(given: Any, path: str) -> ChatMessage:
    fields = dict(_object(given, path))
    role = _ROLES.get(str(fields.pop("role", "")))
    if role is None:
        raise _wrong(f"{path}.role", f"It must be one of: {', '.join(_ROLES)}.")
    content = _content(fields.pop("content", None), f"{path}.content", role)
    calls = tuple(
        _tool_call(item, f"{path}.tool_calls[{n}]")
        for n, item in enumerate(_list(fields.pop("tool_calls", None) or [], f"{path}.tool_calls"))
    )
    call_id = _text(fields.pop("tool_call_id", None) or "", f"{path}.tool_call_id")
    name = _text(fields.pop("name", None) or "", f"{path}.name")
    if role == "tool" and not call_id:
        raise _wrong(f"{path}.tool_call_id", "It is required.", code="missing_required_parameter")
    _only(fields, path)
    return ChatMessage(role=role, content=content, tool_calls=calls, tool_call_id=call_id, name=name)


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
        if kind == "text":
            _only(part, where, "type", "text")
            parts.append(_text(part.get("text"), f"{where}.text"))
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
    _only(_object(given, path), path, "id", "type", "function", "index")
    function = _object(given.get("function"), f"{path}.function")
    _only(function, f"{path}.function", "name", "arguments")
    return ToolCall(
        id=_text(given.get("id"), f"{path}.id"),
        name=_text(function.get("name"), f"{path}.function.name"),
        arguments=_text(function.get("arguments"), f"{path}.function.arguments"),
    )
