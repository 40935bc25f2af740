"""Sets of field paths in the form in which managedFields keep them (FieldsV1), and what one does with sets.

A node maps path elements to nodes: `f:name` a field, `k:{"name":"p"}` a list item by its keys, `v:"x"` a
member of a set. An empty node is a path in the set; a node with children is one only if it has ".". The
root is never a member, and an empty root is the empty set. Source: sigs.k8s.io/structured-merge-diff,
fieldpath/serialize.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

Fields = dict[str, Any]


def is_member(node: Fields) -> bool:
    """Whether the path of the node itself is in the set."""
    return not node or "." in node


def node_of(children: Fields, *, member: bool) -> Fields | None:
    """A node from its parts, None where nothing of it is in the set."""
    if not children:
        return {} if member else None
    return {".": {}, **children} if member else children


def union(left: Fields, right: Fields) -> Fields:
    """All paths of two sets (roots)."""
    out = dict(left)
    for key, node in right.items():
        out[key] = _union(out[key], node) if key in out else node
    return out


def _union(left: Fields, right: Fields) -> Fields:
    member = is_member(left) or is_member(right)
    children = {key: node for key, node in left.items() if key != "."}
    for key, node in right.items():
        if key != ".":
            children[key] = _union(children[key], node) if key in children else node
    return node_of(children, member=member) or {}


def difference(left: Fields, right: Fields) -> Fields:
    """The paths of the left set that are not in the right (roots)."""
    out: Fields = {}
    for key, node in left.items():
        rest = _difference(node, right[key]) if key in right else node
        if rest is not None:
            out[key] = rest
    return out


def _difference(left: Fields, right: Fields) -> Fields | None:
    children: Fields = {}
    for key, node in left.items():
        if key == ".":
            continue
        rest = _difference(node, right[key]) if key in right else node
        if rest is not None:
            children[key] = rest
    return node_of(children, member=is_member(left) and not is_member(right))


def intersection(left: Fields, right: Fields) -> Fields:
    """The paths in both sets (roots)."""
    out: Fields = {}
    for key in left.keys() & right.keys():
        both = _intersection(left[key], right[key])
        if both is not None:
            out[key] = both
    return out


def _intersection(left: Fields, right: Fields) -> Fields | None:
    children: Fields = {}
    for key in left.keys() & right.keys():
        if key != "." and (both := _intersection(left[key], right[key])) is not None:
            children[key] = both
    return node_of(children, member=is_member(left) and is_member(right))


def ordered(fields: Fields) -> Fields:
    """The same set with its elements in order, as a server shows it."""
    return {key: ordered(fields[key]) for key in sorted(fields)}


def paths(fields: Fields, prefix: str = "") -> Iterator[str]:
    """Every path of the set as messages show it: `.spec.ports[name="p"].port`."""
    for key in sorted(fields):
        if key == ".":
            continue
        here = prefix + shown(key)
        if is_member(fields[key]):
            yield here
        yield from paths(fields[key], here)


def shown(element: str) -> str:
    """A path element as messages show it."""
    kind, _, rest = element.partition(":")
    if kind == "f":
        return f".{rest}"
    if kind == "k":
        keys = orjson.loads(rest)
        return "[" + ",".join(f"{key}={orjson.dumps(keys[key]).decode()}" for key in sorted(keys)) + "]"
    if kind == "v":
        return f"[={rest}]"
    return f"[{rest}]"


def value_element(value: Any) -> str:
    """The path element of a member of a set."""
    return "v:" + orjson.dumps(value).decode()


def key_element(keys: dict[str, Any]) -> str:
    """The path element of a list item with these keys."""
    return "k:" + orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode()
