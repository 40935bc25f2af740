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
from switchyard.sandbox.apiserver.builtins.schemas import MICRO_TIME_FORMAT, QUANTITY_FORMAT, Schema
from switchyard.sandbox.apiserver.errors import ApiError, bad_request
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo

_GO_NAMES = {"string": "string", "integer": "int64", "boolean": "bool", "number": "float64"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def decode_builtin(info: ResourceInfo, obj: Json) -> None:
    """Brings an object into the form in which it is stored, in place. Raises 400 for what cannot be read."""
    properties: Json = (info.schema or {}).get("properties", {})
    try:
        for name, schema in properties.items():
            if name in obj and name not in ("apiVersion", "kind", "metadata"):
                obj[name] = _decode(obj[name], schema, name)
    except _MisfitError as misfit:
        raise _unreadable(info, str(misfit)) from None
    for name in [name for name, value in obj.items() if value is None]:
        del obj[name]


class _MisfitError(Exception):
    pass


def _unreadable(info: ResourceInfo, why: str) -> ApiError:
    return bad_request(f'{info.kind} in version "{info.version}" cannot be handled as a {info.kind}: {why}')


def _decode(value: Any, schema: Schema, path: str) -> Any:
    if value is None:
        return None
    if schema.get("x-kubernetes-int-or-string"):
        return _decode_int_or_string(value, schema, path)
    kind = schema.get("type")
    if kind == "object":
        if not isinstance(value, dict):
            raise _wrong_type(value, "object", path)
        _decode_object(value, schema, path)
        return value
    if kind == "array":
        if not isinstance(value, list):
            raise _wrong_type(value, "array", path)
        items = schema["items"]
        return [_decode(item, items, path) for item in value]
    if kind in _GO_NAMES:
        return _decode_scalar(value, kind, schema.get("format", ""), path)
    return value


def _decode_object(value: Json, schema: Schema, path: str) -> None:
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties")
    for name, child in list(value.items()):
        part = properties.get(name, others)
        if child is None and part is not None:
            del value[name]
        elif isinstance(part, dict):
            value[name] = _decode(child, part, f"{path}.{name}")


def _decode_int_or_string(value: Any, schema: Schema, path: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _wrong_type(value, "string", path)
    if schema.get("format") != QUANTITY_FORMAT:
        return value
    try:
        return str(parse_quantity(value))
    except ValueError:
        raise _MisfitError(f"quantities must match the regular expression '{QUANTITY_PATTERN}'") from None


def _decode_scalar(value: Any, kind: str, form: str, path: str) -> Any:
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
        raise _wrong_type(value, kind, path)
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


def _wrong_type(value: Any, wanted: str, path: str) -> _MisfitError:
    found = (
        "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__
    )
    found = {"str": "string", "dict": "object", "list": "array"}.get(found, found)
    go_name = _GO_NAMES.get(wanted, "struct" if wanted == "object" else "slice")
    return _MisfitError(f"json: cannot unmarshal {found} into Go struct field .{path} of type {go_name}")
