"""What of a world can be read, and for the rest what is wrong with it: one bad object stops no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from switchyard.api import Reason
from switchyard.catalog import Catalog
from switchyard.core.placement.capacity import Fleet, survey
from switchyard.core.placement.facts import FAMILIES, PoolFacts, WorkloadFacts
from switchyard.core.placement.pose import PoolView, view_pools
from switchyard.core.placement.reading import read_pool, read_workload
from switchyard.core.pool_status import find_pool_problem
from switchyard.core.world import Child, Pool, Workload, World

Problem = tuple[Reason, str]


@dataclass(frozen=True, slots=True)
class Readings:
    """A world in facts. `pool_problems`: why a pool takes nothing new; `broken`: what is unreadable."""

    pools: Mapping[str, PoolView]
    pool_problems: Mapping[str, Problem]
    workloads: Mapping[tuple[str, str], WorkloadFacts]
    fleet: Fleet
    children: Mapping[str, tuple[Child, ...]]  # by the uid of their owner
    templates: Mapping[str, frozenset[str]]  # names of PodTemplates by namespace
    broken: Mapping[tuple[str, str, str], str]


def read_world(world: World, catalog: Catalog) -> Readings:
    """All facts of a world. Objects that are being deleted take part in nothing."""
    broken: dict[tuple[str, str, str], str] = {}
    pools = _read_pools(world.pools, catalog, broken)
    known = frozenset(FAMILIES).union(*(facts.kinds for facts in pools))
    workloads = _read_workloads(world.workloads, catalog, known, broken)
    created_at = {pool.meta.name: pool.meta.created_at for pool in world.pools}
    fleet = survey(
        pools, created_at, world.nodes, world.pods, frozenset(each.key for each in world.workloads)
    )
    problems: dict[str, Problem] = {}
    for facts in pools:
        problem = find_spec_problem(facts, catalog) or find_pool_problem(facts, fleet.pools[facts.name])
        if problem is not None:
            problems[facts.name] = problem
    children: dict[str, list[Child]] = {}
    for child in world.children:
        children.setdefault(child.owner_uid, []).append(child)
    templates: dict[str, set[str]] = {}
    for template in world.pod_templates:
        templates.setdefault(template.namespace, set()).add(template.name)
    return Readings(
        pools=view_pools(pools, fleet, {name: problem[1] for name, problem in problems.items()}),
        pool_problems=problems,
        workloads=workloads,
        fleet=fleet,
        children={uid: tuple(each) for uid, each in children.items()},
        templates={namespace: frozenset(names) for namespace, names in templates.items()},
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


def _read_pools(
    pools: Sequence[Pool], catalog: Catalog, broken: dict[tuple[str, str, str], str]
) -> list[PoolFacts]:
    found = []
    for pool in pools:
        if pool.meta.is_deleting:
            continue
        try:
            found.append(read_pool(pool, catalog))
        except Exception as error:  # noqa: BLE001  (one pool that cannot be read must not stop the others)
            broken["AcceleratorPool", "", pool.meta.name] = f"{type(error).__name__}: {error}"
    return found


def _read_workloads(
    workloads: Sequence[Workload],
    catalog: Catalog,
    known: frozenset[str],
    broken: dict[tuple[str, str, str], str],
) -> dict[tuple[str, str], WorkloadFacts]:
    found = {}
    for workload in workloads:
        if workload.meta.is_deleting:
            continue
        try:
            facts = read_workload(workload)
            found[workload.key] = replace(facts, unknown_accelerators=_find_unknown(facts, catalog, known))
        except Exception as error:  # noqa: BLE001  (nor one workload)
            broken["InferenceWorkload", *workload.key] = f"{type(error).__name__}: {error}"
    return found


def _find_unknown(
    facts: WorkloadFacts, catalog: Catalog, known: frozenset[str]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    names = sorted({name for variant in facts.variants for name in variant.accelerators} - known)
    return tuple((name, tuple(catalog.closest(name))) for name in names if catalog.get(name) is None)
