"""Whether a variant of a workload may run in a pool, and how many replicas it would take.

An ordered list of small checks, each answering one question; the first that objects is the reason given.
Order matters to readers only: from who may, through what fits the hardware, to what it can deliver and
cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from switchyard.api import Reason
from switchyard.core.placement.capacity import PoolCapacity, round_up_to_unit
from switchyard.core.placement.cost import DeviceHour, cost_per_thousand, format_money
from switchyard.core.placement.facts import PoolFacts, VariantFacts, WorkloadFacts
from switchyard.core.placement.latency import Capacity, format_rate, format_seconds, max_rate, measure_load
from switchyard.core.placement.quantities import format_bytes


@dataclass(frozen=True, slots=True)
class Case:
    """All that the checks may look at. `pool_problem`: why the pool takes nothing new, empty when it does."""

    workload: WorkloadFacts
    variant: VariantFacts
    pool: PoolFacts
    capacity: PoolCapacity
    device_hour: DeviceHour
    namespace_labels: Mapping[str, str]
    has_pod_template: bool
    pool_problem: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why not: a reason and a sentence with the numbers that decided."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Option:
    """An admitted pair. `rate` per replica is what is promised; the load is what it would have."""

    variant: str
    pool: str
    unit_devices: int
    replicas: int
    rate: float
    utilisation_ratio: float
    error_ratio: float
    allocated_per_hour: Decimal


Check = Callable[[Case], Verdict | None]


def assess(case: Case) -> Option | Verdict:
    """The option, or the first objection to it."""
    for check in CHECKS:
        verdict = check(case)
        if verdict is not None:
            return verdict
    return build_option(case)


def build_option(case: Case) -> Option:
    """The option of a case whose profile is known and whose devices come in allowed units."""
    rate = promised(case).rate
    replicas = count_replicas(case.workload, rate)
    utilisation, errors = _load(case, replicas)
    unit = unit_devices(case) or case.variant.devices_per_replica
    per_hour = case.device_hour.allocated(utilisation) * unit * replicas
    return Option(case.variant.name, case.pool.name, unit, replicas, rate, utilisation, errors, per_hour)


def unit_devices(case: Case) -> int | None:
    """Devices of one replica, rounded up to what the pool allocates together; None when it allocates less."""
    return round_up_to_unit(case.variant.devices_per_replica, case.pool.unit_devices)


def promised(case: Case) -> Capacity:
    """The rate of one replica within the objectives, the pool's network latency deducted."""
    profile = case.variant.profile
    if profile is None:
        return Capacity(0.0, None)
    return max_rate(
        profile,
        case.workload.objectives,
        case.pool.network_latency_seconds,
        case.variant.profile_source,
    )


def count_replicas(workload: WorkloadFacts, rate: float) -> int:
    """ceil(peak x (1 + headroom) / rate), at least minReplicas. `rate` is of one replica and above 0."""
    wanted = workload.peak_rate * (1 + workload.headroom_percent / 100)
    return max(workload.min_replicas, math.ceil(wanted / rate - 1e-9))


def allows_namespace(pool: PoolFacts, name: str, labels: Mapping[str, str]) -> bool:
    """True when the pool's selector takes a namespace of that name (itself a label) and with these labels."""
    if pool.namespace_labels is None:
        return True
    labels = {"kubernetes.io/metadata.name": name, **labels}
    if any(labels.get(key) != value for key, value in pool.namespace_labels.items()):
        return False
    for key, operator, values in pool.namespace_expressions:
        value = labels.get(key)
        if operator == "In" and value not in values:
            return False
        if operator == "NotIn" and value is not None and value in values:
            return False
        if operator == "Exists" and value is None:
            return False
        if operator == "DoesNotExist" and value is not None:
            return False
    return True


def _namespace_allowed(case: Case) -> Verdict | None:
    if allows_namespace(case.pool, case.workload.namespace, case.namespace_labels):
        return None
    message = f"pool {case.pool.name} does not take workloads of namespace {case.workload.namespace}"
    return Verdict(Reason.NamespaceNotAllowed, message)


