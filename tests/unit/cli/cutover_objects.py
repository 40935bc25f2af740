"""Cutover plans in every state, and a cluster in memory that holds them to their versions."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jsonpatch

from switchyard.adapters.resources import EVENTS, POOLS, WORKLOADS, Resource
from switchyard.cli.cutover_cluster import PLANS, Outdated, Unreachable
from switchyard.cli.cutover_plan import CutoverError, Plan, read_plan

AT = "2026-11-21T12:00:00Z"


def plan_body(
    name: str = "chat-to-neuron", status: Mapping[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "switchyard.dev/v1alpha1",
        "kind": "CutoverPlan",
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": f"uid-{name}",
            "resourceVersion": "7",
            "generation": 2,
        },
        "spec": {
            "workloadRef": {"name": "chat"},
            "target": {"variant": "neuron"},
            **spec,
        },
        "status": {"observedGeneration": 2, **(status or {})},
    }


def plan(status: Mapping[str, Any] | None = None, **spec: Any) -> Plan:
    return read_plan(plan_body(status=status, **spec))


def in_phase(phase: str, **status: Any) -> dict[str, Any]:
    return {"phase": phase, **status}


SIDES = {
    "baseline": {"variant": "gpu", "pool": "l4", "replicas": 2, "ready": 2, "costPerHour": "1.61"},
    "candidate": {"variant": "neuron", "pool": "inf2", "replicas": 1, "ready": 1, "costPerHour": "0.76"},
}
CANARY = {
    "phase": "Canary",
    "segment": "batch",
    "step": 2,
    "weight": 25,
    "message": "needs 970 more requests, about 8m",
    "startedAt": AT,
    **SIDES,
    "segments": [
        {"name": "batch", "state": "Moving", "weight": 25, "observedWeight": 5},
        {"name": "customers", "state": "Baseline", "weight": 0},
    ],
    "gates": [
        {
            "name": "errors",
            "segment": "batch",
            "observed": "0.4 % against 0.3 %",
            "margin": "odds x1.5",
            "samples": 1830,
            "harmPercent": 12,
            "safePercent": 64,
            "needed": 970,
            "eta": "480s",
        },
        {"name": "stability", "verdict": "Pass", "observed": "0 restarts", "safePercent": 100},
    ],
    "cost": {
        "dualRun": "3.10",
        "dualRunPerHour": "0.76",
        "expectedDualRun": "9.60",
        "baselinePerThousand": "0.031",
        "candidatePerThousand": "0.019",
        "savingPerHour": "0.90",
        "payback": "9000s",
    },
}


def workload_body(name: str = "chat", **spec: Any) -> dict[str, Any]:
    variants = [
        {
            "name": variant,
            "container": {
                "image": "example.com/model:1",
                "env": [{"name": "HUB_TOKEN", "value": "hunter2"}],
                "args": ["--key=hunter2"],
            },
        }
        for variant in ("gpu", "neuron")
    ]
    return {
        "metadata": {"name": name, "namespace": "team", "uid": f"uid-{name}", "resourceVersion": "1"},
        "spec": {"variants": variants, **spec},
        "status": {"placements": [{"variant": "gpu", "pool": "l4"}]},
    }


@dataclass
class FakeCluster:
    """What the commands need of an API server. `before_patch` acts as somebody else, once per entry."""

    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    default_namespace: str = "team"
    before_patch: list[Callable[[dict[str, Any]], None]] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)  # by plural, of lists
    outages: int = 0  # reads that fail next

    def add(self, resource: Resource, body: dict[str, Any]) -> None:
        self.objects[resource.plural, body["metadata"]["name"]] = body

    def plan(self, name: str = "chat-to-neuron") -> dict[str, Any]:
        return self.objects[PLANS.plural, name]

    def read(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        if self.outages:
            self.outages -= 1
            raise Unreachable("the API server does not answer: refused")
        body = self.objects.get((resource.plural, name))
        return copy.deepcopy(body) if body and body["metadata"]["namespace"] == namespace else None

    def list_all(
        self, resource: Resource, namespace: str, query: Mapping[str, str] | None = None
    ) -> list[dict[str, Any]]:
        if resource.plural in self.refusals:
            raise CutoverError(self.refusals[resource.plural])
        return [
            copy.deepcopy(body)
            for (plural, _), body in self.objects.items()
            if plural == resource.plural and namespace in {"", body["metadata"].get("namespace")}
        ]

    def create(self, resource: Resource, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        stored = copy.deepcopy(body)
        stored["metadata"] |= {"resourceVersion": "1", "generation": 1, "uid": "new"}
        self.add(resource, stored)
        return stored

    def patch(
        self, resource: Resource, namespace: str, name: str, patch: list[dict[str, Any]]
    ) -> dict[str, Any]:
        body = self.objects[resource.plural, name]
        if self.before_patch:
            self.before_patch.pop(0)(body)
        try:
            changed = jsonpatch.apply_patch(body, json.loads(json.dumps(patch)))
        except jsonpatch.JsonPatchTestFailed as error:
            raise Outdated(f"CutoverPlan {name}: not changed: {error}") from None
        touch(changed)
        self.objects[resource.plural, name] = changed
        return copy.deepcopy(changed)


def touch(body: dict[str, Any]) -> None:
    body["metadata"]["resourceVersion"] = str(int(body["metadata"]["resourceVersion"]) + 1)


def make_cluster(*plans: dict[str, Any]) -> FakeCluster:
    cluster = FakeCluster()
    for body in plans:
        cluster.add(PLANS, body)
    cluster.add(WORKLOADS, workload_body())
    for name in ("inf2", "l4"):
        cluster.add(POOLS, {"metadata": {"name": name}, "spec": {}})
    cluster.add(EVENTS, event("chat-to-neuron", "StepPassed", "batch at 25 %"))
    cluster.add(EVENTS, event("other", "StepPassed", "of another plan"))
    return cluster


def event(name: str, reason: str, message: str) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{name}.{reason}", "namespace": "team"},
        "involvedObject": {"kind": "CutoverPlan", "name": name, "uid": f"uid-{name}"},
        "reason": reason,
        "message": message,
        "lastTimestamp": AT,
    }
