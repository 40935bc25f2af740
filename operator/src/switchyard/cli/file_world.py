"""A world from objects in files: what the operator would see if they were all there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from switchyard.adapters.projection import (
    project_child,
    project_node,
    project_pod,
    project_pod_template,
    project_pool,
    project_quota,
    project_workload,
)
from switchyard.api import labels
from switchyard.catalog import Catalog
from switchyard.cli.manifest_checks import UNCHECKED_RULES, check_manifest, has_rule_evaluator
from switchyard.cli.manifests import BadInputError, Manifest
from switchyard.core.placement.pool_view import PoolView
from switchyard.core.readings import read_world
from switchyard.core.world import Node, Pool, Workload, World

OURS = ("AcceleratorPool", "InferenceWorkload")
_CHILDREN = ("Deployment", "Service", "PodDisruptionBudget")
_CLUSTER_SCOPED = frozenset({"AcceleratorPool", "Node", "Namespace"})
_READ = frozenset({*OURS, *_CHILDREN, "Node", "Pod", "PodTemplate", "Namespace", "ResourceQuota"})
_POOL_LABEL = "plan.switchyard.dev/pool"
_UNLIMITED_DEVICES = 100_000


@dataclass(frozen=True, slots=True)
class FileWorld:
    """The world, and what was assumed to make it one."""

    world: World
    notes: tuple[str, ...]
    unlimited: frozenset[str] = frozenset()  # pools of which nobody says how many devices they have


def check_manifests(manifests: Sequence[Manifest]) -> tuple[str, ...]:
    """Notes on what was left out. Raises BadInputError with everything that is wrong."""
    problems: list[str] = []
    ignored: dict[str, int] = {}
    for each in manifests:
        if each.kind in OURS:
            problems += check_manifest(each)
        elif "switchyard.dev" in str(each.body.get("apiVersion")):
            problems.append(f"{each.place(('kind',))}: kind: {each.kind!r}: give {' or '.join(OURS)}")
        elif each.kind not in _READ:
            ignored[each.kind] = ignored.get(each.kind, 0) + 1
        elif not each.name:
            problems.append(f"{each.place()}: {each.kind}: metadata.name: must be given")
    if problems:
        raise BadInputError(problems)
    notes = [f"ignored: {count} of kind {kind}" for kind, count in sorted(ignored.items())]
    if not has_rule_evaluator() and any(each.kind in OURS for each in manifests):
        notes.append(UNCHECKED_RULES)
    return tuple(notes)


def build_world(
    manifests: Sequence[Manifest],
    catalog: Catalog,
    *,
    now: datetime,
    devices: Mapping[str, int],
    namespace_labels: Mapping[str, Mapping[str, str]],
) -> FileWorld:
    """The world of these objects, all checked. `devices`: by pool, what placement may give out.

    Where no Node is given for a pool, nodes are made up for what its status or spec says of devices.
    """
    bodies = _collect(manifests)
    problems: list[str] = []

    def project(kind: str, function: Callable[[Mapping[str, Any]], Any]) -> list[Any]:
        found = []
        for manifest, body in bodies.get(kind, ()):
            try:
                found.append(function(body))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                problems.append(f"{manifest.place()}: {manifest.title}: can't be read: {error}")
        return found

    children = [
        child
        for kind in _CHILDREN
        for child in project(kind, project_child)
        if child.meta.labels.get(labels.MANAGED_BY) == labels.MANAGER
    ]
    workloads = project("InferenceWorkload", project_workload)
    if not children:  # nothing runs: what a status remembers of a cluster does not hold here
        workloads = [replace(each, status=type(each.status)()) for each in workloads]
    namespaces = {
        each.name: {**(body["metadata"].get("labels") or {}), **namespace_labels.get(each.name, {})}
        for each, body in bodies.get("Namespace", ())
    }
    for name in {each.meta.namespace for each in workloads} | set(namespace_labels):
        namespaces.setdefault(name, dict(namespace_labels.get(name, {})))
    pods = [each for each in project("Pod", project_pod) if each is not None]
    world = World(
        now=now,
        pools=tuple(sorted(project("AcceleratorPool", project_pool), key=_by_name)),
        workloads=tuple(sorted(workloads, key=_by_name)),
        nodes=tuple(sorted(project("Node", project_node), key=lambda each: each.name)),
        pods=tuple(sorted(pods, key=lambda each: (each.namespace, each.name))),
        children=tuple(sorted(children, key=lambda each: (each.meta.namespace, each.meta.name, each.kind))),
        pod_templates=tuple(
            sorted(project("PodTemplate", project_pod_template), key=lambda each: (each.namespace, each.name))
        ),
        namespaces=namespaces,
        quotas=tuple(
            sorted(
                (each for each in project("ResourceQuota", project_quota) if each is not None),
                key=lambda each: (each.namespace, each.name),
            )
        ),
    )
    if problems:
        raise BadInputError(problems)
    return give_devices(world, catalog, devices)


def give_devices(world: World, catalog: Catalog, devices: Mapping[str, int]) -> FileWorld:
    """The world with nodes made up for the pools in `devices`, and for those that have none."""
    views = read_world(world, catalog).pools
    pools: list[Pool] = []
    nodes = list(world.nodes)
    notes: list[str] = []
    unlimited: set[str] = set()
    for pool in world.pools:
        view = views.get(pool.meta.name)
        if view is None or (pool.meta.name not in devices and view.capacity.nodes_total):
            pools.append(pool)
            continue
        count, source = _count_devices(pool, devices)
        sizes = _split_devices(pool, view, count, is_stated=pool.meta.name in devices)
        if not source:
            unlimited.add(pool.meta.name)
        elif pool.meta.name not in devices:
            notes.append(f"pool {pool.meta.name}: no Node is given; {count} devices by {source}")
        nodes += [_make_node(pool, view, number, size) for number, size in enumerate(sizes, start=1)]
        spec = pool.spec.model_copy(update={"node_selector": {_POOL_LABEL: pool.meta.name}})
        pools.append(replace(pool, spec=spec))
    if unlimited:
        names = ", ".join(sorted(unlimited))
        notes.append(
            f"no Node is given for {names}: devices count as unlimited there (--set pool/NAME.devices=N)"
        )
    made = replace(world, pools=tuple(pools), nodes=tuple(sorted(nodes, key=lambda each: each.name)))
    return FileWorld(made, tuple(notes), frozenset(unlimited))


def _count_devices(pool: Pool, devices: Mapping[str, int]) -> tuple[int, str]:
    """Devices of a pool, and where the number comes from; empty where nobody gave one."""
    if pool.meta.name in devices:
        return devices[pool.meta.name], "--set"
    if pool.status.devices is not None:
        return pool.status.devices.allocatable, "its status.devices.allocatable"
    capacity = pool.spec.capacity
    if capacity is not None and capacity.max_devices is not None:
        return capacity.max_devices, "capacity.maxDevices"
    if capacity is not None and capacity.reserved_devices is not None:
        return capacity.reserved_devices, "capacity.reservedDevices"
    return _UNLIMITED_DEVICES, ""


def _split_devices(pool: Pool, view: PoolView, count: int, *, is_stated: bool) -> list[int]:
    """Devices per node: as many as the largest known node has, else all on one."""
    nodes = pool.status.nodes.total if pool.status.nodes and not is_stated else 0
    size = view.capacity.largest_node_devices or (-(-count // nodes) if nodes else count)
    size = max(1, size)
    whole, rest = divmod(count, size)
    return [*([size] * whole), *([rest] if rest else [])] or [0]


def _make_node(pool: Pool, view: PoolView, number: int, devices: int) -> Node:
    amount = {view.facts.resource_name: devices}
    return Node(
        name=f"{pool.meta.name}-planned-{number}",
        labels={_POOL_LABEL: pool.meta.name},
        taints=(),
        capacity=amount,
        allocatable=amount,
        is_ready=True,
        is_unschedulable=False,
    )


def _collect(manifests: Sequence[Manifest]) -> dict[str, list[tuple[Manifest, dict[str, Any]]]]:
    """Bodies by kind, with the metadata that a server would have set."""
    found: dict[str, list[tuple[Manifest, dict[str, Any]]]] = {}
    for each in manifests:
        metadata = dict(each.body.get("metadata") or {})
        if each.kind not in _CLUSTER_SCOPED:
            metadata["namespace"] = metadata.get("namespace") or "default"
        metadata.setdefault("uid", f"{each.kind}/{metadata.get('namespace', '')}/{each.name}")
        metadata.setdefault("resourceVersion", "1")
        metadata.setdefault("generation", 1)
        found.setdefault(each.kind, []).append((each, {**each.body, "metadata": metadata}))
    return found


def _by_name(thing: Pool | Workload) -> tuple[str, str]:
    return (thing.meta.namespace, thing.meta.name)
