"""Objects in memory, by resource, with the history that watches and consistent pages are served from.

Writes happen on one event loop, one after the other, so the store needs no locks. A stored dict is never
changed in place: a write puts a new one, and readers may keep what they were given. Every write takes the
next global resource version. Each resource ("shelf") keeps its latest events; what was dropped is
remembered as `compacted`, and who asks for older history gets CompactedError.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

import orjson

from switchyard.sandbox.apiserver.resources import Json, ResourceInfo

Key = tuple[str, str]  # namespace (empty for cluster-scoped kinds), name
ShelfKey = tuple[str, str]  # group, plural
Write = Literal["ADDED", "MODIFIED", "DELETED"]

HISTORY_PER_RESOURCE = 8192  # events; a watch that is further behind must list again


class CompactedError(Exception):
    """The history from this version on is no longer there."""


class Stored:
    """An object as it is stored, with its JSON, which is made once and served many times."""

    __slots__ = ("_raw", "obj", "version", "views")

    def __init__(self, obj: Json, version: int, raw: bytes | None = None) -> None:
        self.obj = obj
        self.version = version
        self._raw = raw
        self.views: dict[str, bytes] | None = None  # JSON in another API version, by that version

    @property
    def raw(self) -> bytes:
        """The object's JSON."""
        if self._raw is None:
            self._raw = orjson.dumps(self.obj)
        return self._raw

    def copy(self) -> Json:
        """A private copy that may be changed."""
        out: Json = orjson.loads(self.raw)
        return out


class Event:
    """One write: `previous` is None for ADDED; `current` of DELETED is the last state, newly versioned."""

    __slots__ = ("current", "key", "previous", "type", "version")

    def __init__(self, kind: Write, key: Key, current: Stored, previous: Stored | None) -> None:
        self.type: Write = kind
        self.key = key
        self.current = current
        self.previous = previous
        self.version = current.version


@dataclass
class Shelf:
    """The objects of one resource in order, and their latest events."""

    items: dict[Key, Stored] = field(default_factory=dict)
    order: list[Key] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    compacted: int = 0  # the version of the last event dropped
    writes: int = 0
    waiting: set[asyncio.Future[None]] = field(default_factory=set)

    def keys_in(self, namespace: str) -> list[Key]:
        """The keys in order: all, or those of one namespace."""
        if not namespace:
            return self.order
        start = bisect_left(self.order, (namespace, ""))
        end = bisect_left(self.order, (namespace + "\0", ""))
        return self.order[start:end]

    def since(self, version: int) -> Iterator[Event]:
        """The events after a version, oldest first. Raises CompactedError."""
        if version < self.compacted:
            raise CompactedError
        start = bisect_right(self.events, version, key=lambda event: event.version)
        return islice(self.events, start, None)

    def at(self, version: int) -> dict[Key, Stored]:
        """The objects as they were at a version. Raises CompactedError."""
        if version < self.compacted:
            raise CompactedError
        then = dict(self.items)
        for event in reversed(self.events):
            if event.version <= version:
                break
            if event.previous is None:
                then.pop(event.key, None)
            else:
                then[event.key] = event.previous
        return then

    async def changed(self, version: int) -> None:
        """Returns once there are events after `version`."""
        if self.events and self.events[-1].version > version:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.add(future)
        try:
            await future
        finally:
            self.waiting.discard(future)

    def wake(self) -> None:
        """Lets everyone who waits look again."""
        for future in self.waiting:
            if not future.done():
                future.set_result(None)
        self.waiting.clear()


