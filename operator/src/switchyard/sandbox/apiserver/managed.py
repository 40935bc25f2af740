"""Who manages which field: managedFields after an update and after a server-side apply.

An update gives its manager what it changed and takes that from everyone else. An apply states a manager's
whole opinion: it conflicts with what others say otherwise, and what it said before and leaves out now goes,
unless someone else holds it. Source: sigs.k8s.io/structured-merge-diff, merge/update.go; KEP-555.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from switchyard.sandbox.apiserver.errors import ApiError, bad_request
from switchyard.sandbox.apiserver.fieldsets import Fields, difference, intersection, ordered, paths, union
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo
from switchyard.sandbox.apiserver.typed import (
    compare,
    fields_of,
    merged,
    typed_schema,
    with_named_members,
    without,
)

_UPDATES_KEPT = 10  # older entries of updating managers are folded into one
_OWNED_BY_NOBODY: Fields = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {
        ".": {},
        "f:name": {},
        "f:namespace": {},
        "f:creationTimestamp": {},
        "f:deletionTimestamp": {},
        "f:deletionGracePeriodSeconds": {},
        "f:selfLink": {},
        "f:uid": {},
        "f:generation": {},
        "f:managedFields": {},
        "f:resourceVersion": {},
    },
}
# What Go structs always carry, so that a first write is not what brings it (for `.` in managedFields).
_ALWAYS_THERE: dict[tuple[str, str], Json] = {
    ("", "pods"): {"spec": {"containers": []}},
    ("apps", "deployments"): {
        "spec": {"strategy": {}, "template": {"metadata": {}, "spec": {"containers": []}}}
    },
    ("apps", "replicasets"): {"spec": {"template": {"metadata": {}, "spec": {"containers": []}}}},
    ("apps", "statefulsets"): {
        "spec": {"updateStrategy": {}, "template": {"metadata": {}, "spec": {"containers": []}}}
    },
    ("apps", "daemonsets"): {
        "spec": {"updateStrategy": {}, "template": {"metadata": {}, "spec": {"containers": []}}}
    },
    ("batch", "jobs"): {"spec": {"template": {"metadata": {}, "spec": {"containers": []}}}},
    ("apiextensions.k8s.io", "customresourcedefinitions"): {
        "spec": {"names": {}},
        "status": {"conditions": [], "acceptedNames": {}, "storedVersions": []},
    },
}


@dataclass(frozen=True, slots=True)
class Manager:
    """Who manages: an entry of managedFields without its fields and time."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    @property
    def told(self) -> str:
        """The manager as conflicts name it."""
        out = f'"{self.name}"'
        if self.subresource:
            out += f' with subresource "{self.subresource}"'
        return out if self.operation == "Apply" else f"{out} using {self.api_version}"


@dataclass(frozen=True, slots=True)
class Change:
    """Who writes, through what and when."""

    manager: str
    subresource: str
    timestamp: str
    is_forced: bool = False  # an apply that takes what others hold


@dataclass(slots=True)
class _Entry:
    fields: Fields
    time: str


def record_update(info: ResourceInfo, old: Json | None, new: Json, change: Change) -> None:
    """Brings managedFields of an updated object up to date, in place; `old` is None on creation."""
    timestamp = change.timestamp
    schema = typed_schema(info)
    entries = _read(new["metadata"].get("managedFields") or [])
    found = compare(_without_system(old if old is not None else _empty(info)), _without_system(new), schema)
    not_ours = _reset_fields(info, change.subresource)
    changed = difference(difference(found.changed, _OWNED_BY_NOBODY), not_ours)
    removed = difference(found.removed, not_ours)
    me = Manager(change.manager, "Update", info.api_version, change.subresource)
    if not changed and not removed:
        return
    for other, entry in list(entries.items()):
        if other != me:
            _take(entries, other, entry, union(changed, removed), timestamp)
    mine = entries.get(me) or _Entry({}, timestamp)
    fields = union(difference(mine.fields, removed), changed)
    if not fields:
        entries.pop(me, None)
    elif fields != mine.fields or me not in entries:
        entries[me] = _Entry(fields, timestamp)
    _write(new, _capped(entries))


