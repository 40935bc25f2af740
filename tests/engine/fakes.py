"""A cluster in memory behind the engine's ports: writes with preconditions, watches that lag, faults, kills."""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from switchyard.core.decisions import (
    Apply,
    Decisions,
    Delete,
    EventNote,
    FinalizerWrite,
    ObjectDecision,
    StatusWrite,
)
from switchyard.core.world import Child, Meta, Node, Plan, Pool, Workload, World
from switchyard.engine.ports import Conflict, Denied, LoopReport, NotSynced, WriteResult, Written

Key = tuple[str, str, str]
MANAGED = {"app.kubernetes.io/managed-by": "switchyard"}


class Killed(BaseException):
    """The process ended here: not an Exception, so nothing in the loop can handle it."""


@dataclass
class FakeClock:
    seconds: float = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic_seconds(self) -> float:
        return self.seconds


@dataclass
class FakeCluster:
    """The API server's side. `writes` counts what it accepted, `requests` what it was asked."""

    objects: dict[Key, dict[str, Any]] = field(default_factory=dict)
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    fault: Callable[[str, str, str], WriteResult | None] = lambda _verb, _kind, _name: None
    kill_after_write: int | None = None
    observe: Callable[[Mapping[str, Any]], Any] = lambda body: observe_toy(body)
    _versions: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _uids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def put(self, kind: str, namespace: str, name: str, /, **body: Any) -> dict[str, Any]:
        """A user creates or edits an object."""
        old = self.objects.get((kind, namespace, name))
        stored = {"kind": kind, "status": {}, **(copy.deepcopy(old) if old else {}), **copy.deepcopy(body)}
        generation = 1 if old is None else old["metadata"]["generation"] + (stored["spec"] != old["spec"])
        stored["metadata"] = {
            "labels": {},
            **body.get("metadata", {}),
            "name": name,
            "namespace": namespace,
            "uid": old["metadata"]["uid"] if old else f"uid-{next(self._uids)}",
            "resourceVersion": str(next(self._versions)),
            "generation": generation,
        }
        self.objects[kind, namespace, name] = stored
        return stored

    def workload(self, name: str, replicas: int = 1, namespace: str = "shop") -> dict[str, Any]:
        return self.put("InferenceWorkload", namespace, name, spec={"replicas": replicas})

    def children(self) -> dict[Key, dict[str, Any]]:
        return {k: v for k, v in self.objects.items() if v["metadata"]["labels"].items() >= MANAGED.items()}

    def essence(self) -> dict[Key, Any]:
        """What lasts: everything but versions and uids. Two runs that end alike have equal essences."""
        return {key: _lasting(body) for key, body in self.objects.items()}

    # -- the writer's side

    async def apply(self, apply: Apply) -> WriteResult:
        body = apply.body
        kind, namespace, name = body["kind"], body["metadata"]["namespace"], body["metadata"]["name"]
        if refusal := self._ask("apply", kind, name):
            return refusal
        # like the real server: a server-side apply makes a new version even where nothing changes
        stored = self.put(kind, namespace, name, **body)
        return self._accepted("apply", self.observe(stored))

    async def delete(self, delete: Delete) -> WriteResult:
        child = delete.child
        key = (child.kind, child.meta.namespace, child.meta.name)
        if refusal := self._ask("delete", child.kind, child.meta.name):
            return refusal
        stored = self.objects.get(key)
        if stored is None or stored["metadata"]["uid"] != child.meta.uid:
            return Conflict("gone")
        if stored["metadata"]["resourceVersion"] != child.meta.resource_version:
            return Conflict("changed")
        del self.objects[key]
        return self._accepted("delete", None)

    async def write_status(self, write: StatusWrite) -> WriteResult:
        if refusal := self._ask("status", write.kind, write.meta.name):
            return refusal
        stored = self.objects.get((write.kind, write.meta.namespace, write.meta.name))
        if stored is None:
            return Conflict("gone")
        if stored["metadata"]["resourceVersion"] != write.meta.resource_version:
            return Conflict("changed")
        if stored["status"] != write.status:
            stored["status"] = copy.deepcopy(dict(write.status))
            stored["metadata"]["resourceVersion"] = str(next(self._versions))
        return self._accepted("status", self.observe(stored))

    async def write_finalizers(self, write: FinalizerWrite) -> WriteResult:
        if refusal := self._ask("finalizers", write.kind, write.meta.name):
            return refusal
        key = (write.kind, write.meta.namespace, write.meta.name)
        stored = self.objects.get(key)
        if stored is None:
            return Written()
        if stored["metadata"]["resourceVersion"] != write.meta.resource_version:
            return Conflict("changed")
        stored["metadata"]["finalizers"] = list(write.finalizers)
        stored["metadata"]["resourceVersion"] = str(next(self._versions))
        if "deletionTimestamp" in stored["metadata"] and not write.finalizers:
            del self.objects[key]
        return self._accepted("finalizers", self.observe(stored))

    async def record_event(self, note: EventNote) -> WriteResult:
        if refusal := self._ask("record", "Event", note.meta.name):
            return refusal
        self.events[note.meta.name, note.reason] += 1
        return self._accepted("record", None)

    def _ask(self, verb: str, kind: str, name: str) -> WriteResult | None:
        self.requests += 1
        return self.fault(verb, kind, name)

    def _accepted(self, verb: str, observed: Child | Workload | None) -> Written:
        self.writes[verb] += 1
        if self.kill_after_write is not None and self.writes.total() >= self.kill_after_write:
            raise Killed(f"after write {self.writes.total()}")
        return Written(observed)


