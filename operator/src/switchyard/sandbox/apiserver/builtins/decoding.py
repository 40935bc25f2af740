"""Whether an object of a built-in kind can be read at all: types, quantities, times, base64.

A real server decodes JSON into Go structs before anything else sees it; what does not fit is a 400, not a
422. The same pass writes quantities and times in their canonical form and drops nulls.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Any

from switchyard.sandbox.apiserver.builtins.quantities import QUANTITY_PATTERN, parse_quantity
from switchyard.sandbox.apiserver.builtins.schemas import (
    MICRO_TIME_FORMAT,
    NEVER_OMITTED,
    QUANTITY_FORMAT,
    STRUCT,
    Schema,
)
from switchyard.sandbox.apiserver.errors import ApiError, bad_request
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo

_DECODED_ELSEWHERE = ("apiVersion", "kind", "metadata")
_GO_NAMES = {"string": "string", "integer": "int64", "boolean": "bool", "number": "float64"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def decode_builtin(info: ResourceInfo, obj: Json) -> None:
    """Brings an object into the form in which it is stored, in place. Raises 400 for what cannot be read."""
    schema = info.schema or {}
    whole = {name: value for name, value in obj.items() if name not in _DECODED_ELSEWHERE}
    try:
        _decode_struct(whole, schema, "", info.kind)
    except _MisfitError as misfit:
        raise _unreadable(info, str(misfit)) from None
    for name in [name for name in obj if name not in _DECODED_ELSEWHERE]:
        if name in whole:
            obj[name] = whole[name]
        else:
            del obj[name]


class _MisfitError(Exception):
    pass


def _unreadable(info: ResourceInfo, why: str) -> ApiError:
    return bad_request(f'{info.kind} in version "{info.version}" cannot be handled as a {info.kind}: {why}')


def _decode(value: Any, schema: Schema, path: str, owner: str) -> Any:
    """A value in its canonical form; `owner` is the Go struct whose field it is, for messages."""
    if schema.get("x-kubernetes-int-or-string"):
        return _decode_int_or_string(value, schema, path, owner)
    kind = schema.get("type")
    if kind == "object":
        if not isinstance(value, dict):
            raise _wrong_type(value, schema, path, owner)
        if isinstance(others := schema.get("additionalProperties"), dict):
            return {
                name: _decode(child, others, path, owner)
                for name, child in value.items()
                if child is not None
            }
        _decode_struct(value, schema, path, schema.get(STRUCT, owner))
        return value
    if kind == "array":
        if not isinstance(value, list):
            raise _wrong_type(value, schema, path, owner)
        return [_decode(item, schema["items"], path, owner) for item in value]
    if kind in _GO_NAMES:
        return _decode_scalar(value, schema, path, owner)
    return value


def _decode_struct(value: Json, schema: Schema, path: str, owner: str) -> None:
    """Decodes the known fields, and drops those that Go would not write: nulls, empty lists and maps."""
    properties = schema.get("properties", {})
    never_omitted = schema.get(NEVER_OMITTED, ())
    for name, child in list(value.items()):
        part = properties.get(name)
        if part is None:
            continue
        if child is None:
            del value[name]
            continue
        decoded = _decode(child, part, f"{path}.{name}" if path else name, owner)
        is_collection = part.get("type") == "array" or "additionalProperties" in part
        if is_collection and not decoded and name not in never_omitted:
            del value[name]
        else:
            value[name] = decoded


def _decode_int_or_string(value: Any, schema: Schema, path: str, owner: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _wrong_type(value, schema, path, owner)
    if schema.get("format") != QUANTITY_FORMAT:
        return value
    try:
        return str(parse_quantity(value))
    except ValueError:
        raise _MisfitError(f"quantities must match the regular expression '{QUANTITY_PATTERN}'") from None


def _decode_scalar(value: Any, schema: Schema, path: str, owner: str) -> Any:
    kind, form = schema["type"], schema.get("format", "")
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    fits = {
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "integer": is_number and isinstance(value, int),
        "number": is_number,
    }[kind]
    if not fits:
        raise _wrong_type(value, schema, path, owner)
    if form == "date-time":
        return _decode_time(value, _TIME, "seconds", path)
    if form == MICRO_TIME_FORMAT:
        return _decode_time(value, _MICRO_TIME, "microseconds", path)
    if form == "byte":
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error:
            raise _MisfitError("illegal base64 data at input byte 0") from None
    return value


def _decode_time(text: str, canonical: re.Pattern[str], precision: str, path: str) -> str:
    if canonical.fullmatch(text):
        return text
    if not _RFC3339.fullmatch(text):
        raise _MisfitError(f'parsing time "{text}" of {path}: it must look like 2006-01-02T15:04:05Z')
    moment = datetime.fromisoformat(text).astimezone(UTC)
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


def _wrong_type(value: Any, schema: Schema, path: str, owner: str) -> _MisfitError:
    found = {
        bool: "bool",
        int: "number",
        float: f"number {value}",
        str: "string",
        dict: "object",
        list: "array",
    }
    told = found.get(type(value), "value")
    return _MisfitError(
        f"json: cannot unmarshal {told} into Go struct field {owner}.{path} of type {_go_type(schema)}"
    )


def _go_type(schema: Schema) -> str:
    """The Go type of a field, as near as its schema tells."""
    if schema.get("type") == "array":
        return f"[]{_go_type(schema['items'])}"
    if isinstance(others := schema.get("additionalProperties"), dict):
        return f"map[string]{_go_type(others)}"
    if schema.get("format") == QUANTITY_FORMAT:
        return "resource.Quantity"
    if schema.get("x-kubernetes-int-or-string"):
        return "intstr.IntOrString"
    return f"v1.{schema[STRUCT]}" if STRUCT in schema else _GO_NAMES.get(schema.get("type", ""), "object")
