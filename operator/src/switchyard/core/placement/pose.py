"""The placement problem of a world: which options each workload has, what it holds, what pools can give.

Work is shared where inputs are: the verdict of a pool on a namespace is formed once, the rate of a profile
once per set of objectives and network latency (see latency.max_rate), nodes are looked at once per pool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from switchyard.api import Reason
from switchyard.core.placement.admission import (
    Case,
    Option,
    Verdict,
    assess,
    build_option,
    count_replicas,
    promised,
    unit_devices,
)
from switchyard.core.placement.capacity import Fleet, PoolCapacity, TrackPods
from switchyard.core.placement.cost import DeviceHour, count_paid_devices, price_device_hour
from switchyard.core.placement.facts import TIERS, PoolFacts, WorkloadFacts
from switchyard.core.placement.problem import Candidate, Holding, Job, JobKey, Problem, Supply


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool as placement sees it. `problem`: why it takes nothing new, empty when it does."""

    facts: PoolFacts
    capacity: PoolCapacity
    device_hour: DeviceHour
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """The track that serves or served last, and what is wanted of it; `objection`: why not any more."""

    option: Option
    track: str
    pods: TrackPods
    objection: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Ballot:
    """All that a workload may choose from, and why not the rest. Keys: variant and pool."""

    facts: WorkloadFacts
    options: Mapping[tuple[str, str], Option]
    rejections: Mapping[tuple[str, str], Verdict]
    held: Held | None = None


@dataclass(frozen=True, slots=True)
class Track:
    """A track that exists: the name of its Deployment, what it runs where, and the replicas it asks for."""

    name: str
    variant: str
    pool: str
    replicas: int


def view_pools(pools: Sequence[PoolFacts], fleet: Fleet, problems: Mapping[str, str]) -> dict[str, PoolView]:
    """Every readable pool by name."""
    return {
        facts.name: PoolView(
            facts, fleet.pools[facts.name], price_device_hour(facts), problems.get(facts.name, "")
        )
        for facts in pools
    }


def draw_up(
    workload: WorkloadFacts,
    pools: Mapping[str, PoolView],
    *,
    namespace_labels: Mapping[str, str],
    templates: frozenset[str],
    held_track: Track | None,
    held_pods: TrackPods,
) -> Ballot:
    """The ballot of one workload. `templates`: the PodTemplates that exist in its namespace."""
    options: dict[tuple[str, str], Option] = {}
    rejections: dict[tuple[str, str], Verdict] = {}
    for pool_name in sorted(pools):
        view = pools[pool_name]
        relevant = [each for each in workload.variants if _names(each.accelerators, view.facts)]
        for variant in relevant or workload.variants[:1]:
            outcome = assess(_case(workload, variant.name, view, namespace_labels, templates))
            if isinstance(outcome, Option):
                options[variant.name, pool_name] = outcome
            else:
                rejections[variant.name if relevant else "", pool_name] = outcome
    held = None
    if (
        held_track is not None
        and held_track.pool in pools
        and workload.variant(held_track.variant) is not None
    ):
        case = _case(workload, held_track.variant, pools[held_track.pool], namespace_labels, templates)
        held = _hold(case, held_track, held_pods, rejections)
    return Ballot(workload, options, rejections, held)


def pose(ballots: Sequence[Ballot], pools: Mapping[str, PoolView]) -> Problem:
    """The problem over all ballots."""
    jobs = tuple(sorted((_job(ballot, pools) for ballot in ballots), key=lambda job: job.key))
    return Problem(jobs, tuple(_supply(pools[name]) for name in sorted(pools)))


def _names(accelerators: Sequence[str], pool: PoolFacts) -> bool:
    return any(kind in accelerators for kind in pool.kinds)


def _case(
    workload: WorkloadFacts,
    variant_name: str,
    view: PoolView,
    namespace_labels: Mapping[str, str],
    templates: frozenset[str],
) -> Case:
    variant = workload.variant(variant_name)
    if variant is None:
        raise KeyError(variant_name)
    return Case(
        workload=workload,
        variant=variant,
        pool=view.facts,
        capacity=view.capacity,
        device_hour=view.device_hour,
        namespace_labels=namespace_labels,
        has_pod_template=variant.pod_template in templates,
        pool_problem=view.problem,
    )


def _hold(
    case: Case, track: Track, pods: TrackPods, rejections: Mapping[tuple[str, str], Verdict]
) -> Held | None:
    """What is wanted of a track that serves. Without a rate to size it by, it stays as large as it is."""
    objection = rejections.get((track.variant, track.pool))
    unit = unit_devices(case) or case.variant.devices_per_replica
    rate = promised(case).rate
    workload = case.workload
    if case.variant.pod_template and not case.has_pod_template:
        return None if pods.ready == 0 else _as_is(case, track, pods, unit, objection)
    if rate <= 0:
        return _as_is(case, track, pods, unit, objection)
    option = build_option(case)
    wanted = min(count_replicas(workload, rate), workload.max_replicas)
    if wanted != option.replicas:
        per_hour = case.device_hour.allocated(option.utilisation_ratio) * unit * wanted
        option = Option(
            option.variant,
            option.pool,
            unit,
            wanted,
            rate,
            option.utilisation_ratio,
            option.error_ratio,
            per_hour,
        )
    if objection is not None and objection.reason in {Reason.PoolCordoned, Reason.PoolNotReady}:
        objection = None  # a closed pool refuses newcomers, not what serves there
    return Held(option, track.name, pods, objection)


def _as_is(case: Case, track: Track, pods: TrackPods, unit: int, objection: Verdict | None) -> Held:
    replicas = max(track.replicas, case.workload.min_replicas)
    per_hour = case.device_hour.allocated() * unit * replicas
    option = Option(track.variant, track.pool, unit, replicas, 0.0, 1.0, 0.0, per_hour)
    return Held(option, track.name, pods, objection)


def _job(ballot: Ballot, pools: Mapping[str, PoolView]) -> Job:
    candidates = tuple(
        _candidate(ballot.options[name], pools[name[1]].device_hour) for name in sorted(ballot.options)
    )
    holding = None
    if ballot.held is not None:
        option, pods = ballot.held.option, ballot.held.pods
        open_nodes = dict(pools[option.pool].capacity.free_for_plan)
        by_node = tuple(
            (node, count) for node, count in sorted(pods.ready_by_node.items()) if node in open_nodes
        )
        elsewhere = pods.ready - sum(count for _, count in by_node)
        holding = Holding(_candidate(option, pools[option.pool].device_hour), by_node, elsewhere)
    return Job(_key(ballot), TIERS.index(ballot.facts.tier), candidates, holding)


def _key(ballot: Ballot) -> JobKey:
    return ballot.facts.key


def _candidate(option: Option, device_hour: DeviceHour) -> Candidate:
    return Candidate(
        variant=option.variant,
        pool=option.pool,
        unit_devices=option.unit_devices,
        replicas=option.replicas,
        energy_per_hour=device_hour.energy_share(option.utilisation_ratio),
    )


def _supply(view: PoolView) -> Supply:
    facts, capacity = view.facts, view.capacity
    limit = None
    full_price = view.device_hour.allocated()
    if facts.maturity == "pilot" and facts.pilot_max_per_hour is not None and full_price > 0:
        limit = int(facts.pilot_max_per_hour / full_price)
    return Supply(
        name=facts.name,
        free_by_node=capacity.free_for_plan,
        price_per_hour=view.device_hour.billed() if full_price else Decimal(0),
        paid_devices=count_paid_devices(facts, capacity.devices_total),
        used_devices=capacity.devices_foreign,
        device_limit=limit,
    )
