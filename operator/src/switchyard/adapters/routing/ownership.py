"""Who wrote a field of an object, from its managedFields, and whether it holds what was asked for.

Kubernetes records for every field the managers that set it last, by server-side apply or by an update; who
changes a field that another had applied takes it away from that one. Who removes a field leaves no trace.
Source: kubernetes.io/docs/reference/using-api/server-side-apply, "Field management".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CUTOVER_MANAGER = "switchyard-cutover"

Json = Mapping[str, Any]


def find_writers(body: Json, *path: str) -> tuple[str, ...]:
    """The managers that own the field at `path` now, the latest first, each with how and when it wrote."""
    return tuple(_describe(entry) for entry in _entries(body) if _has_path(entry, path))


def is_written_by(body: Json, manager: str, *path: str) -> bool:
    """True when `manager` is among the owners of the field at `path`."""
    return any(entry.get("manager") == manager and _has_path(entry, path) for entry in _entries(body))


def equals(observed: Any, wanted: Any, defaulted: frozenset[str]) -> bool:
    """True when `observed` is `wanted`, but for fields named in `defaulted` that the API server added."""
    if isinstance(wanted, Mapping):
        return (
            isinstance(observed, Mapping)
            and observed.keys() - wanted.keys() <= defaulted
            and all(key in observed and equals(observed[key], wanted[key], defaulted) for key in wanted)
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return (
            isinstance(observed, Sequence)
            and len(observed) == len(wanted)
            and all(equals(there, asked, defaulted) for there, asked in zip(observed, wanted, strict=True))
        )
    return bool(observed == wanted)


def _entries(body: Json) -> Iterable[Json]:
    # `scale` sets a field of the spec; what is written by way of `status` is nobody's wish
    known = body["metadata"].get("managedFields") or ()
    entries = [each for each in known if each.get("subresource") != "status"]
    return sorted(entries, key=lambda entry: str(entry.get("time", "")), reverse=True)


def _has_path(entry: Json, path: Sequence[str]) -> bool:
    node: Any = entry.get("fieldsV1") or {}
    for part in path:
        node = node.get(f"f:{part}")
        if node is None:
            return False
    return True


def _describe(entry: Json) -> str:
    return f"{entry.get('manager', 'unknown')} ({entry.get('operation', '?')} at {entry.get('time', '?')})"
