"""What ResourceQuotas leave to the workloads of a namespace, in whole devices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from switchyard.api import labels
from switchyard.core.naming import label_value
from switchyard.core.placement.facts import PoolFacts
from switchyard.core.placement.problem import Quota
from switchyard.core.world import Pod, World

_FINISHED_PHASES = frozenset({"Succeeded", "Failed"})


def list_quotas(world: World, pools: Sequence[PoolFacts]) -> tuple[Quota, ...]:
    """One limit per quota and resource that pools offer; what pods that are not ours use is taken off."""
    by_resource: dict[str, list[str]] = {}
    for pool in pools:
        by_resource.setdefault(pool.resource_name, []).append(pool.name)
    found = []
    for each in world.quotas:
        for resource in sorted(each.hard.keys() & by_resource.keys()):
            names = tuple(sorted(by_resource[resource]))
            ours = _count_ours(world.pods, each.namespace, resource, names)
            others = max(0, each.used.get(resource, 0) - ours)
            devices = max(0, each.hard[resource] - others)
            found.append(Quota(f"{each.namespace}/{each.name}/{resource}", each.namespace, names, devices))
    return tuple(sorted(found, key=lambda quota: quota.name))


def count_allowance(quotas: Iterable[Quota], namespace: str, pool: str) -> int | None:
    """Devices of a pool that the quotas leave the workloads of a namespace; None where none limits them."""
    limits = [each.devices for each in quotas if each.namespace == namespace and pool in each.pools]
    return min(limits, default=None)


def _count_ours(pods: Iterable[Pod], namespace: str, resource: str, pools: Sequence[str]) -> int:
    marks = {label_value(name) for name in pools}
    return sum(
        pod.requests.get(resource, 0)
        for pod in pods
        if pod.namespace == namespace
        and pod.phase not in _FINISHED_PHASES
        and pod.labels.get(labels.MANAGED_BY) == labels.MANAGER
        and pod.labels.get(labels.POOL, "") in marks
    )
