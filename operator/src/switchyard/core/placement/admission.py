"""Whether a variant of a workload may run in a pool, and how many replicas it would take.

An ordered list of small checks, each answering one question; the first that objects is the reason given.
Order matters to readers only: from who may, through what fits the hardware, to what it can deliver and
cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from switchyard.api import Reason
from switchyard.core.placement.case import Case, Option, Verdict, build_option
from switchyard.core.placement.cost import cost_per_thousand, format_money
from switchyard.core.placement.facts import PoolFacts
from switchyard.core.placement.latency import format_rate, format_seconds
from switchyard.core.placement.quantities import format_bytes
from switchyard.core.placement.resilience import judge_alone

Check = Callable[[Case], Verdict | None]


def assess(case: Case, *, is_inside: bool = False) -> Option | Verdict:
    """The option, or the first objection to it. What serves `is_inside` passes closed doors."""
    for check in CHECKS:
        if is_inside and check in DOORS:
            continue
        verdict = check(case)
        if verdict is not None:
            return verdict
    return build_option(case)


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
    if not case.doors.problem:
        return None
    return Verdict(Reason.PoolNotReady, f"pool {case.pool.name}: {case.doors.problem}")


def _pool_not_cordoned(case: Case) -> Verdict | None:
    if not case.pool.is_cordoned:
        return None
    return Verdict(Reason.PoolCordoned, f"pool {case.pool.name} is cordoned: it takes nothing new")


def _pool_believed(case: Case) -> Verdict | None:
    if not case.doors.back_off:
        return None
    return Verdict(Reason.PoolBackOff, f"pool {case.pool.name}: {case.doors.back_off}")


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
    asked, unit = case.variant.devices_per_replica, case.unit_devices
    if unit is None:
        largest = max(case.pool.unit_devices)
        message = f"a replica needs {asked} devices; the pool allocates at most {largest} together"
        return Verdict(Reason.AllocationUnit, message)
    return None


def _node_is_large(case: Case) -> Verdict | None:
    unit, room = case.unit_devices or 1, case.largest_room
    if unit <= room:
        return None
    message = f"a replica needs {unit} devices on one node; the largest open node has {room}"
    if case.is_elastic:
        message = f"a replica needs {unit} devices on one node; the pool has or may get {room} at most"
    return Verdict(Reason.AllocationUnit, message)


def _memory_fits(case: Case) -> Verdict | None:
    model, device = case.workload.memory_bytes, case.pool.memory_bytes
    unit = case.unit_devices or 1
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


def _quota_allows(case: Case) -> Verdict | None:
    unit = case.unit_devices or 1
    if case.quota_devices is None or unit * case.workload.min_replicas <= case.quota_devices:
        return None
    least = case.workload.min_replicas
    message = (
        f"{least} replica{'s' * (least != 1)} of {unit} {case.pool.resource_name} need {least * unit}; "
        f"a ResourceQuota of namespace {case.workload.namespace} leaves {case.quota_devices}"
    )
    return Verdict(Reason.QuotaExceeded, message)


def _profile_known(case: Case) -> Verdict | None:
    if case.evidence.profile is not None:
        return None
    problem = case.evidence.problem or "states no profile"
    message = (
        f"variant {case.variant.name} {problem}: nobody knows what a replica can carry until it has a "
        "profile, which `switchyard profile` measures"
    )
    return Verdict(Reason.ProfileMissing, message)


def _profile_tells(case: Case) -> Verdict | None:
    if not case.gap:
        return None
    return Verdict(Reason.ProfileMissing, f"variant {case.variant.name}: {case.gap}")


def _objective_reachable(case: Case) -> Verdict | None:
    capacity = case.promised
    if capacity.rate > 0:
        return None
    if capacity.binding is None:
        return Verdict(Reason.ObjectiveUnreachable, "the profile gives a replica no capacity")
    best = format_seconds(capacity.best_seconds)
    metric = "" if capacity.binding.metric == "latency" else f"{capacity.binding.metric} "
    message = (
        f"{capacity.binding} is out of reach: {metric}p{capacity.binding.percentile} is {best} at best"
        f"{_network_share(case)}"
    )
    return Verdict(Reason.ObjectiveUnreachable, message)


def _network_share(case: Case) -> str:
    seconds = case.pool.network_latency_seconds
    is_told = case.promised.binding is not None and case.promised.binding.metric != "tpot"
    return f", {format_seconds(seconds)} of it network" if seconds and is_told else ""


def _replicas_allowed(case: Case) -> Verdict | None:
    workload = case.workload
    if case.replicas <= workload.max_replicas or workload.mode == "mixed":
        return None  # mixed with others fewer may do: the optimiser counts them together
    message = (
        f"{format_rate(workload.peak_rate)} requests/s with {workload.headroom_percent}% headroom "
        f"need {case.replicas} replicas at {format_rate(case.promised.rate)} requests/s each; maxReplicas is "
        f"{workload.max_replicas}"
    )
    return Verdict(Reason.MaxReplicasExceeded, message, case.replicas)


def _resilient(case: Case) -> Verdict | None:
    if case.workload.mode == "mixed":
        return None  # the optimiser keeps it over all pools together
    verdict = judge_alone(case.workload, case.pool, case.replicas)
    if verdict is None:
        return None
    way_out = "allow several pools at once with placement.mode: mixed"
    return replace(verdict, message=f"{verdict.message}: {way_out}")


def _budget_holds(case: Case) -> Verdict | None:
    workload = case.workload
    if workload.budget_per_hour is None and workload.budget_per_thousand is None:
        return None
    if workload.mode == "mixed":
        return None  # the optimiser keeps it over all replicas together
    option = build_option(case)
    if workload.budget_per_hour is not None and option.allocated_per_hour > workload.budget_per_hour:
        message = (
            f"{option.replicas} replicas cost {format_money(option.allocated_per_hour)} per hour; "
            f"the budget is {format_money(workload.budget_per_hour)}"
        )
        return Verdict(Reason.OverBudget, message, option.replicas, option.allocated_per_hour)
    per_thousand = cost_per_thousand(option.allocated_per_hour, workload.mean_rate, option.error_ratio)
    ceiling = workload.budget_per_thousand
    if ceiling is not None and per_thousand is not None and per_thousand > ceiling:
        message = (
            f"{option.replicas} replicas cost {format_money(per_thousand)} per thousand requests; "
            f"the budget is {format_money(ceiling)}"
        )
        return Verdict(Reason.OverBudget, message, option.replicas, option.allocated_per_hour)
    return None


DOORS: frozenset[Check] = frozenset({_pool_ready, _pool_not_cordoned, _pool_believed, _node_is_large})

CHECKS: tuple[Check, ...] = (
    _namespace_allowed,  # may this team use the pool at all
    _pool_ready,  # does the pool have nodes that take pods
    _pool_not_cordoned,  # did an admin close it
    _accelerator_matches,  # is there a variant made for this hardware
    _residency_matches,  # may the data go there
    _zones_match,
    _capacity_type_matches,  # spot is not for everyone
    _maturity_matches,  # nor are pilots
    _unit_fits,  # devices come in units
    _node_is_large,  # on one node
    _memory_fits,
    _precision_supported,
    _runtime_supported,
    _pod_template_exists,
    _quota_allows,
    _profile_known,
    _profile_tells,
    _objective_reachable,
    _replicas_allowed,
    _resilient,  # can one pool alone keep what is asked against its loss
    _budget_holds,  # needs the replicas
    _pool_believed,  # did it fail to start pods of late: last, as this passes by itself
)
