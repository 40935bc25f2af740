"""The loop's reader and writer ports on a real API server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from switchyard.adapters.connection import Answer, Connection, refusal_of
from switchyard.adapters.events import EventRecorder
from switchyard.adapters.observed import WatchMemory
from switchyard.adapters.projection import (
    controller_uid,
    project_child,
    project_plan,
    project_pool,
    project_workload,
)
from switchyard.adapters.resources import (
    BY_KIND,
    CHILDREN,
    NAMESPACES,
    NODES,
    PLANS,
    POD_TEMPLATES,
    PODS,
    POOLS,
    RESOURCE_QUOTAS,
    ROUTES,
    WORKLOADS,
    Resource,
)
from switchyard.api.labels import MANAGED_BY
from switchyard.core.decisions import Apply, Delete, EventNote, FinalizerWrite, StatusWrite
from switchyard.core.holding import find_holder
from switchyard.core.world import Plan, Pool, Settings, Unreadable, Workload, World
from switchyard.engine.ports import Conflict, Denied, Failed, NotSynced, Observed, WriteResult, Written
from switchyard.engine.signals import Outside

logger = logging.getLogger(__name__)

APPLY_PATCH = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
_PROJECTIONS: Mapping[str, Callable[[Mapping[str, Any]], Observed]] = {
    POOLS.kind: project_pool,
    WORKLOADS.kind: project_workload,
    PLANS.kind: project_plan,
}


@dataclass
class IndexReader:
    """Worlds from kopf's indexes."""

    memory: WatchMemory
    settings: Settings
    missing: tuple[str, ...] = ("the first list of every kind",)
    outside: Outside = field(default_factory=Outside)

    def snapshot(self, now: datetime) -> World | NotSynced:
        if not self.memory.is_complete:
            return NotSynced(self.missing)
        pools, workloads, plans = self._values(POOLS), self._values(WORKLOADS), self._values(PLANS)
        routes = [each for each in ROUTES if each in self.memory.watched]
        return World(
            now=now,
            pools=tuple(p for p in pools if isinstance(p, Pool)),
            workloads=tuple(w for w in workloads if isinstance(w, Workload)),
            plans=tuple(p for p in plans if isinstance(p, Plan)),
            unreadable=tuple(u for u in (*pools, *workloads, *plans) if isinstance(u, Unreadable)),
            nodes=tuple(self._values(NODES)),
            pods=tuple(self._values(PODS)),
            children=tuple(
                sorted(
                    (child for resource in (*CHILDREN, *routes) for child in self._values(resource)),
                    key=lambda child: (child.meta.namespace, child.meta.name, child.kind),
                )
            ),
            pod_templates=tuple(self._values(POD_TEMPLATES)),
            namespaces={entry.name: entry.value for entry in self.memory.entries(NAMESPACES.plural)},
            settings=self.settings,
            route_kinds=frozenset(each.kind for each in routes),
            quotas=tuple(self._values(RESOURCE_QUOTAS)),
            signals=dict(self.outside.signals),
            learned=dict(self.outside.learned),
            prices=dict(self.outside.prices),
        )

    def _values(self, resource: Resource) -> list[Any]:
        # two entries of one name: the first was deleted unseen and made anew; the later one is in place
        by_name = {(entry.namespace, entry.name): entry for entry in self.memory.entries(resource.plural)}
        return [by_name[key].value for key in sorted(by_name) if by_name[key].value is not None]


