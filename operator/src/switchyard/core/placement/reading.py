"""World objects read into placement facts, the catalog's defaults merged in.

A field that cannot be read raises ValueError or a CoreError; `decide` turns that into a condition of the
object.
"""

from __future__ import annotations

from typing import Any

from switchyard.api import InferenceWorkloadSpec
from switchyard.catalog import Accelerator, Catalog
from switchyard.core.errors import ProfileError
from switchyard.core.placement.facts import (
    SECONDS_PER_DAY,
    PoolFacts,
    PriceFacts,
    VariantFacts,
    WorkloadFacts,
)
from switchyard.core.placement.latency import LatencyProfile, Objective
from switchyard.core.placement.load_curve import LoadPoint, PointsProfile
from switchyard.core.placement.queueing import ConcurrencyProfile
from switchyard.core.world import Pool, Workload


def read_pool(pool: Pool, catalog: Catalog) -> PoolFacts:
    """The facts of a pool. What neither it nor the catalog states stays empty or None."""
    spec = pool.spec
    entry = catalog.get(spec.accelerator) if spec.accelerator else None
    device, location = spec.device, spec.location
    energy = spec.cost.energy if spec.cost else None
    owned = spec.cost.owned if spec.cost else None
    namespaces = spec.allowed_namespaces
    return PoolFacts(
        name=pool.meta.name,
        accelerator=spec.accelerator or "",
        family=(device and device.family) or (entry.family if entry else "") or "",
        resource_name=(device and device.resource_name) or (entry.resource_name if entry else "") or "",
        selectors=_selectors(spec.node_selector, entry),
        tolerations=_tolerations(spec.tolerations, entry),
        memory_bytes=_first(
            int(device.memory.value) if device and device.memory else None, entry, "memory_bytes"
        ),
        power_watts=_first(_number(device and device.power_watts), entry, "power_watts"),
        precisions=tuple((device and device.precisions) or (entry.precisions if entry else ())),
        runtimes=tuple((device and device.runtimes) or (entry.runtimes if entry else ())),
        unit_devices=tuple(sorted(spec.unit_devices or (entry.unit_devices if entry else ()))),
        zones=tuple(location.zones or ()) if location else (),
        residency=tuple(location.residency or ()) if location else (),
        network_latency_seconds=location.network_latency.seconds
        if location and location.network_latency
        else 0.0,
        capacity_type=str(spec.capacity_type),
        reserved_devices=spec.capacity.reserved_devices if spec.capacity else None,
        price=PriceFacts(
            device_per_hour=spec.cost.device_per_hour if spec.cost else None,
            purchase_price=owned.purchase_price if owned else None,
            salvage_price=(owned.salvage_price if owned else None) or PriceFacts().salvage_price,
            lifetime_months=owned.lifetime_months if owned else None,
            energy_price_per_kwh=(energy.price_per_kwh if energy else None)
            or PriceFacts().energy_price_per_kwh,
            pue=(energy.pue if energy else None) or PriceFacts().pue,
            overhead_percent=PriceFacts().overhead_percent
            + (spec.cost.overhead_percent or 0 if spec.cost else 0),
            as_of=spec.cost.as_of if spec.cost else None,
        ),
        maturity=str(spec.maturity),
        pilot_max_per_hour=spec.pilot.max_per_hour if spec.pilot else None,
        review_by=spec.pilot.review_by if spec.pilot else None,
        namespace_labels=None if namespaces is None else dict(namespaces.match_labels or {}),
        namespace_expressions=()
        if namespaces is None
        else tuple(
            (each.key, str(each.operator), tuple(each.values or ()))
            for each in namespaces.match_expressions or ()
        ),
        is_cordoned=bool(spec.cordoned),
    )


