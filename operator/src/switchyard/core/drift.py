"""Whether an observed child still matches what is wanted.

The observed object carries defaults and other managers' fields, so a desired one is compared as a subset. A
field that is no longer wanted leaves no trace in a subset: the hash of the last applied intent shows it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from switchyard.core.placement.quantities import read_quantity

APPLIED_HASH = "switchyard.dev/applied-hash"

# Lists that the API server merges by key: others may own further entries, ours must be there unchanged.
_KEYS_OF_LISTS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "ownerReferences": ("uid",),
    "ports": ("containerPort", "port", "protocol"),
}
_QUANTITY_MAPS = frozenset({"limits", "requests"})
_QUANTITY_FIELDS = frozenset({"sizeLimit", "divisor"})


def seal(body: Mapping[str, Any]) -> dict[str, Any]:
    """`body` with the hash of its own content as an annotation."""
    metadata = dict(body["metadata"])
    metadata["annotations"] = {**metadata.get("annotations", {}), APPLIED_HASH: _digest(body)}
    return {**body, "metadata": metadata}


def differs(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> bool:
    """True when applying `desired` (sealed) would change `observed`."""
    return _annotation(desired) != _annotation(observed) or not _includes(observed, desired, "")


def _annotation(body: Mapping[str, Any]) -> str:
    annotations = body.get("metadata", {}).get("annotations") or {}
    return str(annotations.get(APPLIED_HASH, ""))


def _digest(body: Mapping[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _includes(observed: Any, desired: Any, field: str) -> bool:
    if isinstance(desired, dict):
        if not isinstance(observed, dict):
            return False
        is_quantities = field in _QUANTITY_MAPS
        for key, value in desired.items():
            if key not in observed:
                if value is None or value in ("", False, [], {}):  # the server leaves out what is empty
                    continue
                return False
            if is_quantities or key in _QUANTITY_FIELDS:
                if not _equal_quantities(observed[key], value):
                    return False
            elif not _includes(observed[key], value, key):
                return False
        return True
    if isinstance(desired, (list, tuple)):
        if not isinstance(observed, (list, tuple)):
            return False
        return _includes_list(observed, desired, field)
    return bool(observed == desired)


def _includes_list(observed: Sequence[Any], desired: Sequence[Any], field: str) -> bool:
    keys = _KEYS_OF_LISTS.get(field)
    if keys is None:
        return len(observed) == len(desired) and all(
            _includes(there, wanted, "") for there, wanted in zip(observed, desired, strict=True)
        )
    by_key = {_identity(item, keys): item for item in observed}
    return all(
        _identity(item, keys) in by_key and _includes(by_key[_identity(item, keys)], item, "")
        for item in desired
    )


def _identity(item: Any, keys: tuple[str, ...]) -> tuple[Any, ...]:
    if not isinstance(item, dict):
        return (str(item),)
    return tuple(item.get(key, "TCP" if key == "protocol" else None) for key in keys)


def _equal_quantities(observed: Any, desired: Any) -> bool:
    there, wanted = read_quantity(observed), read_quantity(desired)
    return bool(observed == desired) if there is None or wanted is None else there == wanted
