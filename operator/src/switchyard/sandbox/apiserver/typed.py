"""Objects seen through their schema: which fields they have, how two differ, merged and with items removed.

What a schema makes of a value: an atom (scalars, atomic maps and lists: owned as a whole), a map of fields,
a list of items known by keys, or a set of scalars. What has no schema is taken by its look: maps by field,
lists as atoms. Source: sigs.k8s.io/structured-merge-diff, typed/{tofieldset,compare,merge,remove}.go.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from switchyard.sandbox.apiserver.fieldsets import (
    Fields,
    is_member,
    key_element,
    node_of,
    union,
    value_element,
)
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo

_UNTYPED: Json = {}
_METADATA: Json = {
    "type": "object",
    "properties": {
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "finalizers": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "ownerReferences": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            "items": {"type": "object", "x-kubernetes-map-type": "atomic"},
        },
        "managedFields": {"type": "array"},
        "generateName": {"type": "string"},
        "name": {"type": "string"},
        "namespace": {"type": "string"},
    },
}


def typed_schema(info: ResourceInfo) -> Json:
    """The schema of a kind with the metadata that every kind has."""
    schema = info.schema or {}
    return {**schema, "properties": {**(schema.get("properties") or {}), "metadata": _METADATA}}


def _is_map(value: Any, schema: Json) -> bool:
    return isinstance(value, dict) and schema.get("x-kubernetes-map-type") != "atomic"


def _is_keyed(value: Any, schema: Json) -> bool:
    return isinstance(value, list) and schema.get("x-kubernetes-list-type") in ("map", "set")


def _child(schema: Json, key: str) -> tuple[Json, bool]:
    """The schema of a field and whether it is a named one."""
    properties = schema.get("properties")
    if properties and key in properties:
        return properties[key], True
    rest = schema.get("additionalProperties")
    return (rest if isinstance(rest, dict) else _UNTYPED), False


def element_of(item: Any, schema: Json) -> str:
    """The path element of an item of a keyed list."""
    if schema.get("x-kubernetes-list-type") == "set" or not isinstance(item, dict):
        return value_element(item)
    properties = (schema.get("items") or {}).get("properties") or {}
    keys = {}
    for name in schema.get("x-kubernetes-list-map-keys") or ():
        if name in item:
            keys[name] = item[name]
        elif "default" in properties.get(name, {}):
            keys[name] = properties[name]["default"]
    return key_element(keys)


def fields_of(value: Any, schema: Json) -> Fields:
    """The fields that an applied object has an opinion about (a root)."""
    out: Fields = {}
    if _is_map(value, schema):
        for key, item in value.items():
            child, is_named = _child(schema, key)
            if _is_map(item, child) or _is_keyed(item, child):
                inner = fields_of(item, child)
                is_empty_map = isinstance(item, dict) and not item
                node = node_of(inner, member=is_empty_map or not is_named)
            else:
                node = {}
            if node is not None:
                out[f"f:{key}"] = node
    elif _is_keyed(value, schema):
        items = schema.get("items") or _UNTYPED
        for item in value:
            inner = fields_of(item, items) if _is_map(item, items) else {}
            out[element_of(item, schema)] = node_of(inner, member=True) or {}
    return out


@dataclass
class Comparison:
    """How a new value differs from an old one; all are roots."""

    added: Fields = field(default_factory=dict)
    modified: Fields = field(default_factory=dict)
    removed: Fields = field(default_factory=dict)

    @property
    def changed(self) -> Fields:
        """What was added or modified."""
        return union(self.added, self.modified)


_ABSENT = object()


def compare(old: Any, new: Any, schema: Json) -> Comparison:
    """The difference of two objects."""
    out = Comparison()
    _compare_children(old, new, schema, out, [])
    return out


def _compare(old: Any, new: Any, schema: Json, out: Comparison, path: list[str]) -> None:
    if old is not _ABSENT and new is not _ABSENT and old == new and type(old) is type(new):
        return
    present = new if new is not _ABSENT and new is not None else old
    other = old if present is new else new
    has_children = (_is_map(present, schema) and (other in (_ABSENT, None) or isinstance(other, dict))) or (
        _is_keyed(present, schema) and (other in (_ABSENT, None) or isinstance(other, list))
    )
    is_empty = not present and (other in (_ABSENT, None) or not other)
    if not has_children or is_empty:
        if old is _ABSENT:
            _add(out.added, path)
        elif new is _ABSENT:
            _add(out.removed, path)
        else:
            _add(out.modified, path)
        return
    _compare_children(
        {} if old in (_ABSENT, None) else old, {} if new in (_ABSENT, None) else new, schema, out, path
    )
    if old is _ABSENT:
        _add(out.added, path)
    elif new is _ABSENT:
        _add(out.removed, path)


def _compare_children(old: Any, new: Any, schema: Json, out: Comparison, path: list[str]) -> None:
    if isinstance(old, list) or isinstance(new, list):
        before = {element_of(item, schema): item for item in old or ()}
        after = {element_of(item, schema): item for item in new or ()}
        child = schema.get("items") or _UNTYPED
        for element in [*before, *(e for e in after if e not in before)]:
            _compare(before.get(element, _ABSENT), after.get(element, _ABSENT), child, out, [*path, element])
        return
    for key in [*old, *(k for k in new if k not in old)]:
        child, _ = _child(schema, key)
        _compare(old.get(key, _ABSENT), new.get(key, _ABSENT), child, out, [*path, f"f:{key}"])


def _add(root: Fields, path: list[str]) -> None:
    """Puts a path into a set; empty nodes on the way are members and stay so."""
    node = root
    for depth, element in enumerate(path):
        if depth and not node:
            node["."] = {}
        if element not in node:
            node.update(_chain(path[depth:]))
            return
        node = node[element]
    if node:
        node["."] = {}


def _chain(path: list[str]) -> Fields:
    node: Fields = {}
    for element in reversed(path):
        node = {element: node}
    return node


def merged(live: Any, config: Any, schema: Json) -> Any:
    """The live value with what an applied one says in its place; keyed lists merge item by item."""
    if config is None:
        return live
    if _is_map(config, schema) and _is_map(live, schema):
        out = dict(live)
        for key, value in config.items():
            out[key] = merged(live[key], value, _child(schema, key)[0]) if key in live else value
        return out
    if _is_keyed(config, schema) and _is_keyed(live, schema):
        return _merged_list(live, config, schema)
    return config


def _merged_list(live: list[Any], config: list[Any], schema: Json) -> list[Any]:
    """Items of both, in the config's order; live ones that it lacks stay where they stood before."""
    child = schema.get("items") or _UNTYPED
    before = {element_of(item, schema): item for item in live}
    after = {element_of(item, schema): item for item in config}
    waiting = list(before)
    shared = [element for element in after if element in before]
    out: list[Any] = []
    done: set[str] = set()
    for element, item in after.items():
        while waiting and (
            waiting[0] not in after or waiting[0] in done or waiting[0] != _next(shared, done)
        ):
            first = waiting.pop(0)
            if first not in after:
                out.append(before[first])
        if waiting and waiting[0] == element:
            waiting.pop(0)
        done.add(element)
        out.append(merged(before[element], item, child) if element in before else item)
    out.extend(before[element] for element in waiting if element not in after)
    return out


