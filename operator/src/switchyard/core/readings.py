"""What of a world can be read, and for the rest what is wrong with it: one bad object stops no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from switchyard.api import Reason
from switchyard.catalog import Catalog
from switchyard.core.placement.capacity import Fleet, survey
from switchyard.core.placement.case import Doors
from switchyard.core.placement.cost import steady_price
from switchyard.core.placement.facts import FAMILIES, PoolFacts, WorkloadFacts
from switchyard.core.placement.pool_view import PoolView, view_pools
from switchyard.core.placement.problem import Quota
from switchyard.core.placement.quotas import list_quotas
from switchyard.core.placement.reading import read_pool, read_workload
from switchyard.core.pool_status import find_pool_problem
from switchyard.core.stability.back_off import Trust
from switchyard.core.stability.demand import DemandPlan, plan_demand
from switchyard.core.stability.trust import judge_pools
from switchyard.core.world import Child, Workload, World

Problem = tuple[Reason, str]


@dataclass(frozen=True, slots=True)
class Readings:
    """A world in facts. `pool_problems`: why a pool takes nothing new; `broken`: what is unreadable."""

    pools: Mapping[str, PoolView]
    pool_problems: Mapping[str, Problem]
    trusts: Mapping[str, Trust]
    workloads: Mapping[tuple[str, str], WorkloadFacts]
    demands: Mapping[tuple[str, str], DemandPlan]
    fleet: Fleet
    children: Mapping[str, tuple[Child, ...]]  # by the uid of their owner
    templates: Mapping[str, frozenset[str]]  # names of PodTemplates by namespace
    quotas: tuple[Quota, ...]
    broken: Mapping[tuple[str, str, str], str]


def read_world(world: World, catalog: Catalog) -> Readings:
    """All facts of a world. Objects that are being deleted take part in nothing."""
    broken: dict[tuple[str, str, str], str] = {}
    pools = _read_pools(world, catalog, broken)
    known = frozenset(FAMILIES).union(*(facts.kinds for facts in pools))
    workloads, demands = _read_workloads(world, catalog, known, broken)
    created_at = {pool.meta.name: pool.meta.created_at for pool in world.pools}
    fleet = survey(
        pools, created_at, world.nodes, world.pods, frozenset(each.key for each in world.workloads)
    )
    problems: dict[str, Problem] = {}
    for facts in pools:
        problem = find_spec_problem(facts, catalog) or find_pool_problem(facts, fleet.pools[facts.name])
        if problem is not None:
            problems[facts.name] = problem
    trusts = judge_pools(world, {facts.name: facts for facts in pools})
    children: dict[str, list[Child]] = {}
    for child in world.children:
        children.setdefault(child.owner_uid, []).append(child)
    templates: dict[str, set[str]] = {}
    for template in world.pod_templates:
        templates.setdefault(template.namespace, set()).add(template.name)
    return Readings(
        pools=view_pools(pools, fleet, _list_doors(problems, trusts)),
        pool_problems=problems,
        trusts=trusts,
        workloads=workloads,
        demands=demands,
        fleet=fleet,
        children={uid: tuple(each) for uid, each in children.items()},
        templates={namespace: frozenset(names) for namespace, names in templates.items()},
        quotas=list_quotas(world, pools),
        broken=broken,
    )


def find_spec_problem(facts: PoolFacts, catalog: Catalog) -> Problem | None:
    """What is missing in a pool's spec before any node is looked at, and the way out."""
    if facts.accelerator and catalog.get(facts.accelerator) is None and not facts.resource_name:
        near = ", ".join(catalog.closest(facts.accelerator))
        hint = f"; near it: {near}" if near else ""
        message = (
            f"accelerator {facts.accelerator} is not in the catalog{hint}: "
            "name one that is, or give device.family and device.resourceName"
        )
        return Reason.UnknownAccelerator, message
    if not facts.resource_name:
        message = (
            f"nobody knows the resource of {facts.accelerator or facts.family}: give device.resourceName"
        )
        return Reason.InvalidSpec, message
    if not facts.family:
        return Reason.InvalidSpec, "device.family is not given and no catalog entry has it"
    if not any(facts.selectors):
        return Reason.InvalidSpec, "the pool selects no nodes: give nodeSelector"
    return None


def _list_doors(problems: Mapping[str, Problem], trusts: Mapping[str, Trust]) -> dict[str, Doors]:
    names = {*problems, *(name for name, trust in trusts.items() if trust.closed_because)}
    return {
        name: Doors(
            problem=problems[name][1] if name in problems else "",
            back_off=trusts[name].closed_because if name in trusts else "",
        )
        for name in names
    }


def _read_pools(world: World, catalog: Catalog, broken: dict[tuple[str, str, str], str]) -> list[PoolFacts]:
    found = []
    for pool in world.pools:
        if pool.meta.is_deleting:
            continue
        try:
            price = steady_price(world.prices.get(pool.meta.name), pool.status.cost, world.now)
            found.append(read_pool(pool, catalog, price))
        except Exception as error:  # noqa: BLE001  (one pool that cannot be read must not stop the others)
            broken["AcceleratorPool", "", pool.meta.name] = f"{type(error).__name__}: {error}"
    return found


def _read_workloads(
    world: World, catalog: Catalog, known: frozenset[str], broken: dict[tuple[str, str, str], str]
) -> tuple[dict[tuple[str, str], WorkloadFacts], dict[tuple[str, str], DemandPlan]]:
    found, demands = {}, {}
    for workload in world.workloads:
        if workload.meta.is_deleting:
            continue
        try:
            demand = _plan_demand(workload, world)
            facts = read_workload(workload, demand.reading)
            found[workload.key] = replace(facts, unknown_accelerators=_find_unknown(facts, catalog, known))
            demands[workload.key] = demand
        except Exception as error:  # noqa: BLE001  (nor one workload)
            broken["InferenceWorkload", *workload.key] = f"{type(error).__name__}: {error}"
    return found, demands


def _plan_demand(workload: Workload, world: World) -> DemandPlan:
    reading = world.signals.get(workload.key)
    return plan_demand(workload.spec.demand, reading, workload.status.demand, world.now)


def _find_unknown(
    facts: WorkloadFacts, catalog: Catalog, known: frozenset[str]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    names = sorted({name for variant in facts.variants for name in variant.accelerators} - known)
    return tuple((name, tuple(catalog.closest(name))) for name in names if catalog.get(name) is None)
