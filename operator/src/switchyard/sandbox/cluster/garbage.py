"""Objects whose owners are gone, and owners that wait for their dependents.

Background: the owner goes at once, its dependents after it. Foreground: the owner waits for those that
block it. Orphan: the dependents lose the reference and stay.
"""

from __future__ import annotations

import asyncio
import logging

import aiohttp

from switchyard.sandbox.client import CRDS, ApiClient, ApiError, Json, Resource
from switchyard.sandbox.cluster.controller import WorkQueue
from switchyard.sandbox.cluster.discovery import discover_kinds
from switchyard.sandbox.cluster.informer import Caches, Informer, key_of

log = logging.getLogger(__name__)

_FOREGROUND = "foregroundDeletion"
_ORPHAN = "orphan"
# Many and short-lived, and nothing of theirs is owned in a way that matters.
_IGNORED = frozenset({("", "events"), ("events.k8s.io", "events"), ("coordination.k8s.io", "leases")})

Item = tuple[Resource, str, str]  # resource, namespace, name


class GarbageCollector:
    """Follows every kind and deletes what lost its last owner."""

    def __init__(self, client: ApiClient, caches: Caches) -> None:
        self._client = client
        self._caches = caches
        self._watched: dict[tuple[str, str], Informer] = {}
        self._kinds: dict[tuple[str, str], Resource] = {}  # (apiVersion, kind) -> resource
        self._owned: dict[str, dict[tuple[str, str, str], Item]] = {}  # owner uid -> dependents
        self._alive: set[str] = set()
        self._refresh = asyncio.Event()
        self.queue: WorkQueue[Item] = WorkQueue("garbage", self._sync, workers=8)
        caches.of(CRDS).add_handler(lambda _old, _new: self._refresh.set())

    async def run(self) -> None:
        """Follow the kinds that exist, for ever."""
        while True:
            self._refresh.clear()
            try:
                await self._follow()
            except (ApiError, aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                log.warning("discovery failed: %s", error)
                await asyncio.sleep(2.0)
                continue
            try:
                await asyncio.wait_for(self._refresh.wait(), 60.0)
                await asyncio.sleep(0.3)  # a CRD is served a moment after it was written
            except TimeoutError:
                pass

    async def _follow(self) -> None:
        kinds = await discover_kinds(self._client)
        served = {(kind.group, kind.plural) for kind in kinds}
        for kind in kinds:
            key = (kind.group, kind.plural)
            self._kinds[kind.api_version, kind.kind] = kind
            if key in self._watched or key in _IGNORED:
                continue
            informer = self._caches.of(kind, is_metadata_only=True)
            self._watched[key] = informer
            informer.add_handler(self._make_handler(kind))
        for key in set(self._watched) - served:
            informer = self._watched.pop(key)
            self._caches.drop(informer.resource)
            for body in informer.values():
                self._gone(body)

    def _make_handler(self, kind: Resource) -> _Handler:
        return _Handler(self, kind)

    def changed(self, kind: Resource, old: Json | None, new: Json | None) -> None:
        """Keep the graph, and queue what this change may have freed."""
        if old is not None:
            self._unlink(kind, old)
        if old is not None and (new is None or new["metadata"]["uid"] != old["metadata"]["uid"]):
            self._gone(old)
        if new is None:
            return
        meta = new["metadata"]
        self._alive.add(meta["uid"])
        item = _item(kind, new)
        owners = meta.get("ownerReferences") or ()
        for owner in owners:
            self._owned.setdefault(owner["uid"], {})[_flat(item)] = item
        if meta.get("deletionTimestamp"):
            if {_FOREGROUND, _ORPHAN} & set(meta.get("finalizers") or ()):
                self.queue.add(item)
        elif owners and (old is None or old["metadata"].get("ownerReferences") != owners):
            self.queue.add(item)

    def _unlink(self, kind: Resource, body: Json) -> None:
        item = _flat(_item(kind, body))
        for owner in body["metadata"].get("ownerReferences") or ():
            dependents = self._owned.get(owner["uid"])
            if dependents is not None:
                dependents.pop(item, None)
                if not dependents:
                    del self._owned[owner["uid"]]

    def _gone(self, body: Json) -> None:
        uid = body["metadata"]["uid"]
        self._alive.discard(uid)
        for item in list(self._owned.get(uid, {}).values()):
            self.queue.add(item)
        # Owners in foreground deletion wait for this one.
        for owner in body["metadata"].get("ownerReferences") or ():
            kind = self._kinds.get((owner["apiVersion"], owner["kind"]))
            if kind is not None and owner["uid"] in self._alive:
                namespace = body["metadata"].get("namespace", "") if kind.is_namespaced else ""
                self.queue.add((kind, namespace, owner["name"]))

    async def _sync(self, item: Item) -> float | None:
        kind, namespace, name = item
        informer = self._watched.get((kind.group, kind.plural))
        body = informer.get(namespace, name) if informer is not None else None
        if body is None:
            return None
        meta = body["metadata"]
        finalizers = meta.get("finalizers") or []
        if meta.get("deletionTimestamp"):
            if _ORPHAN in finalizers:
                await self._orphan(kind, body)
            elif _FOREGROUND in finalizers:
                return await self._finish_foreground(kind, body)
            return None
        return await self._judge(kind, body)

    async def _judge(self, kind: Resource, body: Json) -> float | None:
        meta = body["metadata"]
        owners: dict[str, list[Json]] = {"living": [], "waiting": [], "gone": []}
        for owner in meta.get("ownerReferences") or []:
            owners[await self._owner_state(owner, meta.get("namespace", ""))].append(owner)
        living, waiting, dangling = owners["living"], owners["waiting"], owners["gone"]
        if living:
            if dangling or waiting:
                await self._set_owners(kind, body, living)
            return None
        if not dangling and not waiting:
            return None
        # Where an owner waits in the foreground and this object has dependents, it waits for them too.
        policy = _FOREGROUND if waiting and self._owned.get(meta["uid"]) else ""
        propagation = {"foregroundDeletion": "Foreground"}.get(policy, "Background")
        if _ORPHAN in (meta.get("finalizers") or []):
            propagation = "Orphan"
        await self._client.delete(
            kind, meta.get("namespace", ""), meta["name"], uid=meta["uid"], propagation=propagation
        )
        return None

    async def _owner_state(self, owner: Json, namespace: str) -> str:
        """`living`, `waiting` (in foreground deletion for its dependents) or `gone`."""
        kind = self._kinds.get((owner["apiVersion"], owner["kind"]))
        if kind is None:
            kind = self._same_kind_elsewhere(owner)
        if kind is None:
            await self._follow()
            kind = self._kinds.get((owner["apiVersion"], owner["kind"]))
            if kind is None:
                return "living"  # an unknown kind is no proof that the owner is gone
        space = namespace if kind.is_namespaced else ""
        informer = self._watched.get((kind.group, kind.plural))
        found = informer.get(space, owner["name"]) if informer is not None else None
        if found is None or found["metadata"]["uid"] != owner["uid"]:
            try:
                found = await self._client.get(kind, space, owner["name"])
            except ApiError as error:
                if not error.is_not_found:
                    raise
                return "gone"
        meta = found["metadata"]
        if meta["uid"] != owner["uid"]:
            return "gone"
        is_waiting = meta.get("deletionTimestamp") and _FOREGROUND in (meta.get("finalizers") or [])
        return "waiting" if is_waiting and owner.get("blockOwnerDeletion") else "living"

    def _same_kind_elsewhere(self, owner: Json) -> Resource | None:
        """The same kind in the version that is served by preference: owners may be named by another one."""
        group = owner["apiVersion"].partition("/")[0] if "/" in owner["apiVersion"] else ""
        for (_, name), kind in self._kinds.items():
            if name == owner["kind"] and kind.group == group:
                return kind
        return None

    async def _orphan(self, kind: Resource, body: Json) -> None:
        uid = body["metadata"]["uid"]
        for item in list(self._owned.get(uid, {}).values()):
            informer = self._watched.get((item[0].group, item[0].plural))
            dependent = informer.get(item[1], item[2]) if informer is not None else None
            if dependent is not None:
                owners = [o for o in dependent["metadata"].get("ownerReferences") or [] if o["uid"] != uid]
                await self._set_owners(item[0], dependent, owners)
        await self._drop_finalizer(kind, body, _ORPHAN)

    async def _finish_foreground(self, kind: Resource, body: Json) -> float | None:
        uid = body["metadata"]["uid"]
        is_blocked = False
        for item in list(self._owned.get(uid, {}).values()):
            informer = self._watched.get((item[0].group, item[0].plural))
            dependent = informer.get(item[1], item[2]) if informer is not None else None
            if dependent is None:
                continue
            owners = dependent["metadata"].get("ownerReferences") or []
            is_blocked |= any(o["uid"] == uid and o.get("blockOwnerDeletion") for o in owners)
            if not dependent["metadata"].get("deletionTimestamp"):
                self.queue.add(item)
        if is_blocked:
            return 2.0
        await self._drop_finalizer(kind, body, _FOREGROUND)
        return None

    async def _drop_finalizer(self, kind: Resource, body: Json, finalizer: str) -> None:
        meta = body["metadata"]
        left = [name for name in meta.get("finalizers") or [] if name != finalizer]
        patch = {"metadata": {"finalizers": left, "resourceVersion": meta["resourceVersion"]}}
        await self._client.patch(kind, meta.get("namespace", ""), meta["name"], patch)

    async def _set_owners(self, kind: Resource, body: Json, owners: list[Json]) -> None:
        meta = body["metadata"]
        patch = {"metadata": {"ownerReferences": owners, "resourceVersion": meta["resourceVersion"]}}
        await self._client.patch(kind, meta.get("namespace", ""), meta["name"], patch)


class _Handler:
    """The change handler of one kind."""

    def __init__(self, collector: GarbageCollector, kind: Resource) -> None:
        self._collector = collector
        self._kind = kind

    def __call__(self, old: Json | None, new: Json | None) -> None:
        self._collector.changed(self._kind, old, new)


def _item(kind: Resource, body: Json) -> Item:
    return (kind, *key_of(body))


def _flat(item: Item) -> tuple[str, str, str]:
    return (f"{item[0].plural}.{item[0].group}", item[1], item[2])
