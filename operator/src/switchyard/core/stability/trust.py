"""Which pools to believe in this pass: back-off joined with what the world shows of each pool."""

from __future__ import annotations

from collections.abc import Mapping

from switchyard.api import labels
from switchyard.core.naming import label_value
from switchyard.core.placement.facts import PoolFacts
from switchyard.core.stability.back_off import Sightings, Trust, judge_pool
from switchyard.core.stability.interruption import find_interruptions, is_leaving
from switchyard.core.world import Node, Pod, World


def judge_pools(world: World, facts: Mapping[str, PoolFacts]) -> dict[str, Trust]:
    """The trust in every pool that could be read, by name. `Trust.closed_because` keeps newcomers out."""
    nodes = {node.name: node for node in world.nodes}
    leaving = [node for node in world.nodes if is_leaving(node)]
    ours: dict[str, list[Pod]] = {}
    workloads = {(each.meta.namespace, label_value(each.meta.name)) for each in world.workloads}
    for pod in world.pods:
        is_ours = (pod.namespace, pod.labels.get(labels.WORKLOAD, "")) in workloads
        if is_ours and pod.labels.get(labels.MANAGED_BY) == labels.MANAGER and not pod.is_deleting:
            ours.setdefault(pod.labels.get(labels.POOL, ""), []).append(pod)
    trusted = {}
    for pool in world.pools:
        known = facts.get(pool.meta.name)
        if known is None:
            continue
        pods = ours.get(label_value(known.name), [])
        interrupted: tuple[str, ...] = ()
        if known.capacity_type == "spot":
            mine = [node.name for node in leaving if _selects(known, node)]
            interrupted = find_interruptions(pods, mine, nodes)
        seen = Sightings(
            pods=pods,
            is_elastic=known.growth_limit_devices is not None,
            provisioning_seconds=known.provisioning_seconds,
            interrupted=interrupted,
        )
        trusted[known.name] = judge_pool(seen, pool.status.back_off, world.now)
    return trusted


def _selects(pool: PoolFacts, node: Node) -> bool:
    return any(
        selector and all(node.labels.get(key) == value for key, value in selector.items())
        for selector in pool.selectors
    )