@dataclass
class KubernetesWriter:
    """Writes with preconditions; never a spec, label or annotation of a user's object."""

    connection: Connection
    memory: WatchMemory
    recorder: EventRecorder

    async def apply(self, apply: Apply) -> WriteResult:
        """Server-side apply that never takes what another owns.

        What the watch shows as ours is applied with force, to exactly that object (its uid is the lock).
        A name that it does not show is applied without force: new, it is made; in place, every field that
        another set otherwise is a conflict, and then a look tells whose it is. A route is looked at before:
        much of it is optional, so one of somebody else need not conflict with ours.
        """
        body = apply.body
        resource = BY_KIND[str(body["kind"])]
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        if apply.is_new:
            return await self._create(resource, apply)
        uid = self.memory.uid_of(resource.plural, namespace, name)
        if uid:
            return _result(await self._send(resource, apply, uid), project_child)
        if resource not in ROUTES:
            answer = await self._send(resource, apply)
            if not isinstance(answer, Answer) or answer.status != 409:
                return _result(answer, project_child)
        found = await self.connection.request("GET", resource.path(namespace, name))
        if not isinstance(found, Answer) or (not found.is_success and found.status != 404):
            return _result(found, project_child)
        if not found.is_success:
            return _result(await self._send(resource, apply), project_child)
        if not _is_same_owner(found.body, body):
            return Denied(409, _taken(resource, namespace, name, found.body), is_name_taken=True)
        if holder := find_holder(found.body):
            return Conflict(f"the traffic of {resource.kind} {namespace}/{name} is held by {holder}")
        return _result(await self._send(resource, apply, found.body["metadata"]["uid"]), project_child)

    async def _create(self, resource: Resource, apply: Apply) -> WriteResult:
        """Make the object; one of that name is left as it is, and the watch will show it."""
        answer = await self.connection.request(
            "POST",
            resource.path(apply.body["metadata"]["namespace"]),
            query={"fieldManager": apply.manager},
            body=apply.body,
        )
        if isinstance(answer, Answer) and answer.status == 409:
            return Conflict(answer.message)
        return _result(answer, _PROJECTIONS.get(resource.kind, project_child))

    async def _send(self, resource: Resource, apply: Apply, uid: str = "") -> Answer | Failed:
        metadata = apply.body["metadata"]
        locks = {"uid": uid, "resourceVersion": apply.resource_version} if uid else {}
        return await self.connection.request(
            "PATCH",
            resource.path(metadata["namespace"], metadata["name"]),
            query={"fieldManager": apply.manager, "force": "true" if uid else "false"},
            body={
                **apply.body,
                "metadata": {**metadata, **{key: value for key, value in locks.items() if value}},
            },
            content_type=APPLY_PATCH,
        )

    async def delete(self, delete: Delete) -> WriteResult:
        """Delete exactly this object in exactly this state; its dependents go in the background."""
        child = delete.child
        resource, meta = BY_KIND[child.kind], child.meta
        answer = await self.connection.request(
            "DELETE",
            resource.path(meta.namespace, meta.name),
            body={
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "propagationPolicy": "Background",
                "preconditions": {"uid": meta.uid, "resourceVersion": meta.resource_version},
            },
        )
        if isinstance(answer, Answer) and answer.status == 404:
            return Written()
        if isinstance(answer, Answer) and answer.is_success:
            return Written()
        return _result(answer, project_child)

    async def write_status(self, write: StatusWrite) -> WriteResult:
        """Replace the status as a whole, if nobody wrote the object since we looked.

        A JSON patch, because a merge patch would leave behind what the new status no longer has.
        """
        answer = await self._replace(write, "status", "/status", write.status, "switchyard-status")
        if isinstance(answer, Answer) and answer.status == 404:
            return Conflict("gone")
        return _result(answer, _PROJECTIONS[write.kind])

    async def write_finalizers(self, write: FinalizerWrite) -> WriteResult:
        """Replace the finalizers, if nobody wrote the object since we looked; one that is gone has none."""
        finalizers = list(write.finalizers)
        answer = await self._replace(write, "", "/metadata/finalizers", finalizers, "switchyard-cutover")
        if isinstance(answer, Answer) and answer.status == 404:
            return Written()
        return _result(answer, _PROJECTIONS[write.kind])

    async def _replace(
        self, write: StatusWrite | FinalizerWrite, subresource: str, place: str, value: Any, manager: str
    ) -> Answer | Failed:
        """Put a value in a place of an object that nobody wrote since we looked."""
        resource, meta = BY_KIND[write.kind], write.meta
        return await self.connection.request(
            "PATCH",
            resource.path(meta.namespace, meta.name, subresource),
            query={"fieldManager": manager},
            body=[
                {"op": "replace", "path": "/metadata/resourceVersion", "value": meta.resource_version},
                {"op": "add", "path": place, "value": value},
            ],
            content_type=JSON_PATCH,
        )

    async def record_event(self, note: EventNote) -> WriteResult:
        return await self.recorder.record(note)


def _result(answer: Answer | Any, project: Any) -> WriteResult:
    if not isinstance(answer, Answer):
        failed: WriteResult = answer
        return failed
    if not answer.is_success:
        return refusal_of(answer)
    observed: Observed = project(answer.body)
    return Written(observed)


def _is_same_owner(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """True when the object in place belongs to the same workload: an earlier process of ours made it."""
    labels = found["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY) == "switchyard" and controller_uid(found) == controller_uid(wanted)


def _taken(resource: Resource, namespace: str, name: str, found: Mapping[str, Any]) -> str:
    labels = found["metadata"].get("labels") or {}
    whose = labels.get(MANAGED_BY)
    return (
        f"{resource.kind} {namespace}/{name} exists and is not ours"
        + (f" (managed by {whose})" if whose else "")
        + "; rename or delete it, or rename the workload"
    )