def _next(shared: list[str], done: set[str]) -> str | None:
    return next((element for element in shared if element not in done), None)


def without(value: Any, removed: Fields, schema: Json) -> Any:
    """The value without the items of a set; None where nothing of a map or list is left."""
    if not removed:
        return value
    if _is_map(value, schema):
        if not value:
            return value
        out = {}
        for key, item in value.items():
            node = removed.get(f"f:{key}")
            if node is None:
                out[key] = item
            elif not is_member(node):
                rest = without(item, node, _child(schema, key)[0])
                if rest is not None:
                    out[key] = rest
        return out or None
    if _is_keyed(value, schema):
        if not value:
            return value
        child = schema.get("items") or _UNTYPED
        kept = []
        for item in value:
            node = removed.get(element_of(item, schema))
            if node is None:
                kept.append(item)
            elif not is_member(node):
                rest = without(item, {k: v for k, v in node.items() if k != "."}, child)
                kept.append(item if rest is None else rest)
        return kept or None
    return value


def with_named_members(fields: Fields, schema: Json) -> Fields:
    """The set with every named field on the way to a member made one too."""
    out: Fields = {}
    properties = schema.get("properties") or {}
    for element, node in fields.items():
        if element == ".":
            continue
        kind, _, name = element.partition(":")
        if kind == "f":
            child, is_named = _child(schema, name)
            is_named = is_named and name in properties
        else:
            child, is_named = schema.get("items") or _UNTYPED, False
        children = with_named_members(node, child)
        out[element] = node_of(children, member=is_named or is_member(node)) or {}
    return out
