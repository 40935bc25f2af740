"""World objects read into placement facts, the catalog's defaults merged in.

A field that cannot be read raises ValueError or a CoreError; `decide` turns that into a condition of the
object.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from switchyard.api import AcceleratorPoolSpec, InferenceWorkloadSpec
from switchyard.api.demand import Demand, LatencyObjective
from switchyard.api.policy import Fallback
from switchyard.api.pool_cost import Cost
from switchyard.api.workload import Variant
from switchyard.catalog import Accelerator, Catalog
from switchyard.core.errors import ProfileError
from switchyard.core.placement.facts import (
    SECONDS_PER_DAY,
    DemandReading,
    DemandSource,
    FallbackFacts,
    PoolFacts,
    PriceFacts,
    SignalFacts,
    VariantFacts,
    WorkloadFacts,
)
from switchyard.core.placement.latency import Objective, Traffic
from switchyard.core.placement.profile_reading import read_profile
from switchyard.core.world import Pool, PriceReading, Workload

_PROVISIONING_SECONDS = 300.0  # of an elastic pool that does not say
_WINDOW_SECONDS = 300.0


def read_pool(pool: Pool, catalog: Catalog, price: PriceReading | None = None) -> PoolFacts:
    """The facts of a pool. What neither it nor the catalog states stays empty or None.

    `price`: what a device costs by a source outside, in place of the pool's own price or purchase.
    """
    spec = pool.spec
    entry = catalog.get(spec.accelerator) if spec.accelerator else None
    device, location = spec.device, spec.location
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
        price=_price(spec.cost, price),
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
        interruptions_per_day=float(spec.spot.interruptions_per_day or 0) if spec.spot else 0.0,
        notice_seconds=spec.spot.notice_period.seconds if spec.spot and spec.spot.notice_period else None,
        growth_limit_devices=spec.capacity.max_devices if spec.capacity else None,
        provisioning_seconds=_provisioning_seconds(spec),
        bandwidth_bytes_per_second=entry.memory_bandwidth_gbps * 1e9
        if entry and entry.memory_bandwidth_gbps
        else None,
        peak_operations_per_second={name: peak * 1e12 for name, peak in entry.peak_tflops.items()}
        if entry
        else {},
    )


def read_workload(workload: Workload, demand: DemandReading | None = None) -> WorkloadFacts:
    """The facts of a workload. A profile that no server can have is left out, with the reason.

    `demand`: what was measured, in place of the plan in the spec.
    """
    spec = workload.spec
    mean_rate, peak_rate, source = _rates(spec.demand, demand)
    traffic = _traffic(spec.demand, demand)
    constraints, scaling, budget, policy = spec.constraints, spec.scaling, spec.budget, spec.placement
    spread = constraints.spread if constraints else None
    spot = constraints.spot if constraints else None
    model, learning_signal = spec.model, _learning_signal(spec)
    return WorkloadFacts(
        namespace=workload.meta.namespace,
        name=workload.meta.name,
        tier=str(spec.tier),
        peak_rate=peak_rate,
        mean_rate=mean_rate,
        objectives=_objectives(spec.objectives),
        variants=tuple(_variant(each, traffic) for each in spec.variants),
        memory_bytes=int(model.memory.value) if model and model.memory else None,
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
        demand_source=source,
        signal=_demand_signal(spec),
        traffic=traffic,
        mode=policy.mode,
        migration=policy.migration,
        min_saving_ratio=policy.min_saving_percent / 100,
        stabilisation_seconds=policy.stabilisation.seconds,
        horizon_seconds=policy.horizon.seconds,
        scale_down_delay_seconds=scaling.scale_down_delay.seconds,
        max_pool_ratio=spread.max_percent_per_pool / 100 if spread else 1.0,
        max_zone_ratio=spread.max_percent_per_zone / 100 if spread else 1.0,
        spot_survival_ratio=spot.survival_percent / 100 if spot else 0.0,
        min_firm_replicas=spot.min_firm_replicas if spot else 0,
        fallbacks=tuple(_fallback(each) for each in spec.fallback),
        allows_estimate=policy.estimate == "allow",
        learning=spec.signals.learning if spec.signals and learning_signal else "off",
        learning_signal=learning_signal,
        parameters=model.parameters if model else None,
        kv_bytes_per_token=float(model.kv_bytes_per_token.value)
        if model and model.kv_bytes_per_token
        else None,
    )


def _rates(demand: Demand, measured: DemandReading | None) -> tuple[float, float, DemandSource]:
    """Mean and peak requests per second, and how they are known. A daily batch must meet its deadline."""
    peak_factor = float(demand.peak_factor)
    if measured is not None:
        return measured.mean_rate, measured.mean_rate * peak_factor, measured.source
    if demand.requests_per_second is not None:
        mean = float(demand.requests_per_second)
        return mean, mean * peak_factor, "Planned"
    if demand.requests_per_day is None:
        return 0.0, 0.0, "None"
    per_day = float(demand.requests_per_day)
    deadline_seconds = demand.deadline.seconds if demand.deadline else SECONDS_PER_DAY
    return per_day / SECONDS_PER_DAY, per_day / deadline_seconds * peak_factor, "Planned"


def _traffic(demand: Demand, measured: DemandReading | None) -> Traffic | None:
    if measured is not None and measured.traffic is not None:
        return measured.traffic
    prompt, answer = demand.input_tokens, demand.output_tokens
    if prompt is None or answer is None:
        return None
    return Traffic(float(prompt.mean), float(prompt.cv), float(answer.mean), float(answer.cv))


def _demand_signal(spec: InferenceWorkloadSpec) -> SignalFacts | None:
    signal, engine, window = spec.demand.signal, spec.signals, spec.demand.window
    if signal is None:
        return None
    shared_preset = engine.preset if engine and not signal.template else None
    return SignalFacts(
        source=signal.source or (engine.source if engine else None) or "",
        preset=signal.preset or shared_preset or "",
        template=signal.template or "",
        window_seconds=window.seconds if window else _WINDOW_SECONDS,
    )


def _learning_signal(spec: InferenceWorkloadSpec) -> SignalFacts | None:
    engine = spec.signals
    if engine is None or engine.learning == "off" or engine.preset is None:
        return None
    return SignalFacts(source=engine.source or "", preset=engine.preset)


def _objectives(written: Iterable[LatencyObjective]) -> tuple[Objective, ...]:
    found = (Objective(each.percentile, each.target.seconds, each.metric) for each in written)
    return tuple(sorted(found))


def _fallback(written: Fallback) -> FallbackFacts:
    relaxed = written.objectives
    return FallbackFacts(written.variant, None if relaxed is None else _objectives(relaxed))


def _variant(variant: Variant, traffic: Traffic | None) -> VariantFacts:
    profile, problem = None, ""
    input_mean = traffic.input_mean if traffic else None
    try:
        profile = read_profile(variant.profile, input_mean) if variant.profile else None
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
        quality=None if variant.quality is None else float(variant.quality),
    )


def _price(cost: Cost | None, reading: PriceReading | None) -> PriceFacts:
    stated = _stated_price(cost) if cost else PriceFacts()
    if reading is None:
        return stated
    return replace(
        stated,
        device_per_hour=reading.device_per_hour,
        purchase_price=None,
        lifetime_months=None,
        as_of=reading.as_of.date(),
        source=reading.source,
    )


def _stated_price(cost: Cost) -> PriceFacts:
    energy, owned, unstated = cost.energy, cost.owned, PriceFacts()
    return PriceFacts(
        device_per_hour=cost.device_per_hour,
        purchase_price=owned.purchase_price if owned else None,
        salvage_price=(owned.salvage_price if owned else None) or unstated.salvage_price,
        lifetime_months=owned.lifetime_months if owned else None,
        energy_price_per_kwh=(energy.price_per_kwh if energy else None) or unstated.energy_price_per_kwh,
        pue=(energy.pue if energy else None) or unstated.pue,
        overhead_percent=unstated.overhead_percent + (cost.overhead_percent or 0),
        as_of=cost.as_of,
        source=cost.source or "",
    )


def _provisioning_seconds(spec: AcceleratorPoolSpec) -> float:
    capacity = spec.capacity
    if capacity is None or capacity.mode != "elastic":
        return 0.0
    return capacity.provisioning_time.seconds if capacity.provisioning_time else _PROVISIONING_SECONDS


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