def apply(info: ResourceInfo, live: Json | None, config: Json, change: Change) -> Json:
    """The live object after an apply, with managedFields. Raises 409 for conflicts that are not forced."""
    subresource, timestamp = change.subresource, change.timestamp
    schema = typed_schema(info)
    base = (
        live
        if live is not None
        else {"apiVersion": config["apiVersion"], "kind": config["kind"], "metadata": {}}
    )
    entries = _read(base["metadata"].get("managedFields") or [])
    if live is not None and not entries:
        _own_before_first_apply(info, live, entries, timestamp)
    me = Manager(change.manager, "Apply", info.api_version, subresource)
    last = next(
        (m for m in entries if (m.name, m.operation, m.subresource) == (me.name, "Apply", subresource)), None
    )
    last_entry = entries.pop(last) if last is not None else None
    try:
        mine = difference(fields_of(_without_system(config), schema), _OWNED_BY_NOBODY)
        mine = difference(mine, _reset_fields(info, subresource))
        old = _without_system(base)
        new: Json = merged(old, _only(config, subresource), schema)
    except (TypeError, AttributeError) as error:
        raise bad_request(f"failed to create typed patch object: {error}") from error
    if last_entry is not None:
        others = mine
        for entry in entries.values():
            others = union(others, entry.fields)
        new = _pruned(new, last_entry.fields, others, schema)
    found = compare(old, new, schema)
    contested = {
        manager: both
        for manager, entry in entries.items()
        if (both := intersection(entry.fields, found.changed))
    }
    if contested and not change.is_forced:
        raise _conflict(contested)
    for manager, entry in list(entries.items()):
        _take(entries, manager, entry, union(contested.get(manager, {}), found.removed), timestamp)
    if mine:
        is_same = last_entry is not None and last_entry.fields == mine and last == me
        entries[me] = _Entry(mine, last_entry.time if is_same and last_entry is not None else timestamp)
    new["metadata"] = {**base["metadata"], **_named_parts(new.get("metadata") or {}, base["metadata"])}
    new["metadata"].pop("managedFields", None)
    for key in ("name", "namespace"):
        if key in config["metadata"]:
            new["metadata"][key] = config["metadata"][key]
    if "uid" in config["metadata"]:
        new["metadata"]["uid"] = config["metadata"]["uid"]
    _write(new, entries)
    return new


_SYSTEM = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
)


def _without_system(obj: Json) -> Json:
    """The object with only those metadata that somebody can own."""
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key not in _SYSTEM}
    return {**obj, "metadata": metadata}


def _named_parts(new: Json, base: Json) -> Json:
    """The metadata that a merge may change; what it removed is told as empty."""
    out = dict(new)
    for key in base:
        if key not in new and key not in _SYSTEM:
            out[key] = None
    return out


def _only(config: Json, subresource: str) -> Json:
    """What of an applied object counts: its status alone for the status subresource."""
    obj = _without_system(config)
    if subresource == "status":
        return {key: value for key, value in obj.items() if key in ("apiVersion", "kind", "status")}
    return obj


def _pruned(merged_object: Json, last: Fields, held: Fields, schema: Json) -> Json:
    """The merged object without what its applier said last time, says no more, and nobody else holds."""
    all_fields = with_named_members(fields_of(merged_object, schema), schema)
    last_fields = with_named_members(last, schema)
    held_fields = with_named_members(held, schema)
    stripped = without(merged_object, last_fields, schema) or {}
    stripped_fields = with_named_members(fields_of(stripped, schema), schema)
    stale = difference(all_fields, union(stripped_fields, held_fields))
    kept = without(merged_object, stale, schema) or {}
    kept_fields = with_named_members(fields_of(kept, schema), schema)
    gone = intersection(difference(all_fields, kept_fields), last_fields)
    out: Json = without(merged_object, gone, schema) or {}
    out.setdefault("metadata", {})
    for key in ("apiVersion", "kind"):
        out[key] = merged_object[key]
    return out


