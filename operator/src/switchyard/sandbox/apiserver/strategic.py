"""Strategic merge patches: like merge patches, but lists of named things merge item by item.

Which lists merge, and by which key, the schema of the kind says (`x-kubernetes-patch-strategy` and
`-merge-key`). Directives: `$patch: replace|delete|merge` in a map or list, `$deleteFromPrimitiveList/F`,
`$setElementOrder/F`, `$retainKeys`.
Source: k8s.io/apimachinery/pkg/util/strategicpatch and its design note.
"""

from __future__ import annotations

from typing import Any

from switchyard.sandbox.apiserver.errors import bad_request
from switchyard.sandbox.apiserver.resources import Json

_DELETE_FROM = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"
_RETAIN = "$retainKeys"
_PATCH = "$patch"

_METADATA_SCHEMA: Json = {
    "properties": {
        "finalizers": {"type": "array", "x-kubernetes-patch-strategy": "merge", "items": {"type": "string"}},
        "ownerReferences": {
            "type": "array",
            "x-kubernetes-patch-strategy": "merge",
            "x-kubernetes-patch-merge-key": "uid",
            "items": {"type": "object"},
        },
    }
}


def strategic_merge(target: Json, patch: Json, schema: Json) -> Json:
    """The target after a strategic merge patch. Shares what is kept. Raises 400."""
    properties = {**(schema.get("properties") or {}), "metadata": _METADATA_SCHEMA}
    merged = _merge_map(target, patch, {**schema, "properties": properties})
    return merged if isinstance(merged, dict) else {}


def _merge_map(target: Any, patch: Json, schema: Json) -> Any:
    directive = patch.get(_PATCH)
    if directive == "replace":
        return _clean({key: value for key, value in patch.items() if key != _PATCH})
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"Unknown patch type {directive!r} found in the patch")
    out = dict(target) if isinstance(target, dict) else {}
    retained = patch.get(_RETAIN)
    if retained is not None:
        out = {key: value for key, value in out.items() if key in retained}
    properties: Json = schema.get("properties") or {}
    rest = schema.get("additionalProperties")
    for key, value in patch.items():
        if key in (_PATCH, _RETAIN):
            continue
        if key.startswith(_DELETE_FROM):
            field = key.removeprefix(_DELETE_FROM)
            if isinstance(out.get(field), list):
                out[field] = [item for item in out[field] if item not in value]
            continue
        if key.startswith(_ORDER):
            field = key.removeprefix(_ORDER)
            if field not in patch and isinstance(out.get(field), list):
                out[field] = _merge_list(out[field], [], properties.get(field, {}), value)
            continue
        child = properties.get(key) or (rest if isinstance(rest, dict) else {})
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict):
            merged = _merge_map(out.get(key), value, child)
            if value.get(_PATCH) == "delete":
                out.pop(key, None)
            else:
                out[key] = merged
        elif isinstance(value, list):
            out[key] = _merge_list(out.get(key), value, child, patch.get(_ORDER + key))
        else:
            out[key] = value
    return out


def _merge_list(target: Any, patch: list[Any], schema: Json, order: list[Any] | None) -> list[Any]:
    strategies = str(schema.get("x-kubernetes-patch-strategy", "")).split(",")
    if "merge" not in strategies:
        return [_clean(item) for item in patch]
    present: list[Any] = target if isinstance(target, list) else []
    key = schema.get("x-kubernetes-patch-merge-key")
    if key is None or not all(isinstance(item, dict) for item in (*present, *patch)):
        merged = [*present, *(item for item in patch if item not in present)]
        return _ordered(merged, present, order, None) if order is not None else merged
    if any(item.get(_PATCH) == "replace" for item in patch):
        return [_clean(item) for item in patch if item.get(_PATCH) != "replace"]
    items = schema.get("items") or {}
    by_key: dict[Any, Any] = {item.get(key): item for item in present}
    appended: list[Any] = []
    for item in patch:
        if key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        name = item[key]
        if item.get(_PATCH) == "delete":
            by_key.pop(name, None)
        elif item.get(_PATCH) == "replace":
            by_key[name] = _clean(item)
        else:
            if name not in by_key:
                appended.append(name)
            by_key[name] = _merge_map(by_key.get(name), item, items)
    names = [item.get(key) for item in present if item.get(key) in by_key]
    names += [name for name in appended if name in by_key and name not in names]
    patched = [item[key] for item in patch if item.get(_PATCH) is None]
    merged = [by_key[name] for name in _patch_order(names, patched)]
    if order is None:
        return merged
    wanted = [item.get(key) if isinstance(item, dict) else item for item in order]
    return _ordered(merged, present, wanted, key)


def _patch_order(names: list[Any], patched: list[Any]) -> list[Any]:
    """The names with those in the patch in its order; the others stay where they stood before them."""
    return _interleave([name for name in patched if name in names], names, names)


def _ordered(merged: list[Any], present: list[Any], wanted: list[Any], key: str | None) -> list[Any]:
    """The items in the order wanted; those that it does not name keep their place in the live list."""

    def name_of(item: Any) -> Any:
        return item.get(key) if key is not None else item

    by_name = {name_of(item): item for item in merged}
    live = [name_of(item) for item in present]
    first = [name for name in wanted if name in by_name]
    names = _interleave(first, [name_of(item) for item in merged], live)
    return [by_name[name] for name in names]


def _interleave(first: list[Any], names: list[Any], live: list[Any]) -> list[Any]:
    """`first` in its order, with the other names before the first that they preceded in the live list."""
    position = {name: index for index, name in enumerate(live)}
    others = [name for name in names if name not in first]
    out: list[Any] = []
    waiting = list(others)
    for name in first:
        at = position.get(name)
        while waiting and at is not None and position.get(waiting[0], len(live)) < at:
            out.append(waiting.pop(0))
        out.append(name)
    return out + waiting


def _clean(value: Any) -> Any:
    """A value of a patch without directives and nulls, as it is stored where nothing was before."""
    if isinstance(value, dict):
        return {
            key: _clean(item) for key, item in value.items() if item is not None and not key.startswith("$")
        }
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value