def read_workload(workload: Workload) -> WorkloadFacts:
    """The facts of a workload. A profile that no server can have is left out, with the reason."""
    spec = workload.spec
    peak_rate, mean_rate = _demand(spec)
    constraints, scaling, budget = spec.constraints, spec.scaling, spec.budget
    return WorkloadFacts(
        namespace=workload.meta.namespace,
        name=workload.meta.name,
        tier=str(spec.tier),
        peak_rate=peak_rate,
        mean_rate=mean_rate,
        objectives=tuple(
            sorted(Objective(int(each.percentile), each.target.seconds) for each in spec.objectives or ())
        ),
        variants=tuple(_variant(each) for each in spec.variants),
        memory_bytes=int(spec.model.memory.value) if spec.model and spec.model.memory else None,
        budget_per_hour=budget.per_hour if budget else None,
        budget_per_thousand=budget.per_thousand_requests if budget else None,
        residency=tuple(constraints.residency or ()) if constraints else (),
        families=tuple(str(each) for each in constraints.families or ()) if constraints else (),
        accelerators=tuple(constraints.accelerators or ()) if constraints else (),
        capacity_types=tuple(str(each) for each in constraints.capacity_types or ()) if constraints else (),
        maturities=tuple(str(each) for each in constraints.maturity or ()) if constraints else (),
        zones=tuple(constraints.zones or ()) if constraints else (),
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        headroom_percent=scaling.headroom_percent,
    )


def _demand(spec: InferenceWorkloadSpec) -> tuple[float, float]:
    """Peak and mean requests per second. A daily batch must be done within its deadline."""
    demand = spec.demand
    peak_factor = float(demand.peak_factor)
    if demand.requests_per_second is not None:
        mean = float(demand.requests_per_second)
        return mean * peak_factor, mean
    per_day = float(demand.requests_per_day or 0)
    deadline_seconds = demand.deadline.seconds if demand.deadline else SECONDS_PER_DAY
    return per_day / deadline_seconds * peak_factor, per_day / SECONDS_PER_DAY


def _variant(variant: Any) -> VariantFacts:
    profile, problem = None, ""
    try:
        profile = _profile(variant.profile)
    except ProfileError as error:
        problem = f"has a profile that cannot be: {error}"
    return VariantFacts(
        name=variant.name,
        accelerators=tuple(variant.accelerators),
        devices_per_replica=variant.devices_per_replica,
        precision=variant.precision or "",
        runtime=variant.runtime or "",
        pod_template=variant.pod_template_ref.name if variant.pod_template_ref else "",
        profile=profile,
        profile_source=str(variant.profile.source) if variant.profile else "estimate",
        profile_problem=problem,
    )


def _profile(profile: Any) -> LatencyProfile | None:
    if profile is None:
        return None
    if profile.concurrency is not None:
        shape = profile.concurrency
        return ConcurrencyProfile(
            slots=shape.slots,
            base_seconds=shape.base.seconds,
            slope_seconds=shape.slope.seconds if shape.slope else 0.0,
            cv2=float(shape.cv2) if shape.cv2 is not None else 1.0,
        )
    if profile.points:
        points = (
            LoadPoint(
                float(each.rate),
                each.p50.seconds,
                each.p95.seconds,
                each.p99.seconds,
                float(each.error_ratio or 0),
            )
            for each in profile.points
        )
        return PointsProfile(tuple(sorted(points, key=lambda point: point.rate)))
    return None


def _selectors(own: Any, entry: Accelerator | None) -> tuple[dict[str, str], ...]:
    if own:
        return (dict(own),)
    return tuple(dict(each) for each in entry.node_selectors) if entry else ()


def _tolerations(own: Any, entry: Accelerator | None) -> tuple[dict[str, Any], ...]:
    found = [_tolerate(taint) for taint in (entry.taints if entry else ())]
    found += [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in own or ()]
    return tuple(each for index, each in enumerate(found) if each not in found[:index])


def _tolerate(taint: Any) -> dict[str, Any]:
    toleration = (
        {"key": taint.key, "operator": "Equal", "value": taint.value}
        if taint.value
        else {"key": taint.key, "operator": "Exists"}
    )
    return {**toleration, "effect": taint.effect} if taint.effect else toleration


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _first(own: Any, entry: Accelerator | None, field: str) -> Any:
    return own if own is not None else getattr(entry, field) if entry else None
