"""What a refused option lacks, in words and, where that can be tried, as an option of `switchyard plan`.

All objections to a pair of variant and pool are listed, not only the first: they must all be met. Checks that
need a rate are left out while there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal

from switchyard.api import Reason
from switchyard.core.placement.admission import CHECKS, allows_namespace
from switchyard.core.placement.case import Case, Verdict, build_option
from switchyard.core.placement.cost import cost_per_thousand
from switchyard.core.placement.latency import (
    Objective,
    format_rate,
    format_seconds,
    max_rate,
    percentile_seconds,
)
from switchyard.core.placement.quantities import format_bytes

_WORKING_LOAD_RATIO = 0.5  # of what saturation allows: a target to live with, not one for an idle server
_MOST_REPLICAS = 1000
# after one of these there is no rate, or no unit, that later checks could work with
_ENDS_THE_LIST = frozenset({Reason.ProfileMissing, Reason.ObjectiveUnreachable})


@dataclass(frozen=True, slots=True)
class Remedy:
    """What it would take to lift one objection. `option`: the same for `switchyard plan`, or empty."""

    reason: Reason
    message: str
    option: str = ""


def list_objections(case: Case) -> tuple[Verdict, ...]:
    """Every check's objection, in the order of the checks."""
    found: list[Verdict] = []
    for check in CHECKS:
        verdict = check(case)
        if verdict is None:
            continue
        found.append(verdict)
        if verdict.reason in _ENDS_THE_LIST:
            break
    return tuple(found)


def find_remedies(case: Case) -> tuple[Remedy, ...]:
    """What it would take, one remedy per objection; none for an option that is admitted."""
    found = []
    for verdict in list_objections(case):
        find = _REMEDIES.get(verdict.reason)
        found.append(find(case) if find else Remedy(verdict.reason, verdict.message))
    return tuple(found)


def find_room(pool: str, devices_now: int, devices_missing: int) -> Remedy:
    """What it would take where only devices are missing."""
    return Remedy(
        Reason.InsufficientCapacity,
        f"{devices_missing} more device{'s' * (devices_missing != 1)} in pool {pool}",
        f"--set pool/{pool}.devices={devices_now + devices_missing}",
    )


def promise_target(case: Case, objective: Objective) -> float:
    """Seconds that a replica at half its greatest load would keep, rounded up to three digits."""
    profile, traffic = case.evidence.profile, case.workload.traffic
    if profile is None or case.gap:
        return math.inf
    rate = max_rate(profile, (), 0.0, case.evidence.source, traffic).rate
    seconds = percentile_seconds(
        profile,
        rate * _WORKING_LOAD_RATIO,
        objective.percentile,
        case.pool.network_latency_seconds,
        traffic=traffic,
        metric=objective.metric,
    )
    return _round_up(seconds)


def _round_up(seconds: float) -> float:
    if not 0 < seconds < math.inf:
        return seconds
    step = 10.0 ** (math.floor(math.log10(seconds)) - 2)
    return math.ceil(seconds / step - 1e-9) * step


def _workload(case: Case) -> str:
    return f"iw/{case.workload.namespace}/{case.workload.name}"


def _variant(case: Case) -> str:
    return f"{_workload(case)}.variants[{case.variant.name}]"


def _set(path: str, value: object) -> str:
    text = f"[{','.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)
    return f"--set {path}={text}"


def _label_namespace(case: Case) -> Remedy:
    namespace, pool = case.workload.namespace, case.pool
    wanted: dict[str, str] = dict(pool.namespace_labels or {})
    for key, operator, values in pool.namespace_expressions:
        if operator == "In" and values:
            wanted[key] = values[0]
        elif operator == "Exists":
            wanted.setdefault(key, "true")
    missing = {key: value for key, value in wanted.items() if case.namespace_labels.get(key) != value}
    labelled = {**case.namespace_labels, **missing}
    if "kubernetes.io/metadata.name" in missing or not allows_namespace(pool, namespace, labelled):
        message = f"pool {pool.name} must allow namespace {namespace}: change its allowedNamespaces"
        return Remedy(Reason.NamespaceNotAllowed, message)
    shown = ",".join(f"{key}={value}" for key, value in sorted(missing.items()))
    message = f"namespace {namespace} with label {shown.replace(',', ' and ')}"
    return Remedy(Reason.NamespaceNotAllowed, message, f"--namespace-labels {namespace}:{shown}")


def _open_pool(case: Case) -> Remedy:
    name = case.pool.name
    return Remedy(
        Reason.PoolCordoned, f"pool {name} no longer cordoned", _set(f"pool/{name}.cordoned", "false")
    )


