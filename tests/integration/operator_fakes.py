"""Stand-ins for the API server and kopf's indexes, for adapters that need only a little of either."""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from switchyard.adapters.connection import Answer
from switchyard.adapters.observed import Entry, WatchMemory
from switchyard.adapters.resources import ROUTES, WATCHED
from switchyard.core.world import Meta
from switchyard.engine.debounce import Debounce
from switchyard.engine.ports import Failed

META = Meta(name="chat", namespace="shop", uid="uid-1", resource_version="7", generation=2)


@dataclass
class FakeApi:
    """A Connection that keeps objects by path. `refuse` answers in its place when it returns something."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    refuse: Callable[[str, str], Answer | Failed | None] = lambda _method, _path: None
    conflicts: bool = True  # an apply without force over what is in place
    _versions: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None, **_: Any
    ) -> Answer | Failed:
        self.requests.append((method, path, dict(query or {}), copy.deepcopy(body)))
        refusal = self.refuse(method, path)
        if refusal is not None:
            return refusal
        if method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                return Answer(409, {"message": "already exists"})
            return self._store(201, path, copy.deepcopy(body))
        if method == "GET" and path not in self.objects:
            items = [o for p, o in self.objects.items() if p.rpartition("/")[0] == path]
            return Answer(200, {"items": items}) if items or path.endswith("s") else Answer(404, {})
        if method == "PATCH" and (query or {}).get("fieldManager", "").startswith("switchyard-p"):
            if path in self.objects and (query or {}).get("force") == "false" and self.conflicts:
                return Answer(409, {"message": "conflict with another manager"})
            stored = self.objects.get(path, {"metadata": {"uid": f"uid-{path}"}})
            return self._store(
                200, path, {**stored, **body, "metadata": {**stored["metadata"], **body["metadata"]}}
            )
        if path not in self.objects:
            return Answer(404, {"message": "not found"})
        if method == "PATCH":
            return self._store(200, path, {**self.objects[path], **body})
        if method == "DELETE":
            return Answer(200, self.objects.pop(path))
        return Answer(200, self.objects[path])

    def _store(self, status: int, path: str, body: dict[str, Any]) -> Answer:
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[path] = body
        return Answer(status, copy.deepcopy(body))


def memory_with(api: Any, **held: Iterable[Entry]) -> WatchMemory:
    """A watch memory whose indexes hold these entries by plural."""
    memory = WatchMemory(api, Debounce())
    set_index(memory, **held)
    memory.is_complete = True
    return memory


def set_index(memory: WatchMemory, **held: Iterable[Entry]) -> None:
    memory.watched = (*WATCHED, *ROUTES)
    indexes: dict[str, dict[tuple[str, str], list[Entry]]] = {each.plural: {} for each in memory.watched}
    for plural, entries in held.items():
        for entry in entries:
            indexes[plural].setdefault((entry.namespace, entry.name), []).append(entry)
    memory.take_indexes(indexes)


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)
