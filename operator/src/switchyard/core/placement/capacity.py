"""What devices each pool has, who holds them, and what a plan may give out, node by node.

A node belongs to a pool when it carries every label of one of the pool's selectors. A node that two pools
select, for the same resource, counts for the pool that was created first only; the later one says so.
Devices are free where a pod could start now: the node is ready, not cordoned, its taints are tolerated, and
its provider does not take it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from switchyard.api import labels
from switchyard.core.placement.facts import PoolFacts
from switchyard.core.stability.interruption import is_leaving
from switchyard.core.world import Node, Pod, Taint

_EFFECTS_THAT_REPEL = frozenset({"NoSchedule", "NoExecute"})
_FINISHED_PHASES = frozenset({"Succeeded", "Failed"})
TrackKey = tuple[str, str]  # namespace, track name


@dataclass(frozen=True, slots=True)
class PoolCapacity:
    """Whole devices of one pool. `free_for_plan`: allocatable minus what others hold, by open node."""

    name: str
    nodes_total: int = 0
    nodes_ready: int = 0
    nodes_open: int = 0  # ready, not cordoned, taints tolerated
    devices_total: int = 0
    devices_allocatable: int = 0
    devices_unhealthy: int = 0
    devices_used: int = 0
    devices_free: int = 0
    devices_foreign: int = 0  # of used: held by pods that are not ours
    largest_node_devices: int = 0
    free_for_plan: tuple[tuple[str, int], ...] = ()
    repelled_nodes: tuple[str, ...] = ()  # taints that our pods would not tolerate
    leaving_nodes: tuple[str, ...] = ()  # ready, and about to be taken back
    claimed_nodes: tuple[tuple[str, str], ...] = ()  # node, the earlier pool that counts it


@dataclass(frozen=True, slots=True)
class TrackPods:
    """The pods of one track, by what they do. Pods that are being deleted count nowhere.

    `leaving` of the total, and `ready_leaving` of those that are ready, are on nodes that are being taken
    back: they serve, and need successors now. `lost` are on nodes that do not answer, or are gone: they count
    as replicas until somebody deletes them, and serve nobody. `unshared` of the ready ones lack the label by
    which the Service of a mixed workload finds them.
    """

    ready: int = 0
    total: int = 0
    ready_by_node: Mapping[str, int] = field(default_factory=dict)
    unschedulable_message: str = ""
    waiting_reason: str = ""
    leaving: int = 0
    ready_leaving: int = 0
    lost: int = 0
    unshared: int = 0
    scheduled_by_node: Mapping[str, int] = field(default_factory=dict)  # ready nodes that stay
    restarts: int = 0

    @property
    def to_succeed(self) -> int:
        """Pods that need successors beside them."""
        return self.leaving + self.lost


@dataclass(frozen=True, slots=True)
class Fleet:
    """All pools and all tracks of one world."""

    pools: Mapping[str, PoolCapacity]
    tracks: Mapping[TrackKey, TrackPods]

    def track(self, key: TrackKey) -> TrackPods:
        """The pods of a track; none when it has none."""
        return self.tracks.get(key, TrackPods())


def round_up_to_unit(devices: int, units: Sequence[int]) -> int | None:
    """The smallest allowed allocation of at least `devices`; None when every allowed one is smaller."""
    if not units:
        return devices
    return min((unit for unit in units if unit >= devices), default=None)


def tolerates(tolerations: Iterable[Mapping[str, Any]], taint: Taint) -> bool:
    """True when one toleration matches, by the rules of core/v1."""
    for toleration in tolerations:
        effect = toleration.get("effect") or ""
        if effect and effect != taint.effect:
            continue
        key = toleration.get("key") or ""
        if (toleration.get("operator") or "Equal") == "Exists":
            if not key or key == taint.key:
                return True
        elif key == taint.key and (toleration.get("value") or "") == taint.value:
            return True
    return False


def survey(
    pools: Sequence[PoolFacts],
    created_at: Mapping[str, datetime | None],
    nodes: Sequence[Node],
    pods: Sequence[Pod],
    owned_workloads: frozenset[tuple[str, str]],
) -> Fleet:
    """The fleet as it stands. `owned_workloads`: keys of workloads whose pods a plan may move."""
    by_node, tracks = _sort_pods(pods, {node.name: node for node in nodes}, owned_workloads)
    never = datetime.max.replace(tzinfo=UTC)
    in_order = sorted(pools, key=lambda pool: (created_at.get(pool.name) or never, pool.name))
    index = _LabelIndex(nodes)
    claimed: dict[tuple[str, str], str] = {}
    capacities = {}
    for pool in in_order:
        mine, theirs = [], []
        for node in index.select(pool.selectors):
            owner = claimed.setdefault((node.name, pool.resource_name), pool.name)
            if owner == pool.name:
                mine.append(node)
            else:
                theirs.append((node.name, owner))
        capacities[pool.name] = _count(pool, mine, by_node, tuple(theirs))
    return Fleet({name: capacities[name] for name in sorted(capacities)}, tracks)


class _LabelIndex:
    """Nodes by label, so that a selector looks at the nodes of its rarest label only."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._by_label: dict[tuple[str, str], list[Node]] = {}
        for node in nodes:
            for item in node.labels.items():
                self._by_label.setdefault(item, []).append(node)

    def select(self, selectors: Sequence[Mapping[str, str]]) -> list[Node]:
        found: dict[str, Node] = {}
        for selector in selectors:
            if not selector:
                continue  # an empty selector would take the whole cluster
            rarest = min((self._by_label.get(item, []) for item in selector.items()), key=len)
            for node in rarest:
                if all(node.labels.get(key) == value for key, value in selector.items()):
                    found[node.name] = node
        return [found[name] for name in sorted(found)]


