"""Answers that are more than prose: tool calls, JSON that fits a schema, and words about what was sent along.

Knows plain values. Knows no wire format, no clock and no dice.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from simulator.exchange import Call, Question

ASKED_CALL = re.compile(r"\bcall ([\w.-]+) with (?=\{)")
SIMPLE = {"string": "some text", "integer": 1, "number": 1.5, "boolean": True, "null": None}


def calls(question: Question) -> Sequence[Call]:
    """The calls that the newest message asks for, of tools that there are; one made up where there must be one."""
    if question.results or not question.tools:
        return []
    asked = [(match[1], _json_at(question.text, match.end())) for match in ASKED_CALL.finditer(question.text)]
    found = [Call(name=name, arguments=value) for name, value in asked if name in question.tools and value]
    if found or not question.must_call:
        return found
    name, schema = next(iter(question.tools.items()))
    return [Call(name=name, arguments=json.dumps(example(schema), ensure_ascii=False))]


def reply(question: Question) -> str | None:
    """The text that the question wants word for word, ``None`` where prose will do."""
    if question.results:
        return f"The tools said: {' and '.join(question.results)}"
    if question.schema is not None:
        return json.dumps(example(question.schema), ensure_ascii=False)
    return f"I see {question.images} images." if "how many images" in question.text.lower() else None


def example(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Any:
    """A small value that fits a JSON schema, as far as objects, arrays, choices and references go."""
    root = schema if root is None else root
    if "$ref" in schema:
        return example(root.get("$defs", {}).get(schema["$ref"].rpartition("/")[2], {}), root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return example(schema["anyOf"][-1], root)
    kind = schema.get("type", "object")
    if kind == "object":
        return {name: example(part, root) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [example(schema.get("items", {}), root) for _ in range(schema.get("minItems", 0))]
    return SIMPLE[kind if isinstance(kind, str) else kind[0]]


def _json_at(text: str, start: int) -> str:
    try:
        _, end = json.JSONDecoder().raw_decode(text, start)
    except ValueError:
        return ""
    return text[start:end]
