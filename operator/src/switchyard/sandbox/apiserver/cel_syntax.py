"""The syntax tree of a compiled CEL expression, read from its serialised form (cel.expr.CheckedExpr).

The runtime gives no other way to look at a tree, and the few messages needed are read here without a protobuf
library. Source: cel-spec, proto/cel/expr/{checked,syntax}.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expression. `kind` is const, ident, select, call, list, map or fold."""

    kind: str
    number: int
    name: str = ""  # of an identifier, a field or a function
    value: Any = None  # of a constant
    is_test: bool = False  # has(operand.name)
    operand: Node | None = None  # of a select; the receiver of a call; the range of a fold
    arguments: tuple[Node, ...] = ()  # of a call; elements; of a fold: initial, condition, step, result
    variables: tuple[str, ...] = ()  # of a fold: iteration variable(s), then the accumulator


@dataclass(slots=True)
class Tree:
    """An expression with the character positions of its parts."""

    root: Node
    positions: dict[int, int] = field(default_factory=dict)


def parse(serialised: bytes) -> Tree:
    """The tree of a serialised expression."""
    body = next((value for number, value in _fields(serialised) if number == 2), serialised)
    root: Node | None = None
    positions: dict[int, int] = {}
    for number, value in _fields(body):
        if number == 4:
            root = _node(value)
        elif number == 5:
            for part, entry in _fields(value):
                if part == 4:
                    pair = dict(_fields(entry))
                    positions[pair.get(1, 0)] = pair.get(2, 0)
    if root is None:
        raise ValueError("no expression in it")
    return Tree(root, positions)


def _fields(raw: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message: (number, value), in order."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        number, wire = tag >> 3, tag & 7
        value: Any
        if wire == 0:
            value, at = _varint(raw, at)
        elif wire == 1:
            value, at = raw[at : at + 8], at + 8
        elif wire == 2:
            size, at = _varint(raw, at)
            value, at = raw[at : at + size], at + size
        else:
            value, at = raw[at : at + 4], at + 4
        yield number, value


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _node(raw: bytes) -> Node:
    number = 0
    for field_number, value in _fields(raw):
        match field_number:
            case 2:
                number = value
            case 3:
                return Node("const", number, value=_constant(value))
            case 4:
                return Node("ident", number, name=_text(value, 1))
            case 5:
                return _select(number, value)
            case 6:
                return _call(number, value)
            case 7:
                elements = tuple(_node(part) for kind, part in _fields(value) if kind == 1)
                return Node("list", number, arguments=elements)
            case 8:
                return _map(number, value)
            case 9:
                return _fold(number, value)
    return Node("const", number)


def _text(raw: bytes, wanted: int) -> str:
    return next((value.decode() for number, value in _fields(raw) if number == wanted), "")


def _constant(raw: bytes) -> Any:
    for number, value in _fields(raw):
        match number:
            case 2:
                return bool(value)
            case 3:
                return value - (1 << 64) if value >> 63 else value
            case 4:
                return value
            case 5:
                return struct.unpack("<d", value)[0]
            case 6:
                return value.decode()
            case 7:
                return value
    return None


def _select(number: int, raw: bytes) -> Node:
    parts = dict(_fields(raw))
    return Node("select", number, name=parts[2].decode(), is_test=bool(parts.get(3)), operand=_node(parts[1]))


def _call(number: int, raw: bytes) -> Node:
    target, name, arguments = None, "", []
    for part, value in _fields(raw):
        if part == 1:
            target = _node(value)
        elif part == 2:
            name = value.decode()
        elif part == 3:
            arguments.append(_node(value))
    return Node("call", number, name=name, operand=target, arguments=tuple(arguments))


def _map(number: int, raw: bytes) -> Node:
    inner = []
    for part, value in _fields(raw):
        if part == 2:
            inner += [_node(expression) for kind, expression in _fields(value) if kind in (3, 4)]
    return Node("map", number, arguments=tuple(inner))


def _fold(number: int, raw: bytes) -> Node:
    parts = dict(_fields(raw))
    names = [parts[key].decode() for key in (1, 8, 3) if parts.get(key)]
    return Node(
        "fold",
        number,
        operand=_node(parts[2]),
        arguments=tuple(_node(parts[key]) for key in (4, 5, 6, 7)),
        variables=tuple(names),
    )


def identifiers(node: Node) -> Iterator[str]:
    """Every identifier in an expression."""
    if node.kind == "ident":
        yield node.name
    if node.operand is not None:
        yield from identifiers(node.operand)
    for argument in node.arguments:
        yield from identifiers(argument)
