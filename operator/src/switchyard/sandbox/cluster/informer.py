"""A live copy of one kind: list, then watch, then relist when the history is gone.

Writes made by this process enter the copy at once (`observe`, `observe_deleted`), so a controller that
looks again before the watch caught up sees what it did and does not do it twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

import aiohttp

from switchyard.sandbox.client import ApiClient, ApiError, Json, Resource, jittered_seconds

log = logging.getLogger(__name__)

Key = tuple[str, str]  # namespace, name
Handler = Callable[[Json | None, Json | None], None]  # old, new; None where there is none


def key_of(body: Json) -> Key:
    """Namespace (empty for cluster scope) and name."""
    meta = body["metadata"]
    return (meta.get("namespace", ""), meta["name"])


def version_of(body: Json) -> int:
    """The resourceVersion as a number: real servers and the sandbox both count up."""
    try:
        return int(body["metadata"].get("resourceVersion", 0))
    except ValueError:
        return 0


class Informer:
    """The objects of one resource by key, with indexes and change handlers."""

    def __init__(self, client: ApiClient, resource: Resource, *, is_metadata_only: bool = False) -> None:
        self.resource = resource
        self.synced = asyncio.Event()
        self.is_blind = False  # from a broken watch until the next sign of life
        self._client = client
        self._objects: dict[Key, Json] = {}
        self._handlers: list[Handler] = []
        self._indexers: dict[str, Callable[[Json], Iterable[str]]] = {}
        self._indexes: dict[str, dict[str, dict[Key, Json]]] = {}
        self._buried: dict[str, None] = {}  # uids that this process deleted and the watch still shows
        self._is_metadata_only = is_metadata_only

    # -- reading ---------------------------------------------------------------------------------

    def get(self, namespace: str, name: str) -> Json | None:
        """The object, or None. It must not be changed."""
        return self._objects.get((namespace, name))

    def values(self) -> list[Json]:
        """All objects."""
        return list(self._objects.values())

    def __len__(self) -> int:
        """How many objects there are."""
        return len(self._objects)

    def add_index(self, name: str, indexer: Callable[[Json], Iterable[str]]) -> None:
        """Keep an index: `indexer` gives the entries under which an object is found."""
        if name in self._indexers:
            return
        self._indexers[name] = indexer
        index: dict[str, dict[Key, Json]] = {}
        self._indexes[name] = index
        for key, body in self._objects.items():
            for entry in indexer(body):
                index.setdefault(entry, {})[key] = body

    def indexed(self, name: str, entry: str) -> list[Json]:
        """The objects under one entry of an index."""
        return list(self._indexes[name].get(entry, {}).values())

    def add_handler(self, handler: Handler) -> None:
        """Call `handler(old, new)` on every change, and once for each object that is there already."""
        self._handlers.append(handler)
        for body in list(self._objects.values()):
            handler(None, body)

    # -- own writes ------------------------------------------------------------------------------

    def observe(self, body: Json) -> None:
        """Take the answer to an own write into the copy, unless the watch is ahead of it."""
        self._set(body)

    def observe_deleted(self, body: Json) -> None:
        """Take an own deletion that is final into the copy."""
        uid = body["metadata"].get("uid", "")
        key = key_of(body)
        known = self._objects.get(key)
        if known is not None and known["metadata"].get("uid") == uid:
            self._buried[uid] = None
            self._remove(key)

    # -- the watch -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the API server until cancelled; outages are waited out with jitter."""
        version = ""
        failures = 0
        while True:
            try:
                if not version:
                    version = await self._relist()
                    self.is_blind = False
                    self.synced.set()
                async for event in self._client.watch(
                    self.resource.path(), version, accept=self._accept("") if self._is_metadata_only else ""
                ):
                    failures = 0
                    self.is_blind = False
                    body = event["object"]
                    version = body["metadata"].get("resourceVersion", version)
                    if event["type"] == "DELETED":
                        self._take_deleted(body)
                    elif event["type"] != "BOOKMARK":
                        self._set(body)
            except ApiError as error:
                if error.is_expired or error.status in (400, 404):
                    version = ""
                if not error.is_expired:
                    failures += 1
                    self.is_blind = True
                    level = logging.DEBUG if error.is_not_found else logging.WARNING
                    log.log(level, "%s: watch failed: %s", self.resource.plural, error)
            except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                failures += 1
                self.is_blind = True
                level = logging.WARNING if failures == 4 else logging.DEBUG  # once per outage
                log.log(level, "%s: watch broke: %s", self.resource.plural, error or type(error).__name__)
            await asyncio.sleep(jittered_seconds(failures, first=0.05, most=5.0))

    def _accept(self, suffix: str) -> str:
        return f"application/json;as=PartialObjectMetadata{suffix};g=meta.k8s.io;v=v1,application/json"

    async def _relist(self) -> str:
        path = self.resource.path()
        accept = self._accept("List") if self._is_metadata_only else ""
        document = await self._client.request("GET", path, accept=accept)
        version: str = document["metadata"]["resourceVersion"]
        seen: set[Key] = set()
        for body in document.get("items") or []:
            body.setdefault("apiVersion", self.resource.api_version)
            body.setdefault("kind", self.resource.kind)
            seen.add(key_of(body))
            self._set(body)
        horizon = int(version) if version.isdigit() else 0
        for key, body in list(self._objects.items()):
            # An own write may be newer than the list: it stays.
            if key not in seen and version_of(body) <= horizon:
                self._remove(key)
        self._buried.clear()
        return version

    # -- the copy --------------------------------------------------------------------------------

    def _set(self, body: Json) -> None:
        meta = body["metadata"]
        meta.pop("managedFields", None)  # nobody here reads them, and they are half of the memory
        if meta.get("uid", "") in self._buried:
            return
        key = key_of(body)
        old = self._objects.get(key)
        if old is not None and version_of(body) <= version_of(old):
            return
        if old is not None:
            self._unindex(key, old)
        self._objects[key] = body
        for name, indexer in self._indexers.items():
            for entry in indexer(body):
                self._indexes[name].setdefault(entry, {})[key] = body
        self._tell(old, body)

    def _take_deleted(self, body: Json) -> None:
        key = key_of(body)
        uid = body["metadata"].get("uid", "")
        known = self._objects.get(key)
        if known is not None and known["metadata"].get("uid") == uid:
            self._remove(key)
        self._buried.pop(uid, None)

    def _remove(self, key: Key) -> None:
        old = self._objects.pop(key, None)
        if old is not None:
            self._unindex(key, old)
            self._tell(old, None)

    def _unindex(self, key: Key, body: Json) -> None:
        for name, indexer in self._indexers.items():
            index = self._indexes[name]
            for entry in indexer(body):
                bucket = index.get(entry)
                if bucket is not None:
                    bucket.pop(key, None)
                    if not bucket:
                        del index[entry]

    def _tell(self, old: Json | None, new: Json | None) -> None:
        for handler in self._handlers:
            try:
                handler(old, new)
            except Exception:
                log.exception("%s: a handler failed", self.resource.plural)


class Caches:
    """One informer per resource for the whole process, started on first use."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._informers: dict[tuple[str, str], Informer] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def of(self, resource: Resource, *, is_metadata_only: bool = False) -> Informer:
        """The informer of a resource; a new one when nobody asked before."""
        key = (resource.group, resource.plural)
        if key not in self._informers:
            informer = Informer(self._client, resource, is_metadata_only=is_metadata_only)
            self._informers[key] = informer
            self._tasks[key] = asyncio.create_task(informer.run(), name=f"watch-{resource.plural}")
        return self._informers[key]

    async def synced(self) -> None:
        """Wait until every informer asked for so far has listed once."""
        await asyncio.gather(*(informer.synced.wait() for informer in list(self._informers.values())))

    def drop(self, resource: Resource) -> None:
        """Stop following a resource that no longer exists."""
        key = (resource.group, resource.plural)
        self._informers.pop(key, None)
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """Stop all watches."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
