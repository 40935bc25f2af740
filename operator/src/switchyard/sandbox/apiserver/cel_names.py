"""Names and values of custom resources as CEL rules see them.

Source: Kubernetes API reference of x-kubernetes-validations (escaping of property names, formats as types).
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from switchyard.sandbox.apiserver.resources import Json

_RESERVED = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


# Formats of strings that rules see as times and durations -> the CEL function that reads their text.
READ_BY = {"date-time": "timestamp", "date": "timestamp", "duration": "duration"}


@lru_cache(maxsize=8192)
def escaped(name: str) -> str:
    """A property's name as rules write it: `namespace` is `__namespace__`, `a-b` is `a__dash__b`."""
    if name in _RESERVED:
        return f"__{name}__"
    out = name.replace("__", "__underscores__").replace(".", "__dot__")
    return out.replace("-", "__dash__").replace("/", "__slash__")


def is_accessible(name: str) -> bool:
    """Whether rules can name a property at all."""
    return _PLAIN_NAME.fullmatch(escaped(name)) is not None


def type_name(schema: Json) -> str:
    """The CEL type of a value with that schema, as cel_library.TYPES names it."""
    if schema.get("x-kubernetes-int-or-string") or schema.get("nullable"):
        return "dyn"
    kind: str = schema.get("type", "dyn")
    if kind == "string":
        by_format = {"date-time": "timestamp", "date": "timestamp", "duration": "duration", "byte": "bytes"}
        return by_format.get(str(schema.get("format")), "string")
    return {"array": "list", "object": "map"}.get(kind, kind)


def whole_value(value: Any, schema: Json) -> Any:
    """A rule's own value: as inside of objects, but times and durations are such."""
    if isinstance(value, str) and "format" in schema and not schema.get("nullable"):
        return _formatted(value, schema["format"])
    return as_rules_see(value, schema)


def as_rules_see(value: Any, schema: Json) -> Any:
    """A value inside of an object: names escaped, numbers and bytes as their types, times as text."""
    if isinstance(value, dict):
        properties: Json = schema.get("properties") or {}
        rest = schema.get("additionalProperties")
        out = {}
        for name, item in value.items():
            if name in properties:
                out[escaped(name)] = as_rules_see(item, properties[name])
            elif isinstance(rest, dict):
                out[name] = as_rules_see(item, rest)
            else:
                out[name] = item
        return out
    if isinstance(value, list):
        items = schema.get("items")
        return [as_rules_see(item, items) for item in value] if isinstance(items, dict) else value
    if isinstance(value, str):
        return _inner_text(value, schema.get("format", ""))
    if isinstance(value, int) and not isinstance(value, bool) and schema.get("type") == "number":
        return float(value)
    if isinstance(value, float) and schema.get("type") == "integer":
        return int(value)
    return value


def _inner_text(text: str, form: str) -> Any:
    if form == "byte":
        return _formatted(text, form)
    return f"{text}T00:00:00Z" if form == "date" else text


def _formatted(text: str, form: str) -> Any:
    try:
        if form in ("date-time", "date"):
            moment = datetime.fromisoformat(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if form == "duration":
            sign = -1 if text.startswith("-") else 1
            parts = _PART.findall(text)
            return timedelta(
                seconds=sign * sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
            )
        if form == "byte":
            return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return text
    return text
