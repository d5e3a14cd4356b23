"""A request for chat completions in OpenAI's words, as it is on the wire. Pure.

Source: platform.openai.com/docs/api-reference/chat. Whatever a body holds that is not understood here is refused by
name: nothing is dropped in silence.
"""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chat.json_bytes import read_json
from chat.providers.base import ChatMessage, Image, Options, Role, Tool, ToolCall
from gateway.errors import ApiError
from gateway.fields import (
    MAX_DEPTH,
    TOO_DEEP,
    Reader,
    a_list,
    an_object,
    boolean,
    check_depth,
    filled_list,
    integer,
    number_between,
    only,
    positive,
    text,
    wrong,
)

MAX_UNIT = 200
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
        raise ApiError(400, f"The body {TOO_DEEP}", code="invalid_json") from None
    if not isinstance(given, dict):
        raise ApiError(400, "The body must be a JSON object.", code="invalid_json")
    # Most bodies have fewer brackets in all.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        check_depth(given)
    fields = _Fields({name: value for name, value in given.items() if value is not None})
    stream = fields.take("stream", boolean) or False
    stream_options = fields.take("stream_options", an_object) or {}
    user, identifier = fields.take("user", _unit), fields.take("safety_identifier", _unit)
    completion = Completion(
        model=fields.need("model", text),
        messages=tuple(_message(item, f"messages[{n}]") for n, item in enumerate(fields.need("messages", filled_list))),
        options=_options(fields),
        stream=stream,
        include_usage=_include_usage(stream_options, stream=stream),
        unit=user or identifier or "",
    )
    fields.refuse_rest()
    return completion


