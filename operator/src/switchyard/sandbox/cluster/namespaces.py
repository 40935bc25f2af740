"""What every namespace gets, and how one that is deleted is emptied."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from switchyard.sandbox.client import (
    CONFIG_MAPS,
    NAMESPACES,
    PODS,
    SERVICE_ACCOUNTS,
    ApiClient,
    ApiError,
    Json,
    Resource,
)
from switchyard.sandbox.cluster.conditions import is_pod_over, read_stamp, set_condition
from switchyard.sandbox.cluster.controller import WorkQueue
from switchyard.sandbox.cluster.discovery import discover_kinds
from switchyard.sandbox.cluster.informer import Informer

_ROOT_CA = "kube-root-ca.crt"
_DEFAULT_GRACE_SECONDS = 30
# In the order in which the status lists them.
_DONE = (
    ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    ("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"),
    ("NamespaceFinalizersRemaining", "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
)


class NamespaceController:
    """Default ServiceAccount and root CA in every namespace; content, then finalizer of those that go."""

    def __init__(
        self,
        client: ApiClient,
        namespaces: Informer,
        accounts: Informer,
        config_maps: Informer,
        ca_pem: bytes,
    ) -> None:
        self._client = client
        self._namespaces = namespaces
        self._accounts = accounts
        self._config_maps = config_maps
        self._ca_pem = ca_pem
        self.queue: WorkQueue[str] = WorkQueue("namespace", self._sync, workers=4)
        namespaces.add_handler(self._changed)
        accounts.add_handler(self._furniture_changed)
        config_maps.add_handler(self._furniture_changed)

    def _changed(self, _old: Json | None, new: Json | None) -> None:
        if new is not None:
            self.queue.add(new["metadata"]["name"])

    def _furniture_changed(self, old: Json | None, new: Json | None) -> None:
        if new is None and old is not None and old["metadata"]["name"] in ("default", _ROOT_CA):
            self.queue.add(old["metadata"]["namespace"])

    async def _sync(self, name: str) -> float | None:
        namespace = self._namespaces.get("", name)
        if namespace is None:
            return None
        if namespace["metadata"].get("deletionTimestamp"):
            return await self._empty(namespace)
        await self._furnish(name)
        return None

    async def _furnish(self, name: str) -> None:
        await asyncio.gather(self._accounts.synced.wait(), self._config_maps.synced.wait())
        if self._accounts.get(name, "default") is None:
            await self._make(SERVICE_ACCOUNTS, name, {"metadata": {"name": "default", "namespace": name}})
        present = self._config_maps.get(name, _ROOT_CA)
        data = {"ca.crt": self._ca_pem.decode()}
        if present is None:
            text = "Contains the CA bundle of the API server, for clients inside the cluster."
            meta = {"name": _ROOT_CA, "namespace": name, "annotations": {"kubernetes.io/description": text}}
            await self._make(CONFIG_MAPS, name, {"metadata": meta, "data": data})
        elif present.get("data") != data:
            await self._client.patch(CONFIG_MAPS, name, _ROOT_CA, {"data": data})

    async def _make(self, resource: Resource, namespace: str, body: Json) -> None:
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        try:
            await self._client.create(resource, namespace, body)
        except ApiError as error:
            # It exists already, or the namespace is on its way out.
            if error.status not in (403, 404, 409):
                raise

    async def _empty(self, namespace: Json) -> float | None:
        """Delete all content; finish when none is left. Answers when to look again."""
        name = namespace["metadata"]["name"]
        if not namespace["spec"].get("finalizers"):
            return None
        kinds = await discover_kinds(self._client)
        results = await asyncio.gather(
            *(self._empty_kind(kind, name, verbs) for kind, verbs in kinds.items() if kind.is_namespaced)
        )
        remaining = {kind: left for kind, left in results if left}
        grace = await self._grace_seconds(name) if PODS in remaining else 0.0
        blocking = {kind: left for kind, left in remaining.items() if not (kind == PODS and grace > 0)}
        await self._write_conditions(namespace, blocking)
        if remaining:
            return 0.5
        current = await self._client.get(NAMESPACES, "", name)
        current["spec"]["finalizers"] = [
            f for f in current["spec"].get("finalizers") or [] if f != "kubernetes"
        ]
        await self._client.update(NAMESPACES, current, "finalize")
        return None

    async def _empty_kind(
        self, kind: Resource, name: str, verbs: frozenset[str]
    ) -> tuple[Resource, list[Json]]:
        """What is left of a kind after deleting all of it."""
        document = await self._client.list(kind, name)
        items: list[Json] = document.get("items") or []
        fresh = [body for body in items if not body["metadata"].get("deletionTimestamp")]
        if not fresh:
            return kind, items
        try:
            if "deletecollection" in verbs:
                options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
                await self._client.request("DELETE", kind.path(name), body=options)
            else:
                for body in fresh:
                    await self._client.delete(kind, name, body["metadata"]["name"], propagation="Background")
        except ApiError as error:
            if error.status not in (404, 405):
                raise
        document = await self._client.list(kind, name)
        return kind, document.get("items") or []

    async def _grace_seconds(self, name: str) -> float:
        """How long the pods of the namespace may still take to end, by their own grace periods."""
        longest = 0.0
        for pod in (await self._client.list(PODS, name)).get("items") or []:
            if is_pod_over(pod) or pod["metadata"].get("finalizers"):
                continue
            grace = pod["spec"].get("terminationGracePeriodSeconds", _DEFAULT_GRACE_SECONDS)
            since = read_stamp(pod["metadata"].get("deletionTimestamp"))
            passed = (datetime.now(UTC) - since).total_seconds() if since else 0.0
            longest = max(longest, grace - max(0.0, passed))
        return longest

    async def _write_conditions(self, namespace: Json, remaining: dict[Resource, list[Json]]) -> None:
        current = self._namespaces.get("", namespace["metadata"]["name"]) or namespace
        conditions: list[Json] = (current.get("status") or {}).get("conditions") or []
        for kind, reason, message in _DONE:
            conditions = set_condition(
                conditions,
                {"type": kind, "status": "False", "reason": reason, "message": message},
                time_fields=("lastTransitionTime",),
            )
        if remaining:
            parts = [f"{_name(kind)} has {len(left)} resource instances" for kind, left in remaining.items()]
            text = f"Some resources are remaining: {', '.join(sorted(parts))}"
            conditions = _replace(conditions, "NamespaceContentRemaining", "SomeResourcesRemain", text)
            counts: dict[str, int] = {}
            for body in (body for left in remaining.values() for body in left):
                for finalizer in body["metadata"].get("finalizers") or ():
                    counts[finalizer] = counts.get(finalizer, 0) + 1
            if counts:
                parts = [f"{name} in {count} resource instances" for name, count in sorted(counts.items())]
                text = f"Some content in the namespace has finalizers remaining: {', '.join(parts)}"
                conditions = _replace(
                    conditions, "NamespaceFinalizersRemaining", "SomeFinalizersRemain", text
                )
        order = [kind for kind, _, _ in _DONE]
        conditions = sorted(
            conditions, key=lambda c: order.index(c["type"]) if c["type"] in order else len(order)
        )
        if conditions == (current.get("status") or {}).get("conditions"):
            return
        status = {**(current.get("status") or {}), "conditions": conditions}
        changed = await self._client.update(NAMESPACES, {**current, "status": status}, "status")
        self._namespaces.observe(changed)


def _replace(conditions: list[Json], kind: str, reason: str, message: str) -> list[Json]:
    wanted = {"type": kind, "status": "True", "reason": reason, "message": message}
    return set_condition(conditions, wanted, time_fields=("lastTransitionTime",))


def _name(kind: Resource) -> str:
    return f"{kind.plural}.{kind.group}" if kind.group else f"{kind.plural}."