def _pool_ready(case: Case) -> Verdict | None:
    if not case.pool_problem:
        return None
    return Verdict(Reason.PoolNotReady, f"pool {case.pool.name}: {case.pool_problem}")


def _pool_not_cordoned(case: Case) -> Verdict | None:
    if not case.pool.is_cordoned:
        return None
    return Verdict(Reason.PoolCordoned, f"pool {case.pool.name} is cordoned: it takes nothing new")


def _accelerator_matches(case: Case) -> Verdict | None:
    kinds = case.pool.kinds
    has = " of family ".join(kinds)
    if not any(kind in case.variant.accelerators for kind in kinds):
        asked = ", ".join(case.variant.accelerators)
        return Verdict(
            Reason.AcceleratorMismatch, f"variant {case.variant.name} runs on {asked}; the pool has {has}"
        )
    if case.workload.families and case.pool.family not in case.workload.families:
        asked = ", ".join(case.workload.families)
        return Verdict(Reason.AcceleratorMismatch, f"constraints.families is {asked}; the pool has {has}")
    if case.workload.accelerators and not any(kind in case.workload.accelerators for kind in kinds):
        asked = ", ".join(case.workload.accelerators)
        return Verdict(Reason.AcceleratorMismatch, f"constraints.accelerators is {asked}; the pool has {has}")
    return None


def _residency_matches(case: Case) -> Verdict | None:
    missing = [label for label in case.workload.residency if label not in case.pool.residency]
    if not missing:
        return None
    has = ", ".join(case.pool.residency) or "none"
    return Verdict(Reason.ResidencyMismatch, f"needs residency {', '.join(missing)}; the pool states {has}")


def _zones_match(case: Case) -> Verdict | None:
    allowed = case.workload.zones
    if not allowed:
        return None
    outside = [zone for zone in case.pool.zones if zone not in allowed]
    if case.pool.zones and not outside:
        return None
    has = ", ".join(case.pool.zones) or "none"
    return Verdict(Reason.ZoneMismatch, f"allowed zones are {', '.join(allowed)}; the pool states {has}")


def _capacity_type_matches(case: Case) -> Verdict | None:
    allowed = case.workload.capacity_types
    if not allowed or case.pool.capacity_type in allowed:
        return None
    message = f"allowed capacity types are {', '.join(allowed)}; the pool is {case.pool.capacity_type}"
    return Verdict(Reason.CapacityTypeMismatch, message)


def _maturity_matches(case: Case) -> Verdict | None:
    allowed = case.workload.maturities or ("production",)  # a pilot serves only who asks for it
    if case.pool.maturity in allowed:
        return None
    message = f"allowed maturity is {', '.join(allowed)}; the pool is {case.pool.maturity}"
    return Verdict(Reason.MaturityMismatch, message)


def _unit_fits(case: Case) -> Verdict | None:
    asked, unit = case.variant.devices_per_replica, unit_devices(case)
    if unit is None:
        largest = max(case.pool.unit_devices)
        message = f"a replica needs {asked} devices; the pool allocates at most {largest} together"
        return Verdict(Reason.AllocationUnit, message)
    if unit > case.capacity.largest_node_devices:
        message = (
            f"a replica needs {unit} devices on one node; the largest open node has "
            f"{case.capacity.largest_node_devices}"
        )
        return Verdict(Reason.AllocationUnit, message)
    return None


def _memory_fits(case: Case) -> Verdict | None:
    model, device = case.workload.memory_bytes, case.pool.memory_bytes
    unit = unit_devices(case) or 1
    if model is None or device is None or model <= device * unit:
        return None
    message = (
        f"the model needs {format_bytes(model)}; {unit} device{'s' * (unit > 1)} of {format_bytes(device)} "
        f"hold {format_bytes(device * unit)}"
    )
    return Verdict(Reason.InsufficientMemory, message)


def _precision_supported(case: Case) -> Verdict | None:
    wanted, has = case.variant.precision, case.pool.precisions
    if not wanted or not has or wanted in has:
        return None
    return Verdict(Reason.PrecisionUnsupported, f"needs precision {wanted}; the pool has {', '.join(has)}")


