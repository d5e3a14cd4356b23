"""A request in Gemini's words, as they are on the wire; ``Unsupported`` where it has none for what was asked.

Sources: https://ai.google.dev/api/generate-content for the shapes; https://ai.google.dev/gemini-api/docs/openai
for what OpenAI's words mean there. Knows no SDK.
"""

import base64
import binascii
import json
import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from chat.providers.base import ChatMessage, ChatRequest, Image, Options, Role, Tool, ToolCall, Unsupported

# Models before the third generation think within a budget of tokens, later ones at a level; only the
# former can be told not to, and can't call functions where they are to answer in JSON.
OLDER_MODELS = re.compile(r"gemini-[12]\b")
BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH"}
MODES = {"none": "NONE", "auto": "AUTO", "required": "ANY"}
RESOLUTIONS = {"auto": None, "low": "MEDIA_RESOLUTION_LOW", "high": "MEDIA_RESOLUTION_HIGH"}
MAX_SEED = (1 << 31) - 1
DATA_URL = re.compile(r"data:(image/[\w.+-]+);base64,(.*)", re.DOTALL)
# Separates a call's id from the signature that Gemini wants back with it.
SIGNED = "~"
# What Google documents for calls that another model made: https://ai.google.dev/gemini-api/docs/thought-signatures
FOREIGN_SIGNATURE = b"skip_thought_signature_validator"


def to_document(request: ChatRequest) -> dict[str, Any]:
    """The request's body; only what was asked for."""
    options = request.options
    if options.verbosity is not None:
        raise Unsupported("Gemini has no such setting.", param="verbosity")
    if options.seed is not None and not -MAX_SEED <= options.seed <= MAX_SEED:
        raise Unsupported("Gemini's seeds are 32-bit numbers.", param="seed")
    named = _telling_names(request.messages)
    system = "\n\n".join(
        _speaker(message, named) + message.text for message in request.messages if message.role == "system"
    )
    generation = {
        "temperature": options.temperature,
        "topP": options.top_p,
        "maxOutputTokens": options.max_tokens,
        "seed": options.seed,
        "presencePenalty": options.presence_penalty,
        "frequencyPenalty": options.frequency_penalty,
        "stopSequences": list(options.stop) or None,
        "mediaResolution": _media_resolution(request.messages),
        "thinkingConfig": _thinking(request.upstream_model, options.reasoning_effort),
        **_response_format(request.upstream_model, options),
    }
    document = {
        "contents": _contents(request, named),
        "systemInstruction": {"role": "user", "parts": [{"text": system}]} if system else None,
        "generationConfig": _known(generation) or None,
        **_tools(options),
    }
    return _known(document)


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _telling_names(messages: Sequence[ChatMessage]) -> frozenset[Role]:
    """The roles whose participants are told apart by names. One that all have in common says nothing: many libraries
    name every user "user". A function's result has the function's name in any case.
    """
    names: dict[Role, set[str]] = {}
    for message in messages:
        names.setdefault(message.role, set()).add(message.name)
    return frozenset(role for role, given in names.items() if len(given) > 1 and role != "tool")


def _speaker(message: ChatMessage, named: frozenset[Role]) -> str:
    """Gemini knows no names of participants; in a text it can read them."""
    return f"{message.name}: " if message.name and message.role in named else ""


def _contents(request: ChatRequest, named: frozenset[Role]) -> list[dict[str, Any]]:
    """The turns, without the system's. The results of calls that were made together are one turn."""
    # Of the calls so far: some vendors begin to count anew in each turn.
    names: dict[str, str] = {}
    older = OLDER_MODELS.match(request.upstream_model) is not None
    turns: list[dict[str, Any]] = []
    results: list[dict[str, Any]] | None = None
    for number, message in enumerate(request.messages):
        path = f"messages[{number}]"
        _check_message(message, path)
        if message.role == "system":
            continue
        if message.role != "tool":
            names.update((call.id, call.name) for call in message.tool_calls)
            results = None
            parts = list(_parts(message, path, _speaker(message, named), older=older))
            turns.append({"role": "model" if message.role == "assistant" else "user", "parts": parts})
            continue
        if results is None:
            results = []
            turns.append({"role": "user", "parts": results})
        results.append(_result(message, names, path))
    if not turns:
        raise Unsupported("Gemini wants a message that is not the system's.", param="messages")
    return turns


def join_call_id(own_id: str | None, signature: bytes | None) -> str:
    """An id for a call of Gemini's: its own or a new one, and the signature in base64url behind a ``~``.

    Gemini 3 refuses a conversation whose calls come back without their signatures, and OpenAI's
    protocol has no other place that callers carry from one turn to the next.
    """
    call_id = f"call_{own_id or uuid4().hex[:24]}"
    return call_id + SIGNED + base64.urlsafe_b64encode(signature).decode().rstrip("=") if signature else call_id


def split_call_id(call_id: str) -> tuple[str, bytes | None]:
    """Gemini's id of a call and its signature; ``None`` for a call that another model made."""
    head, _, tail = call_id.rpartition(SIGNED)
    if head.startswith("call_") and tail:
        with suppress(binascii.Error, ValueError):
            signature = base64.b64decode(tail + "=" * (-len(tail) % 4), altchars=b"-_", validate=True)
            return head.removeprefix("call_"), signature
    return call_id.removeprefix("call_"), None


def _check_message(message: ChatMessage, path: str) -> None:
    if message.images and message.role != "user":
        raise Unsupported("Gemini takes images from users alone.", param=f"{path}.content")