class _Fields:
    """A body's fields, each read once; what nobody reads is refused."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._left = given

    def take(self, name: str, read: Reader) -> Any:
        return read(self._left.pop(name), name) if name in self._left else None

    def need(self, name: str, read: Reader) -> Any:
        if name not in self._left:
            raise wrong(name, "It is required.", code="missing_required_parameter")
        return self.take(name, read)

    def refuse_rest(self) -> None:
        for name, value in self._left.items():
            if name in _HINTS:
                _HINTS[name](value, name)
                continue
            served = _HARMLESS.get(name, ())
            if value not in served:
                told = f"Only {' or '.join(map(json.dumps, served))} is" if served else "It is not"
                raise wrong(name, f"{told} served here.", code="unsupported_parameter")


# For the vendor's cache and its own lists, without effect on what is answered.
_HINTS: Mapping[str, Reader] = {"prompt_cache_key": text, "prompt_cache_retention": text, "metadata": an_object}


def _unit(given: Any, path: str) -> str:
    unit = text(given, path)
    if len(unit) > MAX_UNIT or any(unicodedata.category(each) in ("Cc", "Cs") for each in unit):
        raise wrong(path, f"It must be text of at most {MAX_UNIT} characters, none of them a control character.")
    return unit


def _seed(given: Any, path: str) -> int:
    if not -(1 << 63) <= integer(given, path) < 1 << 63:
        raise wrong(path, "It must be a 64-bit number.")
    return int(given)


def _include_usage(given: dict[str, Any], *, stream: bool) -> bool:
    if given and not stream:
        raise wrong("stream_options", "It goes with stream only.")
    known = only(given, "stream_options", "include_usage", "include_obfuscation")
    if boolean(known.get("include_obfuscation", False), "stream_options.include_obfuscation"):
        raise wrong("stream_options.include_obfuscation", "Only false is served here.", code="unsupported_parameter")
    return boolean(known.get("include_usage", False), "stream_options.include_usage")


def _options(fields: _Fields) -> Options:
    most, older = fields.take("max_completion_tokens", positive), fields.take("max_tokens", positive)
    if most is not None and older not in (None, most):
        raise wrong("max_tokens", "max_completion_tokens says something else.")
    tools = tuple(_tool(item, f"tools[{n}]") for n, item in enumerate(fields.take("tools", a_list) or []))
    choice, parallel = fields.take("tool_choice", _tool_choice), fields.take("parallel_tool_calls", boolean)
    if not tools and choice not in (None, "none", "auto"):
        raise wrong("tool_choice", "There are no tools to choose from.")
    return Options(
        **{name: fields.take(name, number_between(*span)) for name, span in _NUMBERS.items()},
        max_tokens=older if most is None else most,
        seed=fields.take("seed", _seed),
        stop=fields.take("stop", _stop) or (),
        reasoning_effort=fields.take("reasoning_effort", text),
        verbosity=fields.take("verbosity", text),
        response_format=fields.take("response_format", _response_format),
        tools=tools,
        tool_choice=choice if tools else None,
        parallel_tool_calls=parallel if tools else None,
    )


def _stop(given: Any, path: str) -> tuple[str, ...]:
    listed = [given] if isinstance(given, str) else a_list(given, path)
    if len(listed) > 4:
        raise wrong(path, "There can be 4 at most.")
    return tuple(text(item, f"{path}[{n}]") for n, item in enumerate(listed))


def _response_format(given: Any, path: str) -> Mapping[str, Any] | None:
    known = only(an_object(given, path), path, "type", "json_schema")
    kind = known.get("type")
    if kind == "text":
        return None
    if kind not in ("json_object", "json_schema"):
        raise wrong(f"{path}.type", "It must be text, json_object or json_schema.")
    if kind == "json_schema":
        known["json_schema"] = _json_schema(known.get("json_schema"), f"{path}.json_schema")
    return known


def _json_schema(given: Any, path: str) -> dict[str, Any]:
    known = only(an_object(given, path), path, "name", "description", "schema", "strict")
    an_object(known.get("schema", {}), f"{path}.schema")
    text(known.get("name"), f"{path}.name")
    text(known.get("description", ""), f"{path}.description")
    boolean(known.get("strict", False), f"{path}.strict")
    return known


def _function(given: Any, path: str, *names: str, beside: tuple[str, ...] = ()) -> dict[str, Any]:
    """What ``{"type": "function", "function": …}`` holds, and ``beside`` it."""
    if an_object(given, path).get("type") != "function":
        raise wrong(f"{path}.type", "Only functions are served here.", code="unsupported_parameter")
    only(given, path, "type", "function", *beside)
    return only(an_object(given.get("function"), f"{path}.function"), f"{path}.function", *names)


def _tool(given: Any, path: str) -> Tool:
    function = _function(given, path, "name", "description", "parameters", "strict")
    parameters, strict = function.get("parameters"), function.get("strict")
    return Tool(
        name=text(function.get("name"), f"{path}.function.name"),
        description=text(function.get("description", ""), f"{path}.function.description"),
        parameters=None if parameters is None else an_object(parameters, f"{path}.function.parameters"),
        strict=None if strict is None else boolean(strict, f"{path}.function.strict"),
    )


def _tool_choice(given: Any, path: str) -> str | Mapping[str, Any]:
    if isinstance(given, str):
        if given not in ("none", "auto", "required"):
            raise wrong(path, "It must be none, auto, required or a function.")
        return given
    name = text(_function(given, path, "name").get("name"), f"{path}.function.name")
    return {"type": "function", "function": {"name": name}}


def _message(given: Any, path: str) -> ChatMessage:
    fields = dict(an_object(given, path))
    role = _ROLES.get(str(fields.pop("role", "")))
    if role is None:
        raise wrong(f"{path}.role", f"It must be one of: {', '.join(_ROLES)}.")
    content = fields.pop("content", None)
    if role == "assistant":
        # The SDKs send back what they have made of the content, and an empty list where there are calls alone.
        fields.pop("parsed", None)
        content = content or None
    content = _content(content, f"{path}.content", role)
    if role == "assistant" and (declined := fields.pop("refusal", None)):
        # What the model said when it declined, sent back: its words like others.
        said = (content,) if isinstance(content, str) else content
        content = (*filter(None, said), text(declined, f"{path}.refusal"))
    calls = a_list(fields.pop("tool_calls", None) or [], f"{path}.tool_calls")
    call_id = text(fields.pop("tool_call_id", None) or "", f"{path}.tool_call_id")
    name = text(fields.pop("name", None) or "", f"{path}.name")
    if role == "tool" and not call_id:
        raise wrong(f"{path}.tool_call_id", "It is required.", code="missing_required_parameter")
    only(fields, path)
    made = tuple(_tool_call(item, f"{path}.tool_calls[{n}]") for n, item in enumerate(calls))
    return ChatMessage(role=role, content=content, tool_calls=made, tool_call_id=call_id, name=name)


def _content(given: Any, path: str, role: Role) -> str | tuple[str | Image, ...]:
    if given is None and role == "assistant":
        return ""
    if given is None:
        raise wrong(path, "It is required.", code="missing_required_parameter")
    if isinstance(given, str):
        return given
    parts: list[str | Image] = []
    for number, part in enumerate(filled_list(given, path)):
        where = f"{path}[{number}]"
        kind = an_object(part, where).get("type")
        if kind == "text" or (kind == "refusal" and role == "assistant"):
            only(part, where, "type", kind)
            parts.append(text(part.get(kind), f"{where}.{kind}"))
        elif kind == "image_url" and role == "user":
            image = an_object(only(part, where, "type", "image_url").get("image_url"), f"{where}.image_url")
            only(image, f"{where}.image_url", "url", "detail")
            url = text(image.get("url"), f"{where}.image_url.url")
            if not url.startswith(("data:image/", "https://")):
                raise wrong(f"{where}.image_url.url", "It must be an https address or a data: URL of an image.")
            parts.append(Image(url=url, detail=text(image.get("detail") or "", f"{where}.image_url.detail")))
        else:
            raise wrong(f"{where}.type", "It is not served here.", code="unsupported_parameter")
    return tuple(parts)


def _tool_call(given: Any, path: str) -> ToolCall:
    # A stream's pieces have an index, and an application may send them back put together.
    integer(an_object(given, path).get("index") or 0, f"{path}.index")
    call = {**given, "type": given.get("type") or "function"}
    # What the SDKs have made of the arguments says nothing else.
    function = _function(call, path, "name", "arguments", "parsed_arguments", beside=("id", "index"))
    return ToolCall(
        id=text(given.get("id"), f"{path}.id"),
        name=text(function.get("name"), f"{path}.function.name"),
        arguments=text(function.get("arguments"), f"{path}.function.arguments"),
    )
