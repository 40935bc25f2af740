"""Small worlds for the tests of the core, and what a cluster would make of decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count, islice
from typing import Any

from switchyard.api import (
    AcceleratorPoolSpec,
    AcceleratorPoolStatus,
    InferenceWorkloadSpec,
    InferenceWorkloadStatus,
    labels,
)
from switchyard.core.decide import decide
from switchyard.core.decisions import Decisions, ObjectDecision
from switchyard.core.holding import TRAFFIC_FIELDS
from switchyard.core.world import Child, Meta, Node, Pod, Pool, Workload, World

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
GPU = "example.com/gpu"


def pool(name: str, price: str = "1.00", *, created: int = 1, **spec: Any) -> Pool:
    """A pool of its own kind of device, selected by the label `pool`."""
    body = {
        "device": {"family": "gpu", "resourceName": GPU, "memory": "24Gi"},
        "nodeSelector": {"pool": name},
        "cost": {"devicePerHour": price, "asOf": "2026-11-01"},
        **spec,
    }
    meta = Meta(name, "", f"pool-{name}", "1", 1, datetime(2026, 1, created, tzinfo=UTC))
    return Pool(meta, AcceleratorPoolSpec.model_validate(body), AcceleratorPoolStatus())


def node(name: str, pool_name: str, devices: int = 4, **changes: Any) -> Node:
    """A ready node of a pool."""
    made = Node(name, {"pool": pool_name}, (), {GPU: devices}, {GPU: devices}, True, False)
    return replace(made, **changes)


def variant(name: str = "v", accelerators: Sequence[str] = ("gpu",), **changes: Any) -> dict[str, Any]:
    """A variant whose replica carries just under 36 requests/s: 4 slots of 100 ms, 90 percent promised."""
    body: dict[str, Any] = {
        "name": name,
        "accelerators": list(accelerators),
        "container": {"image": "example.com/model:1"},
        "profile": {
            "concurrency": {"slots": 4, "base": "100ms", "slope": "0s", "cv2": "0.2"},
            "source": "benchmark",
        },
    }
    body.update(changes)
    return {key: value for key, value in body.items() if value is not None}


def workload(name: str, replicas: int = 1, *, tier: str = "internal", **spec: Any) -> Workload:
    """A workload that needs so many replicas of the default variant."""
    body = {
        "tier": tier,
        "model": {"name": "model"},
        "demand": {"requestsPerSecond": str(30 * replicas)},
        "objectives": [],
        "variants": [variant()],
        "scaling": {"headroomPercent": 0},
        **spec,
    }
    meta = Meta(name, "team", f"uid-{name}", "1", 1, datetime(2026, 2, 1, tzinfo=UTC))
    return Workload(meta, InferenceWorkloadSpec.model_validate(body), InferenceWorkloadStatus())


def world(*things: Pool | Workload | Node | Pod, **changes: Any) -> World:
    """A world of these, each kind sorted by name."""
    kinds: dict[type, list[Any]] = {Pool: [], Workload: [], Node: [], Pod: []}
    for thing in things:
        kinds[type(thing)].append(thing)
    made = World(
        now=NOW,
        pools=tuple(sorted(kinds[Pool], key=lambda each: each.meta.name)),
        workloads=tuple(sorted(kinds[Workload], key=lambda each: each.key)),
        nodes=tuple(sorted(kinds[Node], key=lambda each: each.name)),
        pods=tuple(sorted(kinds[Pod], key=lambda each: (each.namespace, each.name))),
        namespaces={"team": {"team": "blue"}},
    )
    return replace(made, **changes)


def foreign_pod(name: str, node_name: str, devices: int = 1) -> Pod:
    """Somebody else's pod that holds devices."""
    return Pod("other", name, f"uid-{name}", {}, node_name, "Running", True, False, {GPU: devices})


def decision(decisions: Decisions, name: str) -> ObjectDecision:
    """The decision for the object of that name; an empty one when there is none."""
    return next(
        (each for each in decisions.objects if each.name == name),
        ObjectDecision("InferenceWorkload", "team", name),
    )


def status_of(at: World, name: str) -> Mapping[str, Any]:
    """The status that one pass would leave on a pool or workload."""
    written = decision(decide(at), name).status
    if written is not None:
        return written.status
    everything: list[Pool | Workload] = [*at.pools, *at.workloads]
    stored = next(each for each in everything if each.meta.name == name).status
    return stored.model_dump(mode="json", by_alias=True, exclude_none=True)


def condition(status: Mapping[str, Any], kind: str) -> tuple[str, str, str]:
    """Status, reason and message of a condition; empty strings when it is absent."""
    for each in status["conditions"]:
        if each["type"] == kind:
            return each["status"], each["reason"], each["message"]
    return "", "", ""


def place_of(at: World, name: str) -> tuple[str, str, int] | None:
    """Variant, pool and replicas that one pass gives a workload."""
    placements = status_of(at, name)["placements"]
    if not placements:
        return None
    return placements[0]["variant"], placements[0]["pool"], placements[0]["replicas"]


def settle(at: World, *, rounds: int = 8, are_pods_starting: bool = True) -> World:
    """The world after passes of decide and apply until nothing changes; fails when that never comes."""
    for _ in range(rounds):
        decisions = decide(at)
        after = apply(at, decisions, are_pods_starting=are_pods_starting)
        if not decisions.objects and after == at:
            return at
        at = after
    raise AssertionError(f"still changing after {rounds} rounds: {decide(at)}")