def _runtime_supported(case: Case) -> Verdict | None:
    wanted, has = case.variant.runtime, case.pool.runtimes
    if not wanted or not has or wanted in has:
        return None
    return Verdict(Reason.RuntimeUnsupported, f"needs runtime {wanted}; the pool has {', '.join(has)}")


def _pod_template_exists(case: Case) -> Verdict | None:
    if not case.variant.pod_template or case.has_pod_template:
        return None
    message = (
        f"PodTemplate {case.variant.pod_template} does not exist in namespace {case.workload.namespace}: "
        f"create it or give variant {case.variant.name} a container"
    )
    return Verdict(Reason.PodTemplateNotFound, message)


def _profile_known(case: Case) -> Verdict | None:
    if case.variant.profile is not None:
        return None
    problem = case.variant.profile_problem or "states no profile"
    message = f"variant {case.variant.name} {problem}: without one nobody knows what a replica can carry"
    return Verdict(Reason.ProfileMissing, message)


def _objective_reachable(case: Case) -> Verdict | None:
    capacity = promised(case)
    if capacity.rate > 0:
        return None
    if capacity.binding is None:
        return Verdict(Reason.ObjectiveUnreachable, "the profile gives a replica no capacity")
    best = format_seconds(capacity.best_seconds)
    message = (
        f"{capacity.binding} is out of reach: p{capacity.binding.percentile} is {best} at best"
        f"{_network_share(case)}"
    )
    return Verdict(Reason.ObjectiveUnreachable, message)


def _network_share(case: Case) -> str:
    seconds = case.pool.network_latency_seconds
    return f", {format_seconds(seconds)} of it network" if seconds else ""


def _replicas_allowed(case: Case) -> Verdict | None:
    replicas = count_replicas(case.workload, promised(case).rate)
    if replicas <= case.workload.max_replicas:
        return None
    message = (
        f"{format_rate(case.workload.peak_rate)} requests/s with {case.workload.headroom_percent}% headroom "
        f"need {replicas} replicas at {format_rate(promised(case).rate)} requests/s each; maxReplicas is "
        f"{case.workload.max_replicas}"
    )
    return Verdict(Reason.MaxReplicasExceeded, message)


def _budget_holds(case: Case) -> Verdict | None:
    workload = case.workload
    if workload.budget_per_hour is None and workload.budget_per_thousand is None:
        return None
    option = build_option(case)
    if workload.budget_per_hour is not None and option.allocated_per_hour > workload.budget_per_hour:
        message = (
            f"{option.replicas} replicas cost {format_money(option.allocated_per_hour)} per hour; "
            f"the budget is {format_money(workload.budget_per_hour)}"
        )
        return Verdict(Reason.OverBudget, message)
    per_thousand = cost_per_thousand(option.allocated_per_hour, workload.mean_rate, option.error_ratio)
    ceiling = workload.budget_per_thousand
    if ceiling is not None and per_thousand is not None and per_thousand > ceiling:
        message = (
            f"{option.replicas} replicas cost {format_money(per_thousand)} per thousand requests; "
            f"the budget is {format_money(ceiling)}"
        )
        return Verdict(Reason.OverBudget, message)
    return None


def _load(case: Case, replicas: int) -> tuple[float, float]:
    """Utilisation and error share of one of `replicas` at the mean demand."""
    if case.variant.profile is None or replicas < 1:
        return (1.0, 0.0)
    utilisation, errors = measure_load(case.variant.profile, case.workload.mean_rate / replicas)
    return (min(1.0, utilisation), errors)


CHECKS: tuple[Check, ...] = (
    _namespace_allowed,  # may this team use the pool at all
    _pool_ready,  # does the pool have nodes that take pods
    _pool_not_cordoned,  # did an admin close it
    _accelerator_matches,  # is there a variant made for this hardware
    _residency_matches,  # may the data go there
    _zones_match,
    _capacity_type_matches,  # spot is not for everyone
    _maturity_matches,  # nor are pilots
    _unit_fits,  # devices come in units, on one node
    _memory_fits,
    _precision_supported,
    _runtime_supported,
    _pod_template_exists,
    _profile_known,
    _objective_reachable,
    _replicas_allowed,
    _budget_holds,  # last: needs the replicas
)
