"""The object in an application/vnd.kubernetes.protobuf body, as kubectl sends for kinds that it knows.

A generic reader of the wire format, led by the schemas of the client library's models and by the field
numbers in `builtins/wire_fields.txt`. Source: k8s.io/apimachinery/pkg/runtime/serializer/protobuf.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any

from switchyard.sandbox.apiserver.builtins.kinds import model_of_kind
from switchyard.sandbox.apiserver.builtins.schemas import (
    MICRO_TIME_FORMAT,
    QUANTITY_FORMAT,
    Schema,
    component,
)
from switchyard.sandbox.apiserver.errors import ApiError
from switchyard.sandbox.apiserver.resources import Json

MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: struct.Struct("<d"), _FIXED32: struct.Struct("<f")}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Fields = dict[int, list[Any]]


def decode_protobuf(body: bytes) -> Json:
    """The object in a body. Raises ValueError for what is cut off, 415 for an unknown kind."""
    if body[:4] != MAGIC:
        raise ValueError("the body does not begin with the prefix of Kubernetes objects")
    envelope = _fields(body[4:])
    kind_of = _fields(envelope.get(1, [b""])[-1])
    api_version, kind = (_text(kind_of, number) for number in (1, 2))
    raw = envelope.get(2, [b""])[-1]
    model = model_of_kind(api_version, kind)
    if model is None or model not in _numbers():
        raise ApiError(
            415,
            "UnsupportedMediaType",
            f"{kind} in {api_version} cannot be read from protobuf here: send it as application/json",
        )
    return {"apiVersion": api_version, "kind": kind, **_message(model, raw)}


def _text(fields: Fields, number: int) -> str:
    return _bytes(fields.get(number, [b""])[-1]).decode()


def _bytes(value: Any) -> bytes:
    """A value that the wire calls bytes: texts, messages and maps are such. Raises ValueError for numbers."""
    if not isinstance(value, bytes):
        raise ValueError("a number stands where a text or message belongs")  # noqa: TRY004  # one kind of refusal
    return value


def _int(value: Any) -> int:
    """A value that the wire calls a varint, with its sign. Raises ValueError for anything else."""
    if not isinstance(value, int):
        raise ValueError("a text or message stands where a number belongs")  # noqa: TRY004  # as above
    return value - (1 << 64) if value >= 1 << 63 else value


@cache
def _numbers() -> dict[str, dict[str, tuple[tuple[int, ...], bool]]]:
    """By model and field: the numbers that lead to it, and whether its zero value counts."""
    found: dict[str, dict[str, tuple[tuple[int, ...], bool]]] = {}
    text = resources.files("switchyard.sandbox.apiserver.builtins").joinpath("wire_fields.txt").read_text()
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        model, *entries = line.split()
        fields = found.setdefault(model, {})
        for entry in entries:
            name, _, number = entry.partition("=")
            path = tuple(int(part) for part in number.rstrip("*").split("."))
            fields[name] = (path, number.endswith("*"))
    return found


def _fields(raw: Any) -> Fields:
    """All values of a message by field number, in order. Raises ValueError for a broken message."""
    found: Fields = {}
    for number, value in _read(_bytes(raw)):
        found.setdefault(number, []).append(value)
    return found


def _read(raw: bytes) -> Iterator[tuple[int, Any]]:
    position = 0
    while position < len(raw):
        key, position = _varint(raw, position)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, position = _varint(raw, position)
            yield number, value
        elif wire == _BYTES:
            size, position = _varint(raw, position)
            if position + size > len(raw):
                raise ValueError("the message is cut off")
            yield number, raw[position : position + size]
            position += size
        elif wire in _FIXED:
            form = _FIXED[wire]
            if position + form.size > len(raw):
                raise ValueError("the message is cut off")
            yield number, form.unpack_from(raw, position)[0]
            position += form.size
        else:
            raise ValueError(f"unknown wire type {wire}")


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(raw) or shift > 63:
            raise ValueError("the message is cut off")
        byte = raw[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _message(model: str, raw: bytes) -> Json:
    """The object of a model; what is empty and not optional is left out, as JSON leaves it out."""
    schemas: Schema = component(model)["properties"]
    fields = _fields(raw)
    found: Json = {}
    for name, (path, is_optional) in _numbers().get(model, {}).items():
        schema = schemas.get(name)
        values = _at(fields, path)
        if schema is None or not values:
            continue
        value = _value(schema, values)
        if is_optional or value not in (None, "", 0, False, {}, []):
            found[name] = value
    return found


def _at(fields: Fields, path: tuple[int, ...]) -> list[Any]:
    for number in path[:-1]:
        embedded = fields.get(number)
        if not embedded:
            return []
        fields = _fields(embedded[-1])
    return fields.get(path[-1], [])


def _value(schema: Schema, values: list[Any]) -> Any:
    if schema.get("type") == "array":
        return [_single(schema["items"], value) for value in values]
    if isinstance(schema.get("additionalProperties"), dict):
        entries = [_fields(value) for value in values]
        return {_text(entry, 1): _map_value(schema["additionalProperties"], entry) for entry in entries}
    return _single(schema, values[-1])


def _map_value(schema: Schema, entry: Fields) -> Any:
    if schema.get("type") == "array":  # a message with the items under number 1
        return [_single(schema["items"], item) for item in _fields(entry.get(2, [b""])[-1]).get(1, [])]
    return _single(schema, entry[2][-1]) if 2 in entry else ""


def _single(schema: Schema, value: Any) -> Any:
    if reference := schema.get("$ref"):
        return _message(reference, value)
    kind, form = schema.get("type"), schema.get("format", "")
    if form == QUANTITY_FORMAT:
        return _text(_fields(value), 1)
    if form == "int-or-string":
        fields = _fields(value)
        is_text = fields.get(1, [0])[-1] == 1
        return _text(fields, 3) if is_text else _int(fields.get(2, [0])[-1])
    if form in ("date-time", MICRO_TIME_FORMAT):
        return _time(_fields(value), is_micro=form == MICRO_TIME_FORMAT)
    if form == "byte":
        return base64.b64encode(_bytes(value)).decode()
    if kind == "boolean":
        return bool(_int(value))
    if kind == "integer":
        return _int(value)
    if kind == "number" and isinstance(value, float):
        return value
    if kind == "string":
        return _bytes(value).decode()
    return None  # free-form JSON: managed fields and the like, which no client sends


def _time(fields: Fields, *, is_micro: bool) -> str | None:
    if not fields:
        return None
    seconds, nanos = _int(fields.get(1, [0])[-1]), _int(fields.get(2, [0])[-1])
    try:
        moment = _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError:
        raise ValueError("a time is out of range") from None
    return moment.isoformat(timespec="microseconds" if is_micro else "seconds").replace("+00:00", "Z")