def _reset_fields(info: ResourceInfo, subresource: str) -> Fields:
    """What a (sub)resource cannot change and so nobody owns through it."""
    if subresource == "status":
        if info.is_builtin:
            return {"f:spec": _Everything()}
        names = {
            f"f:{name}": _Everything()
            for name in (info.schema or {}).get("properties", {})
            if name != "status"
        }
        return {**names, "f:metadata": _Everything()}
    kept: Fields = {"f:status": _Everything()} if info.subresource("status") else {}
    if info.storage_key == ("", "namespaces"):
        kept["f:spec"] = {"f:finalizers": _Everything()}
    return kept


class _Everything(dict[str, Any]):
    """A node that has every path below it."""

    def __contains__(self, key: object) -> bool:
        return True

    def __getitem__(self, key: str) -> Any:
        return self

    def __bool__(self) -> bool:
        return True


def _take(
    entries: dict[Manager, _Entry], manager: Manager, entry: _Entry, taken: Fields, timestamp: str
) -> None:
    """Takes paths from a manager, and its entry when nothing is left."""
    left = difference(entry.fields, taken)
    if not left:
        del entries[manager]
    elif left != entry.fields:
        entries[manager] = _Entry(left, timestamp)


def _own_before_first_apply(
    info: ResourceInfo, live: Json, entries: dict[Manager, _Entry], timestamp: str
) -> None:
    fields = difference(fields_of(_without_system(live), typed_schema(info)), _OWNED_BY_NOBODY)
    if fields:
        entries[Manager("before-first-apply", "Update", info.api_version)] = _Entry(fields, timestamp)


def _conflict(contested: dict[Manager, Fields]) -> ApiError:
    causes, lines = [], []
    for manager in sorted(contested, key=lambda m: m.told):
        told = list(paths(contested[manager]))
        lines.append((manager.told, told))
        causes += [
            {"reason": "FieldManagerConflict", "message": f"conflict with {manager.told}", "field": path}
            for path in told
        ]
    if len(causes) == 1:
        message = f"Apply failed with 1 conflict: conflict with {lines[0][0]}: {lines[0][1][0]}"
    else:
        parts = [f"conflicts with {who}:\n" + "\n".join(f"- {path}" for path in told) for who, told in lines]
        message = f"Apply failed with {len(causes)} conflicts: " + "\n".join(parts)
    return ApiError(409, "Conflict", message, {"causes": causes})


def _empty(info: ResourceInfo) -> Json:
    if not info.is_builtin:
        return {}
    spec_like: Json = {"spec": {}, "status": {}}
    return {**spec_like, **_ALWAYS_THERE.get(info.storage_key, {})}


def _read(entries: list[Json]) -> dict[Manager, _Entry]:
    out: dict[Manager, _Entry] = {}
    for entry in entries:
        manager = Manager(
            entry.get("manager", ""),
            entry.get("operation", ""),
            entry.get("apiVersion", ""),
            entry.get("subresource", ""),
        )
        out[manager] = _Entry(entry.get("fieldsV1") or {}, entry.get("time", ""))
    return out


def _capped(entries: dict[Manager, _Entry]) -> dict[Manager, _Entry]:
    """The entries with the oldest updating managers folded into one where there are too many."""
    updates = sorted((m for m in entries if m.operation == "Update"), key=lambda m: entries[m].time)
    surplus = updates[: max(0, len(updates) - _UPDATES_KEPT)]
    if not surplus:
        return entries
    fields: Fields = {}
    time = ""
    for manager in surplus:
        entry = entries.pop(manager)
        fields, time = union(fields, entry.fields), max(time, entry.time)
    folded = Manager("ancient-changes", "Update", surplus[0].api_version)
    before = entries.get(folded)
    entries[folded] = _Entry(union(before.fields, fields) if before else fields, time)
    return entries


def _write(obj: Json, entries: dict[Manager, _Entry]) -> None:
    order = sorted(
        entries,
        key=lambda m: (m.operation, entries[m].time, m.name, m.api_version, m.subresource),
    )
    out = []
    for manager in order:
        entry: Json = {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": manager.api_version,
            "time": entries[manager].time,
            "fieldsType": "FieldsV1",
            "fieldsV1": ordered(entries[manager].fields),
        }
        if manager.subresource:
            entry["subresource"] = manager.subresource
        out.append(entry)
    if out:
        obj["metadata"]["managedFields"] = out
    else:
        obj["metadata"].pop("managedFields", None)