def _ready_pool(case: Case) -> Remedy:
    return Remedy(Reason.PoolNotReady, f"pool {case.pool.name} ready again: {case.doors.problem}")


def _match_accelerator(case: Case) -> Remedy:
    pool, workload = case.pool, case.workload
    kind = pool.kinds[0] if pool.kinds else pool.name
    if not any(each in case.variant.accelerators for each in pool.kinds):
        message = f"a variant for {kind}, with a profile measured there"
        return Remedy(Reason.AcceleratorMismatch, message)
    if workload.families and pool.family not in workload.families:
        path, value = "families", [*workload.families, pool.family]
    else:
        path, value = "accelerators", [*workload.accelerators, kind]
    return Remedy(
        Reason.AcceleratorMismatch,
        f"constraints.{path} that allow {value[-1]}",
        _set(f"{_workload(case)}.constraints.{path}", value),
    )


def _state_residency(case: Case) -> Remedy:
    missing = [label for label in case.workload.residency if label not in case.pool.residency]
    message = f"pool {case.pool.name} with residency {', '.join(missing)}, if its nodes stand there"
    value = [*case.pool.residency, *missing]
    return Remedy(Reason.ResidencyMismatch, message, _set(f"pool/{case.pool.name}.location.residency", value))


def _allow_zones(case: Case) -> Remedy:
    if not case.pool.zones:
        message = f"pool {case.pool.name} must state its zones, all among {', '.join(case.workload.zones)}"
        return Remedy(
            Reason.ZoneMismatch,
            message,
            _set(f"pool/{case.pool.name}.location.zones", case.workload.zones),
        )
    outside = [zone for zone in case.pool.zones if zone not in case.workload.zones]
    return Remedy(
        Reason.ZoneMismatch,
        f"constraints.zones that allow {', '.join(outside)}",
        _set(f"{_workload(case)}.constraints.zones", [*case.workload.zones, *outside]),
    )


def _allow_capacity_type(case: Case) -> Remedy:
    return Remedy(
        Reason.CapacityTypeMismatch,
        f"constraints.capacityTypes that allow {case.pool.capacity_type}",
        _set(
            f"{_workload(case)}.constraints.capacityTypes",
            [*case.workload.capacity_types, case.pool.capacity_type],
        ),
    )


def _allow_maturity(case: Case) -> Remedy:
    allowed = case.workload.maturities or ("production",)
    return Remedy(
        Reason.MaturityMismatch,
        f"constraints.maturity that allows {case.pool.maturity}",
        _set(f"{_workload(case)}.constraints.maturity", [*allowed, case.pool.maturity]),
    )


def _fit_unit(case: Case) -> Remedy:
    unit = case.unit_devices
    if unit is None:
        largest = max(case.pool.unit_devices)
        return Remedy(
            Reason.AllocationUnit,
            f"a variant that runs on {largest} devices: the pool allocates no more together",
            _set(f"{_variant(case)}.devicesPerReplica", largest),
        )
    return Remedy(
        Reason.AllocationUnit,
        f"a node of pool {case.pool.name} with {unit} devices that takes pods; "
        f"the largest has {case.capacity.largest_node_devices}",
    )


def _fit_memory(case: Case) -> Remedy:
    model, device = case.workload.memory_bytes or 0, case.pool.memory_bytes or 1
    unit = case.unit_devices or 1
    devices = math.ceil(model / device)
    message = (
        f"{format_bytes(model - device * unit)} more memory, or {devices} devices per replica "
        "(with a profile measured on them)"
    )
    return Remedy(Reason.InsufficientMemory, message, _set(f"{_variant(case)}.devicesPerReplica", devices))


def _support_precision(case: Case) -> Remedy:
    message = f"a variant in {' or '.join(case.pool.precisions)} instead of {case.variant.precision}"
    return Remedy(Reason.PrecisionUnsupported, message)


def _support_runtime(case: Case) -> Remedy:
    message = f"a variant on {' or '.join(case.pool.runtimes)} instead of {case.variant.runtime}"
    return Remedy(Reason.RuntimeUnsupported, message)


def _create_template(case: Case) -> Remedy:
    message = f"PodTemplate {case.variant.pod_template} in namespace {case.workload.namespace}"
    return Remedy(Reason.PodTemplateNotFound, message)


def _measure_profile(case: Case) -> Remedy:
    if case.gap:
        return Remedy(Reason.ProfileMissing, case.gap)
    kind = case.pool.kinds[0] if case.pool.kinds else case.pool.name
    message = f"a profile of variant {case.variant.name} on {kind}; `switchyard profile` measures one"
    return Remedy(Reason.ProfileMissing, message)


