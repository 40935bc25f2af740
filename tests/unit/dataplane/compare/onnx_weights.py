"""An ONNX model with weights of fewer bits, made from one with floats, without the onnx package.

ONNX files are protocol buffers (onnx/onnx.proto): a message is a row of fields, each with a number, a kind
and a value. Only what has to change is read; all other fields are kept as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_OUTPUT = 1, 5, 12
NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OPERATOR, NODE_ATTRIBUTE = 1, 2, 3, 4, 5
ATTRIBUTE_NAME, ATTRIBUTE_INT, ATTRIBUTE_TYPE, ATTRIBUTE_TYPE_INT = 1, 3, 20, 2
TENSOR_DIMENSION, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW = 1, 2, 8, 9
FLOAT, INT8 = 1, 3
VALUE_NAME = 1

Weights = npt.NDArray[np.float32]


class Field(NamedTuple):
    number: int
    kind: int
    value: int | bytes


class Tensor(NamedTuple):
    name: str
    values: Weights


def quantise(model: bytes, axes: dict[str, int], bits: int) -> bytes:
    """The model with the named weights as ints of so many bits, one scale per channel along the given axis.

    The ints are stored as INT8 and multiplied by their scales when the model runs (DequantizeLinear).
    """

    def replace(tensor: Tensor) -> list[Field]:
        axis = axes[tensor.name]
        most = 2 ** (bits - 1) - 1
        others = tuple(other for other in range(tensor.values.ndim) if other != axis)
        scales = np.abs(tensor.values).max(axis=others, keepdims=True) / most
        scales[scales == 0] = 1
        ints = np.clip(np.rint(tensor.values / scales), -most, most).astype(np.int8)
        node = [
            _text(NODE_INPUT, f"{tensor.name}/ints"),
            _text(NODE_INPUT, f"{tensor.name}/scales"),
            _text(NODE_OUTPUT, tensor.name),
            _text(NODE_NAME, f"{tensor.name}/scaled"),
            _text(NODE_OPERATOR, "DequantizeLinear"),
            Field(NODE_ATTRIBUTE, BYTES, _encode([
                _text(ATTRIBUTE_NAME, "axis"),
                Field(ATTRIBUTE_INT, VARINT, axis),
                Field(ATTRIBUTE_TYPE, VARINT, ATTRIBUTE_TYPE_INT),
            ])),
        ]  # fmt: skip
        return [
            Field(GRAPH_NODE, BYTES, _encode(node)),
            _tensor(f"{tensor.name}/ints", ints, INT8),
            _tensor(f"{tensor.name}/scales", scales.reshape(-1).astype(np.float32), FLOAT),
        ]

    return _replace_weights(model, axes, replace)


def change_weights(model: bytes, name: str, change: Callable[[Weights], Weights]) -> bytes:
    """The model with other values in one of its weights."""
    return _replace_weights(model, {name: 0}, lambda tensor: [_tensor(name, change(tensor.values), FLOAT)])


def expose(model: bytes, value: str) -> bytes:
    """The model with one more output: a value that it only had within."""
    graph = _encode([Field(GRAPH_OUTPUT, BYTES, _encode([_text(VALUE_NAME, value)]))])
    return model + _encode([Field(MODEL_GRAPH, BYTES, graph)])  # parts of one message are merged


def _replace_weights(model: bytes, names: dict[str, int], replace: Callable[[Tensor], list[Field]]) -> bytes:
    """The model with other fields in place of some weights. Fails unless each is there once in each graph."""
    changed: list[Field] = []
    seen: list[str] = []
    for part in _decode(model):
        if part.number != MODEL_GRAPH:
            changed.append(part)
            continue
        first: list[Field] = []
        rest: list[Field] = []
        for field in _decode(part.value):
            tensor = _read_tensor(field) if field.number == GRAPH_INITIALIZER else None
            if tensor is None or tensor.name not in names:
                rest.append(field)
                continue
            seen.append(tensor.name)
            for made in replace(tensor):
                (first if made.number == GRAPH_NODE else rest).append(made)
        changed.append(Field(MODEL_GRAPH, BYTES, _encode(first + rest)))
    assert sorted(seen) == sorted(names)
    return _encode(changed)


def _read_tensor(field: Field) -> Tensor | None:
    fields = _decode(field.value)
    by_number = {part.number: part.value for part in fields}
    if by_number[TENSOR_TYPE] != FLOAT:
        return None
    shape = [part.value for part in fields if part.number == TENSOR_DIMENSION]
    values = np.frombuffer(by_number[TENSOR_RAW], dtype="<f4").reshape(shape)
    return Tensor(by_number[TENSOR_NAME].decode(), values)


def _tensor(name: str, values: npt.NDArray[np.generic], kind: int) -> Field:
    fields = [Field(TENSOR_DIMENSION, VARINT, size) for size in values.shape]
    fields += [Field(TENSOR_TYPE, VARINT, kind), _text(TENSOR_NAME, name)]
    fields.append(Field(TENSOR_RAW, BYTES, np.ascontiguousarray(values).tobytes()))
    return Field(GRAPH_INITIALIZER, BYTES, _encode(fields))


def _text(number: int, text: str) -> Field:
    return Field(number, BYTES, text.encode())


def _decode(message: bytes) -> list[Field]:
    return list(_read_fields(message))


def _read_fields(message: bytes) -> Iterator[Field]:
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _read_varint(message, at)
            yield Field(key >> 3, kind, value)
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(kind)
        if size is None:
            size, at = _read_varint(message, at)
        yield Field(key >> 3, kind, message[at : at + size])
        at += size


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _encode(fields: list[Field]) -> bytes:
    parts: list[bytes] = []
    for number, kind, value in fields:
        parts.append(_write_varint(number << 3 | kind))
        if isinstance(value, int):
            parts.append(_write_varint(value))
            continue
        if kind == BYTES:
            parts.append(_write_varint(len(value)))
        parts.append(value)
    return b"".join(parts)


def _write_varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)