class Store:
    """All objects of a server."""

    def __init__(self, history_per_resource: int = HISTORY_PER_RESOURCE) -> None:
        self._shelves: dict[ShelfKey, Shelf] = {}
        self._version = 0
        self._history = history_per_resource
        self._listeners: list[Callable[[ShelfKey, Event], None]] = []

    @property
    def resource_version(self) -> int:
        """The version of the latest write of all."""
        return self._version

    def shelf(self, key: ShelfKey) -> Shelf:
        """The shelf of a resource, an empty one where nothing was ever stored."""
        found = self._shelves.get(key)
        if found is None:
            found = self._shelves[key] = Shelf(compacted=0 if self._version == 0 else self._floor)
        return found

    _floor = 0  # history before this is gone on every shelf (set by a restart)

    def stored(self, info: ResourceInfo, namespace: str, name: str) -> Stored | None:
        """What is stored under a name, None where nothing is."""
        shelf = self._shelves.get(info.storage_key)
        return shelf.items.get((namespace, name)) if shelf else None

    def get(self, info: ResourceInfo, namespace: str, name: str) -> Json | None:
        """The object or None; it must not be changed."""
        found = self.stored(info, namespace, name)
        return found.obj if found else None

    def list(self, info: ResourceInfo, namespace: str = "") -> list[Json]:
        """All objects, or those of one namespace, by namespace and name; they must not be changed."""
        shelf = self._shelves.get(info.storage_key)
        return [shelf.items[key].obj for key in shelf.keys_in(namespace)] if shelf else []

    def write_count(self, info: ResourceInfo) -> int:
        """A number that grows with each write to the resource."""
        shelf = self._shelves.get(info.storage_key)
        return shelf.writes if shelf else 0

    def put(self, shelf_key: ShelfKey, obj: Json) -> Stored:
        """Stores an object under its name with a new version, which is set in its metadata."""
        shelf = self.shelf(shelf_key)
        metadata = obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        version = self._version = self._version + 1
        metadata["resourceVersion"] = str(version)
        current = Stored(obj, version)
        previous = shelf.items.get(key)
        shelf.items[key] = current
        if previous is None:
            insort(shelf.order, key)
        self._record(
            shelf_key, shelf, Event("ADDED" if previous is None else "MODIFIED", key, current, previous)
        )
        return current

    def remove(self, shelf_key: ShelfKey, key: Key, last: Json | None = None) -> Stored | None:
        """The last state of the object removed (or `last` in its place), None where there was none."""
        shelf = self.shelf(shelf_key)
        previous = shelf.items.pop(key, None)
        if previous is None:
            return None
        del shelf.order[bisect_left(shelf.order, key)]
        version = self._version = self._version + 1
        obj = dict(previous.obj if last is None else last)
        obj["metadata"] = {**obj["metadata"], "resourceVersion": str(version)}
        gone = Stored(obj, version)
        self._record(shelf_key, shelf, Event("DELETED", key, gone, previous))
        return gone

    def on_write(self, listener: Callable[[ShelfKey, Event], None]) -> None:
        """Calls `listener` with each write before anyone is told of it."""
        self._listeners.append(listener)

    def compact(self) -> None:
        """Drops all history: watches from older versions get 410."""
        for shelf in self._shelves.values():
            shelf.events.clear()
            shelf.compacted = self._version
            shelf.wake()
        self._floor = self._version

    def restore(self, version: int, objects: Iterator[tuple[ShelfKey, Json]]) -> None:
        """Fills an empty store with what was kept from an earlier run; its history is not kept."""
        for shelf_key, obj in objects:
            shelf = self.shelf(shelf_key)
            metadata = obj["metadata"]
            key = (metadata.get("namespace", ""), metadata["name"])
            shelf.items[key] = Stored(obj, int(metadata["resourceVersion"]))
        self._version = self._floor = version
        for shelf in self._shelves.values():
            shelf.order = sorted(shelf.items)
            shelf.compacted = version

    def everything(self) -> Iterator[tuple[ShelfKey, Stored]]:
        """Every object with the key of its shelf."""
        for shelf_key, shelf in self._shelves.items():
            for stored in shelf.items.values():
                yield shelf_key, stored

    def _record(self, shelf_key: ShelfKey, shelf: Shelf, event: Event) -> None:
        for listener in self._listeners:
            listener(shelf_key, event)
        shelf.writes += 1
        shelf.events.append(event)
        if len(shelf.events) > self._history + self._history // 4:  # in strides: dropping one by one is slow
            stride = len(shelf.events) - self._history
            shelf.compacted = shelf.events[stride - 1].version
            del shelf.events[:stride]
        shelf.wake()