def _relax_objective(case: Case) -> Remedy:
    capacity = case.promised
    objective = capacity.binding
    if objective is None:
        return Remedy(Reason.ObjectiveUnreachable, "a profile with more capacity than none")
    target = promise_target(case, objective)
    message = (
        f"a target of {format_seconds(target)} for {_name(objective)} "
        f"({format_seconds(capacity.best_seconds)} is the best of an idle replica)"
    )
    where = f"{_workload(case)}.objectives[{objective.metric},{objective.percentile}].target"
    return Remedy(Reason.ObjectiveUnreachable, message, _set(where, format_seconds(target)))


def _name(objective: Objective) -> str:
    return str(objective).partition(" ≤")[0]


def _allow_replicas(case: Case) -> Remedy:
    replicas = case.replicas
    message = f"maxReplicas of {replicas}"
    if replicas > _MOST_REPLICAS:
        most = case.promised.rate * _MOST_REPLICAS
        return Remedy(
            Reason.MaxReplicasExceeded,
            f"less demand: {_MOST_REPLICAS} replicas carry {format_rate(most)} requests/s",
        )
    return Remedy(
        Reason.MaxReplicasExceeded, message, _set(f"{_workload(case)}.scaling.maxReplicas", replicas)
    )


def _spread_over_pools(reason: Reason, way: str) -> Callable[[Case], Remedy]:
    def find(case: Case) -> Remedy:
        message = f"a second pool beside it (placement.mode: mixed), or {way}"
        return Remedy(reason, message, _set(f"{_workload(case)}.placement.mode", "mixed"))

    return find


def _await_back_off(case: Case) -> Remedy:
    return Remedy(Reason.PoolBackOff, f"time: {case.doors.back_off}")


def _raise_quota(case: Case) -> Remedy:
    needed = (case.unit_devices or 1) * case.workload.min_replicas
    message = (
        f"a ResourceQuota of namespace {case.workload.namespace} that leaves {needed} "
        f"{case.pool.resource_name} instead of {case.quota_devices}"
    )
    return Remedy(Reason.QuotaExceeded, message)


def _raise_budget(case: Case) -> Remedy:
    workload, option = case.workload, build_option(case)
    if workload.budget_per_hour is not None and option.allocated_per_hour > workload.budget_per_hour:
        needed = option.allocated_per_hour.quantize(Decimal("0.01"), ROUND_UP)
        return Remedy(
            Reason.OverBudget,
            f"a budget of {needed} per hour instead of {workload.budget_per_hour}",
            _set(f"{_workload(case)}.budget.perHour", needed),
        )
    per_thousand = cost_per_thousand(option.allocated_per_hour, workload.mean_rate, option.error_ratio)
    needed = (per_thousand or Decimal(0)).quantize(Decimal("0.0001"), ROUND_UP)
    return Remedy(
        Reason.OverBudget,
        f"a budget of {needed} per thousand requests instead of {workload.budget_per_thousand}",
        _set(f"{_workload(case)}.budget.perThousandRequests", needed),
    )


_REMEDIES: Mapping[Reason, Callable[[Case], Remedy]] = {
    Reason.NamespaceNotAllowed: _label_namespace,
    Reason.PoolNotReady: _ready_pool,
    Reason.PoolCordoned: _open_pool,
    Reason.AcceleratorMismatch: _match_accelerator,
    Reason.ResidencyMismatch: _state_residency,
    Reason.ZoneMismatch: _allow_zones,
    Reason.CapacityTypeMismatch: _allow_capacity_type,
    Reason.MaturityMismatch: _allow_maturity,
    Reason.AllocationUnit: _fit_unit,
    Reason.InsufficientMemory: _fit_memory,
    Reason.PrecisionUnsupported: _support_precision,
    Reason.RuntimeUnsupported: _support_runtime,
    Reason.PodTemplateNotFound: _create_template,
    Reason.ProfileMissing: _measure_profile,
    Reason.ObjectiveUnreachable: _relax_objective,
    Reason.MaxReplicasExceeded: _allow_replicas,
    Reason.SpotNotSurvivable: _spread_over_pools(
        Reason.SpotNotSurvivable, "a lower constraints.spot.survivalPercent"
    ),
    Reason.FirmFloorUnreachable: _spread_over_pools(
        Reason.FirmFloorUnreachable, "a lower constraints.spot.minFirmReplicas"
    ),
    Reason.SpreadUnreachable: _spread_over_pools(
        Reason.SpreadUnreachable, "a higher share in constraints.spread"
    ),
    Reason.PoolBackOff: _await_back_off,
    Reason.QuotaExceeded: _raise_quota,
    Reason.OverBudget: _raise_budget,
}
