"""A cluster's objects in a dict, with all built-in kinds registered."""

from __future__ import annotations

from functools import cache

from switchyard.sandbox.apiserver.builtins.kinds import builtin_resources
from switchyard.sandbox.apiserver.resources import Json, Registry, ResourceInfo


@cache
def builtins() -> tuple[ResourceInfo, ...]:
    return tuple(builtin_resources())


def new_registry() -> Registry:
    registry = Registry()
    registry.add(builtins())
    return registry


def info_of(kind: str, group: str = "") -> ResourceInfo:
    return next(info for info in builtins() if (info.kind, info.group) == (kind, group))


class FakeObjects:
    """Stored objects as the surface sees them; `put` counts as a write."""

    def __init__(self) -> None:
        self.resource_version = 1
        self._shelves: dict[tuple[str, str], dict[tuple[str, str], Json]] = {}
        self._writes: dict[tuple[str, str], int] = {}

    def put(self, info: ResourceInfo, obj: Json) -> Json:
        metadata = obj.setdefault("metadata", {})
        metadata.setdefault("uid", f"uid-{metadata['name']}")
        shelf = self._shelves.setdefault(info.storage_key, {})
        shelf[metadata.get("namespace", ""), metadata["name"]] = obj
        self._writes[info.storage_key] = self.write_count(info) + 1
        self.resource_version += 1
        return obj

    def get(self, info: ResourceInfo, namespace: str, name: str) -> Json | None:
        return self._shelves.get(info.storage_key, {}).get((namespace, name))

    def list(self, info: ResourceInfo, namespace: str = "") -> list[Json]:
        shelf = self._shelves.get(info.storage_key, {})
        return [obj for key, obj in sorted(shelf.items()) if not namespace or key[0] == namespace]

    def write_count(self, info: ResourceInfo) -> int:
        return self._writes.get(info.storage_key, 0)