def apply(at: World, decisions: Decisions, *, are_pods_starting: bool = True) -> World:
    """The world after a cluster carried out the decisions: children, statuses, and pods on nodes with room."""
    children = {(each.kind, each.meta.namespace, each.meta.name): each for each in at.children}
    statuses: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for each in decisions.objects:
        for wanted in each.applies:
            child = _child(wanted.body)
            children[child.kind, child.meta.namespace, child.meta.name] = child
        for unwanted in each.deletes:
            meta = unwanted.child.meta
            del children[unwanted.child.kind, meta.namespace, meta.name]
        if each.status is not None:
            statuses[each.kind, each.namespace, each.name] = each.status.status
    kept = tuple(children[key] for key in sorted(children))
    return replace(
        at,
        pools=tuple(_with_status(each, "AcceleratorPool", statuses) for each in at.pools),
        workloads=tuple(_with_status(each, "InferenceWorkload", statuses) for each in at.workloads),
        children=kept,
        pods=_run_pods(at, kept, are_starting=are_pods_starting),
    )


def _child(body: Mapping[str, Any]) -> Child:
    metadata = body["metadata"]
    uid = f"uid-{body['kind']}-{metadata['name']}"
    meta = Meta(metadata["name"], metadata["namespace"], uid, "1", 1, NOW, metadata["labels"])
    return Child(body["apiVersion"], body["kind"], meta, metadata["ownerReferences"][0]["uid"], body)


def _with_status(thing: Any, kind: str, statuses: Mapping[tuple[str, str, str], Mapping[str, Any]]) -> Any:
    status = statuses.get((kind, thing.meta.namespace, thing.meta.name))
    return thing if status is None else replace(thing, status=type(thing.status).model_validate(status))


def _run_pods(at: World, children: Sequence[Child], *, are_starting: bool) -> tuple[Pod, ...]:
    """Pods of every Deployment: those that run stay, new ones go where there is room, else they stay pending."""
    ours = [each for each in at.pods if labels.TRACK in each.labels]
    pods = [each for each in at.pods if labels.TRACK not in each.labels]
    for child in children:
        if child.kind != "Deployment":
            continue
        mine = [each for each in ours if each.labels[labels.TRACK] == child.meta.name and each.node_name]
        mine.sort(key=lambda each: not each.is_ready)  # a ReplicaSet deletes those that are not ready first
        pods += mine[: child.body["spec"]["replicas"]]
    if not are_starting:
        return tuple(pods)
    for child in children:
        if child.kind == "Deployment":
            taken = {each.name for each in pods if each.labels.get(labels.TRACK) == child.meta.name}
            missing = child.body["spec"]["replicas"] - len(taken)
            unused = (number for number in count() if f"{child.meta.name}-{number}" not in taken)
            for number in islice(unused, max(0, missing)):
                pods.append(_start(at, child, number, pods))
    return tuple(sorted(pods, key=lambda each: (each.namespace, each.name)))


def _start(at: World, child: Child, number: int, pods: Sequence[Pod]) -> Pod:
    template = child.body["spec"]["template"]
    spec = template["spec"]
    limits = spec["containers"][0]["resources"]["limits"]
    requests = {name: int(value) for name, value in limits.items()}
    selector = spec.get("nodeSelector", {})
    for each in sorted(at.nodes, key=lambda candidate: (_free(candidate, pods), candidate.name)):
        fits = _free(each, pods) >= requests.get(GPU, 0)
        matches = all(each.labels.get(key) == value for key, value in selector.items())
        if fits and matches and each.is_ready and not each.is_unschedulable:
            return _pod(child, number, requests, each.name)
    return _pod(child, number, requests, "")


def _free(on: Node, pods: Sequence[Pod]) -> int:
    return on.allocatable.get(GPU, 0) - sum(
        each.requests.get(GPU, 0) for each in pods if each.node_name == on.name
    )


def _pod(child: Child, number: int, requests: Mapping[str, int], node_name: str) -> Pod:
    name = f"{child.meta.name}-{number}"
    marks = child.body["spec"]["template"]["metadata"]["labels"]
    phase = "Running" if node_name else "Pending"
    return Pod(
        child.meta.namespace,
        name,
        f"uid-{name}-{node_name}",
        marks,
        node_name,
        phase,
        bool(node_name),
        False,
        requests,
        "" if node_name else "0 nodes are available",
    )


def deployments(at: World) -> dict[str, int]:
    return {
        each.meta.name: each.body["spec"]["replicas"] for each in at.children if each.kind == "Deployment"
    }


def lose_node(at: World, name: str) -> World:
    """The node stops answering: its pods are no longer ready."""
    return replace(
        at,
        nodes=tuple(replace(each, is_ready=False) if each.name == name else each for each in at.nodes),
        pods=tuple(replace(each, is_ready=False) if each.node_name == name else each for each in at.pods),
    )


def hold_traffic(at: World, *names: str) -> World:
    """The world in which somebody holds, and has written, all that carries traffic of these workloads."""
    children = []
    for child in at.children:
        if child.kind not in TRAFFIC_FIELDS or child.meta.name not in names:
            children.append(child)
            continue
        metadata = child.body["metadata"]
        annotations = {**metadata.get("annotations", {}), labels.TRAFFIC_HELD_BY: "move"}
        spec = {**child.body["spec"], TRAFFIC_FIELDS[child.kind]: {"theirs": "yes"}}
        body = {**child.body, "metadata": {**metadata, "annotations": annotations}, "spec": spec}
        children.append(replace(child, body=body))
    return replace(at, children=tuple(children))