@dataclass(slots=True)
class _NodeUse:
    own: dict[str, int] = field(default_factory=dict)
    foreign: dict[str, int] = field(default_factory=dict)


def _sort_pods(
    pods: Sequence[Pod], nodes: Mapping[str, Node], owned: frozenset[tuple[str, str]]
) -> tuple[dict[str, _NodeUse], dict[TrackKey, TrackPods]]:
    by_node: dict[str, _NodeUse] = {}
    by_track: dict[TrackKey, list[Pod]] = {}
    for pod in pods:
        if pod.phase in _FINISHED_PHASES:
            continue
        track = pod.labels.get(labels.TRACK, "")
        is_own = (
            bool(track)
            and pod.labels.get(labels.MANAGED_BY) == labels.MANAGER
            and (pod.namespace, pod.labels.get(labels.WORKLOAD, "")) in owned
        )
        if is_own and not pod.is_deleting:
            by_track.setdefault((pod.namespace, track), []).append(pod)
        if pod.node_name:
            use = by_node.setdefault(pod.node_name, _NodeUse())
            held = use.own if is_own else use.foreign
            for resource, count in pod.requests.items():
                held[resource] = held.get(resource, 0) + count
    return by_node, {key: _count_track(each, nodes) for key, each in sorted(by_track.items())}


def _count_track(pods: Sequence[Pod], nodes: Mapping[str, Node]) -> TrackPods:
    ready_by_node: dict[str, int] = {}
    scheduled_by_node: dict[str, int] = {}
    leaving = ready_leaving = lost = unshared = 0
    for pod in pods:
        node = nodes.get(pod.node_name)
        if node is None or not node.is_ready:
            lost += bool(pod.node_name)
            continue
        is_on_leaving = is_leaving(node)
        leaving += is_on_leaving
        if not is_on_leaving:
            scheduled_by_node[pod.node_name] = scheduled_by_node.get(pod.node_name, 0) + 1
        if pod.is_ready:
            ready_by_node[pod.node_name] = ready_by_node.get(pod.node_name, 0) + 1
            ready_leaving += is_on_leaving
            unshared += labels.SHARED not in pod.labels
    return TrackPods(
        ready=sum(ready_by_node.values()),
        total=len(pods),
        ready_by_node=dict(sorted(ready_by_node.items())),
        unschedulable_message=next(
            (pod.unschedulable_message for pod in pods if pod.unschedulable_message), ""
        ),
        waiting_reason=next((pod.waiting_reason for pod in pods if pod.waiting_reason), ""),
        leaving=leaving,
        ready_leaving=ready_leaving,
        lost=lost,
        unshared=unshared,
        scheduled_by_node=dict(sorted(scheduled_by_node.items())),
        restarts=sum(pod.restarts + pod.has_lost_readiness for pod in pods),
    )


def _count(
    pool: PoolFacts,
    nodes: Sequence[Node],
    by_node: Mapping[str, _NodeUse],
    claimed_nodes: tuple[tuple[str, str], ...],
) -> PoolCapacity:
    resource = pool.resource_name
    total = allocatable = unhealthy = used = foreign = free = ready = largest = 0
    free_for_plan: list[tuple[str, int]] = []
    repelled: list[str] = []
    leaving: list[str] = []
    for node in nodes:
        capacity = node.capacity.get(resource, 0)
        usable = node.allocatable.get(resource, 0)
        use = by_node.get(node.name)
        own_used = use.own.get(resource, 0) if use else 0
        foreign_used = use.foreign.get(resource, 0) if use else 0
        total += capacity
        unhealthy += max(0, capacity - usable) if resource != "cpu" else 0
        used += own_used + foreign_used
        foreign += foreign_used
        is_repelled = any(
            taint.effect in _EFFECTS_THAT_REPEL and not tolerates(pool.tolerations, taint)
            for taint in node.taints
        )
        if node.is_ready:
            ready += 1
            allocatable += usable
        is_open = node.is_ready and not node.is_unschedulable and not is_leaving(node)
        if node.is_ready and is_leaving(node):
            leaving.append(node.name)
        if is_open and is_repelled:
            repelled.append(node.name)
        if is_open and not is_repelled:
            largest = max(largest, usable)
            free += max(0, usable - own_used - foreign_used)
            free_for_plan.append((node.name, max(0, usable - foreign_used)))
    return PoolCapacity(
        name=pool.name,
        nodes_total=len(nodes),
        nodes_ready=ready,
        nodes_open=len(free_for_plan),
        devices_total=total,
        devices_allocatable=allocatable,
        devices_unhealthy=unhealthy,
        devices_used=used,
        devices_free=free,
        devices_foreign=foreign,
        largest_node_devices=largest,
        free_for_plan=tuple(free_for_plan),
        repelled_nodes=tuple(repelled),
        leaving_nodes=tuple(leaving),
        claimed_nodes=claimed_nodes,
    )