@dataclass
class FakeWatch:
    """The reader's side: shows the cluster as of the last `catch_up`, or always when it does not lag."""

    cluster: FakeCluster
    lags: bool = False
    missing: tuple[str, ...] = ()
    _shown: dict[Key, dict[str, Any]] = field(default_factory=dict)

    def catch_up(self) -> None:
        self._shown = copy.deepcopy(self.cluster.objects)

    def snapshot(self, now: datetime) -> World | NotSynced:
        if self.missing:
            return NotSynced(self.missing)
        if not self.lags:
            self.catch_up()
        shown = [
            self.cluster.observe(body)
            for body in sorted(
                self._shown.values(),
                key=lambda body: (body["metadata"]["namespace"], body["metadata"]["name"], body["kind"]),
            )
        ]
        return World(
            now=now,
            pools=tuple(each for each in shown if isinstance(each, Pool)),
            workloads=tuple(each for each in shown if isinstance(each, Workload)),
            plans=tuple(each for each in shown if isinstance(each, Plan)),
            nodes=tuple(each for each in shown if isinstance(each, Node)),
            children=tuple(each for each in shown if isinstance(each, Child)),
            namespaces={"shop": {}},
        )


@dataclass
class Reports:
    """A loop observer that keeps what it is told."""

    finished: list[LoopReport] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)
    waited_for: list[tuple[str, ...]] = field(default_factory=list)

    def loop_finished(self, report: LoopReport) -> None:
        self.finished.append(report)

    def loop_failed(self, error: BaseException) -> None:
        self.failed.append(error)

    def loop_waits(self, missing: tuple[str, ...]) -> None:
        self.waited_for.append(missing)


def _lasting(value: Any) -> Any:
    if isinstance(value, Mapping):
        passing = ("resourceVersion", "uid", "lastTransitionTime")
        return {key: _lasting(each) for key, each in value.items() if key not in passing}
    return [_lasting(each) for each in value] if isinstance(value, list | tuple) else value


def meta_of(body: Mapping[str, Any]) -> Meta:
    metadata = body["metadata"]
    return Meta(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        generation=metadata["generation"],
        labels=metadata["labels"],
        is_deleting="deletionTimestamp" in metadata,
        finalizers=tuple(metadata.get("finalizers") or ()),
    )


def workload_of(body: Mapping[str, Any]) -> Workload:
    """Spec and status stay plain mappings: the toy decision below reads them so."""
    return Workload(meta_of(body), spec=body["spec"], status=body["status"])


def child_of(body: Mapping[str, Any]) -> Child:
    return Child("v1", body["kind"], meta_of(body), owner_uid=body.get("owner", ""), body=body)


def plan_of(body: Mapping[str, Any]) -> Plan:
    """Spec and status stay plain mappings, as those of a workload."""
    return Plan(meta_of(body), spec=body["spec"], status=body["status"])


def observe_toy(body: Mapping[str, Any]) -> Workload | Plan | Child | None:
    if body["kind"] == "CutoverPlan":
        return plan_of(body)
    if body["kind"] == "InferenceWorkload":
        return workload_of(body)
    return child_of(body) if body["metadata"]["labels"].items() >= MANAGED.items() else None


def decide_toy(world: World) -> Decisions:
    """Each workload wants a Deployment and a Service, a status that counts them, an event when it changes.

    Same shape as the real decisions: differences only, deterministic names, absolute values.
    """
    observed = {(c.kind, c.meta.namespace, c.meta.name): c for c in world.children}
    decisions = []
    for workload in world.workloads:
        meta = workload.meta
        kinds = ("Deployment", "Service") if workload.spec["replicas"] else ()
        applies = []
        for kind in kinds:
            wanted = {"replicas": workload.spec["replicas"]} if kind == "Deployment" else {"port": 80}
            child = observed.get((kind, meta.namespace, meta.name))
            if child is None or child.body["spec"] != wanted:
                metadata = {"namespace": meta.namespace, "name": meta.name, "labels": MANAGED}
                body = {"kind": kind, "metadata": metadata, "spec": wanted, "owner": meta.uid}
                applies.append(Apply(("InferenceWorkload", meta.namespace, meta.name), body))
        deletes = [
            Delete(("InferenceWorkload", meta.namespace, meta.name), child)
            for child in world.children
            if child.owner_uid == meta.uid and child.kind not in kinds and not child.meta.is_deleting
        ]
        status = {"observedGeneration": meta.generation, "children": len(kinds)}
        changed = dict(workload.status) != status
        decisions.append(
            ObjectDecision(
                kind="InferenceWorkload",
                namespace=meta.namespace,
                name=meta.name,
                applies=tuple(applies),
                deletes=tuple(deletes),
                status=StatusWrite("InferenceWorkload", meta, status) if changed else None,
                events=(EventNote("InferenceWorkload", meta, "Normal", "Placed", "as wanted"),)
                if changed
                else (),
            )
        )
    return Decisions(tuple(decisions))


def deny(status: int = 422, message: str = "no") -> Denied:
    return Denied(status, message)


async def until(is_true: Callable[[], object], seconds: float = 10.0) -> None:
    """Comes back as soon as something is true; TimeoutError when it does not become so in time."""
    async with asyncio.timeout(seconds):
        while not is_true():  # noqa: ASYNC110 - what is waited for is another's state, which has no event
            await asyncio.sleep(0.005)
