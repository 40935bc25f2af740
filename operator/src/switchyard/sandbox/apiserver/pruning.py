"""Unknown fields found and dropped, defaults filled in: what a schema does to an object before it is checked.

Works in place on private copies. Order as in a real server: prune, drop nulls that a default replaces,
default.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from switchyard.sandbox.apiserver.resources import Json

_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_TYPE_AND_METADATA = ("apiVersion", "kind", "metadata")

# ObjectMeta as it is read; `{}` stands for any value.
_OWNER_FIELDS = {"apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"}
_METADATA_FIELDS = {
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
}


def prune(obj: Json, schema: Json) -> list[str]:
    """The paths of the fields that the schema does not know, which are dropped from the object."""
    unknown: list[str] = []
    _prune(obj, schema, "", unknown, is_root=True)
    return unknown


def _prune(value: Any, schema: Json, path: str, unknown: list[str], *, is_root: bool = False) -> None:
    if isinstance(value, dict):
        properties: Json = schema.get("properties") or {}
        rest = schema.get("additionalProperties")
        keeps_unknown = schema.get(_PRESERVE) or (not properties and rest is None and not schema.get("type"))
        has_metadata = is_root or schema.get(_EMBEDDED)
        for key in list(value):
            if has_metadata and key in _TYPE_AND_METADATA:
                if key == "metadata" and isinstance(value[key], dict):
                    _prune_metadata(value[key], f"{path}.metadata" if path else "metadata", unknown)
                continue
            here = f"{path}.{key}" if path else key
            if key in properties:
                _prune(value[key], properties[key], here, unknown)
            elif isinstance(rest, dict):
                _prune(value[key], rest, here, unknown)
            elif not keeps_unknown and rest is not True:
                unknown.append(here)
                del value[key]
    elif isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for index, item in enumerate(value):
                _prune(item, items, f"{path}[{index}]", unknown)


def _prune_metadata(metadata: Json, path: str, unknown: list[str]) -> None:
    for key in [key for key in metadata if key not in _METADATA_FIELDS]:
        unknown.append(f"{path}.{key}")
        del metadata[key]
    for index, owner in enumerate(metadata.get("ownerReferences") or ()):
        if isinstance(owner, dict):
            for key in [key for key in owner if key not in _OWNER_FIELDS]:
                unknown.append(f"{path}.ownerReferences[{index}].{key}")
                del owner[key]


def default(obj: Json, schema: Json) -> None:
    """Fills in the schema's defaults; a null is replaced where null is not allowed."""
    _drop_nulls(obj, schema)
    _default(obj, schema)


def _default(value: Any, schema: Json) -> None:
    if isinstance(value, dict):
        properties: Json = schema.get("properties") or {}
        for key, child in properties.items():
            if key not in value and "default" in child:
                value[key] = orjson.loads(orjson.dumps(child["default"]))
            if key in value:
                _default(value[key], child)
        rest = schema.get("additionalProperties")
        if isinstance(rest, dict):
            for key, item in value.items():
                if key not in properties:
                    _default(item, rest)
    elif isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for item in value:
                _default(item, items)


def _drop_nulls(value: Any, schema: Json) -> None:
    if isinstance(value, dict):
        properties: Json = schema.get("properties") or {}
        rest = schema.get("additionalProperties")
        for key in list(value):
            child = properties.get(key, rest if isinstance(rest, dict) else None)
            if child is None:
                continue
            if value[key] is None:
                if not child.get("nullable"):
                    del value[key]
            else:
                _drop_nulls(value[key], child)
    elif isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for item in value:
                _drop_nulls(item, items)


def walk(value: Any, schema: Json, path: str = "") -> Iterator[tuple[str, Any, Json]]:
    """Every value that has a schema, with its path, parents before children."""
    yield path, value, schema
    if isinstance(value, dict):
        properties: Json = schema.get("properties") or {}
        rest = schema.get("additionalProperties")
        for key, item in value.items():
            child = properties.get(key, rest if isinstance(rest, dict) else None)
            if child is not None:
                yield from walk(item, child, f"{path}.{key}" if key in properties else f"{path}[{key}]")
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            yield from walk(item, schema["items"], f"{path}[{index}]")