def _parts(message: ChatMessage, path: str, speaker: str, *, older: bool) -> Iterator[dict[str, Any]]:
    said = [(number, part) for number, part in enumerate(message.parts) if part]
    if said and speaker:
        yield {"text": speaker}
    if not said and not message.tool_calls:
        yield {"text": ""}
    for number, part in said:
        yield {"text": part} if isinstance(part, str) else _image(part, f"{path}.content[{number}].image_url")
    for number, call in enumerate(message.tool_calls):
        call_id, signature = split_call_id(call.id)
        called: dict[str, Any] = {
            "functionCall": {
                "id": call_id,
                "name": call.name,
                "args": _arguments(call, f"{path}.tool_calls[{number}].function.arguments"),
            }
        }
        # Of calls that are made together, the first one alone is signed.
        if signature is None and number == 0 and not older:
            signature = FOREIGN_SIGNATURE
        yield called if signature is None else {**called, "thoughtSignature": base64.b64encode(signature).decode()}


def _arguments(call: ToolCall, path: str) -> dict[str, Any]:
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise Unsupported("Gemini takes a call's arguments only where they are a JSON object.", param=path)
    return arguments


def _result(message: ChatMessage, names: Mapping[str, str], path: str) -> dict[str, Any]:
    if message.tool_call_id not in names:
        raise Unsupported("No call before it has this id.", param=f"{path}.tool_call_id")
    try:
        response = json.loads(message.text)
    except (ValueError, RecursionError):
        response = None
    return {
        "functionResponse": {
            "id": split_call_id(message.tool_call_id)[0],
            "name": names[message.tool_call_id],
            "response": response if isinstance(response, dict) else {"output": message.text},
        }
    }


def _image(image: Image, path: str) -> dict[str, Any]:
    if image.url.startswith("https://"):
        # Google fetches it, and wants to be told what it is: https://ai.google.dev/gemini-api/docs/file-input-methods
        try:
            kind, _ = mimetypes.guess_type(urlsplit(image.url).path)
        except ValueError:
            kind = None
        if kind is None or not kind.startswith("image/"):
            raise Unsupported("The URL does not end in the name of an image, such as .png.", param=path)
        return {"fileData": {"fileUri": image.url, "mimeType": kind}}
    match = DATA_URL.fullmatch(image.url)
    if match is None:
        raise Unsupported("An image is an https URL or a data: URL in base64.", param=path)
    try:
        base64.b64decode(match[2], validate=True)
    except (binascii.Error, ValueError):
        raise Unsupported("The data: URL is not in base64.", param=path) from None
    return {"inlineData": {"mimeType": match[1], "data": match[2]}}


def _media_resolution(messages: Sequence[ChatMessage]) -> str | None:
    """One for all images: Gemini's stable API has no other."""
    asked: str | None = None
    for number, message in enumerate(messages):
        for place, image in enumerate(message.parts):
            if isinstance(image, str):
                continue
            detail = image.detail or "auto"
            if detail not in RESOLUTIONS or (asked is not None and detail != asked):
                raise Unsupported(
                    "Gemini looks at all images alike: auto, low or high.",
                    param=f"messages[{number}].content[{place}].image_url.detail",
                )
            asked = detail
    return None if asked is None else RESOLUTIONS[asked]


def _thinking(model: str, effort: str | None) -> dict[str, Any] | None:
    if effort is None:
        return None
    if OLDER_MODELS.match(model):
        if effort not in BUDGETS or (effort == "none" and "-pro" in model):
            raise Unsupported(f"{model} can't think like that.", param="reasoning_effort")
        return {"thinkingBudget": BUDGETS[effort]}
    if effort not in LEVELS:
        raise Unsupported(f"{model} can't think like that.", param="reasoning_effort")
    return {"thinkingLevel": "LOW" if effort == "minimal" and "-pro" in model else LEVELS[effort]}


def _response_format(model: str, options: Options) -> dict[str, Any]:
    wanted = options.response_format or {"type": "text"}
    kind = wanted.get("type")
    if kind == "text":
        return {}
    if kind not in ("json_object", "json_schema"):
        raise Unsupported("Gemini answers in text or in JSON.", param="response_format.type")
    if options.tools and OLDER_MODELS.match(model):
        raise Unsupported(f"{model} can't call tools and answer in JSON.", param="response_format")
    named = wanted.get("json_schema", {})
    schema = dict(named.get("schema") or {})
    if schema and named.get("description"):
        schema.setdefault("description", named["description"])
    return {"responseMimeType": "application/json", "responseJsonSchema": schema or None}


def _tools(options: Options) -> dict[str, Any]:
    if not options.tools:
        return {}
    return {
        "tools": [{"functionDeclarations": [_declaration(tool) for tool in options.tools]}],
        "toolConfig": _tool_config(options),
    }


def _declaration(tool: Tool) -> dict[str, Any]:
    schema = None if tool.parameters is None else dict(tool.parameters)
    return _known({"name": tool.name, "description": tool.description or None, "parametersJsonSchema": schema})


def _tool_config(options: Options) -> dict[str, Any]:
    choice = options.tool_choice or "auto"
    if isinstance(choice, str) and choice in MODES:
        strict = choice == "auto" and any(tool.strict for tool in options.tools)
        # Gemini holds calls to their schemas in this mode, or where they must be made.
        return {"functionCallingConfig": {"mode": "VALIDATED" if strict else MODES[choice]}}
    name = choice.get("function", {}).get("name") if isinstance(choice, Mapping) else None
    if not name:
        raise Unsupported("Gemini takes none, auto, required, or one function.", param="tool_choice")
    return {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [name]}}
