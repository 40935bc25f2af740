"""One variant of a workload in one pool: what a replica takes and carries, and how many it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property

from switchyard.api import Reason
from switchyard.core.placement.capacity import PoolCapacity, round_up_to_unit
from switchyard.core.placement.cost import DeviceHour
from switchyard.core.placement.facts import PoolFacts, VariantFacts, WorkloadFacts
from switchyard.core.placement.latency import (
    Capacity,
    LatencyProfile,
    Objective,
    describe_gap,
    max_rate,
    measure_load,
)


@dataclass(frozen=True, slots=True)
class Standard:
    """What a variant is judged by. `degradation` 0 is full service, n the n-th fallback."""

    degradation: int
    objectives: tuple[Objective, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a replica in a pool. `problem` says why `profile` is None although one was given."""

    profile: LatencyProfile | None
    source: str = "estimate"
    problem: str = ""
    is_estimate: bool = False  # made from data sheets, for want of a profile


@dataclass(frozen=True, slots=True)
class Doors:
    """What keeps newcomers out of a pool, empty where nothing does; what serves inside is not asked."""

    problem: str = ""  # why its nodes take nothing new
    back_off: str = ""  # since when, until when, and why the pool is not believed


OPEN = Doors()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why not: a reason and a sentence with the numbers that decided."""

    reason: Reason
    message: str
    replicas: int | None = None
    cost_per_hour: Decimal | None = None


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
    degradation: int = 0
    objectives: tuple[Objective, ...] = ()
    evidence: Evidence = field(default=Evidence(None))

    @property
    def name(self) -> tuple[str, str]:
        """Variant and pool."""
        return (self.variant, self.pool)


@dataclass(frozen=True)
class Case:
    """All that the checks may look at. Figures that several of them need are formed once."""

    workload: WorkloadFacts
    variant: VariantFacts
    pool: PoolFacts
    capacity: PoolCapacity
    device_hour: DeviceHour
    evidence: Evidence
    standard: Standard
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    has_pod_template: bool = False
    doors: Doors = OPEN
    quota_devices: int | None = None  # what a ResourceQuota leaves the namespace of the pool's resource

    @cached_property
    def is_elastic(self) -> bool:
        """True where nodes may be added for it."""
        return self.pool.growth_limit_devices is not None

    @cached_property
    def largest_room(self) -> int:
        """The most devices that one replica can have on one node, there or to come."""
        limit = self.pool.growth_limit_devices
        growth = 0 if limit is None else limit - self.capacity.devices_total
        return max(self.capacity.largest_node_devices, growth)

    @cached_property
    def unit_devices(self) -> int | None:
        """Devices of one replica, as the pool allocates them together; None when it allocates less."""
        return round_up_to_unit(self.variant.devices_per_replica, self.pool.unit_devices)

    @cached_property
    def gap(self) -> str:
        """What the profile lacks to be judged by; empty when nothing."""
        if self.evidence.profile is None:
            return ""
        return describe_gap(self.evidence.profile, self.standard.objectives, self.workload.traffic)

    @cached_property
    def promised(self) -> Capacity:
        """The rate of one replica within the objectives, the pool's network latency deducted."""
        if self.evidence.profile is None or self.gap:
            return Capacity(0.0, None)
        return max_rate(
            self.evidence.profile,
            self.standard.objectives,
            self.pool.network_latency_seconds,
            self.evidence.source,
            self.workload.traffic,
        )

    @cached_property
    def replicas(self) -> int:
        """Replicas that carry the whole demand; the least allowed where the rate is not known."""
        return count_replicas(self.workload, self.promised.rate)

    def load(self, replicas: int) -> tuple[float, float]:
        """Utilisation and error share of one of `replicas` at the mean demand."""
        profile = self.evidence.profile
        if profile is None or self.gap or replicas < 1:
            return (1.0, 0.0)
        utilisation, errors = measure_load(profile, self.workload.mean_rate / replicas, self.workload.traffic)
        return (min(1.0, utilisation), errors)


def build_option(case: Case, replicas: int | None = None) -> Option:
    """The option of a case; with `replicas` of that size, whatever the demand."""
    count = case.replicas if replicas is None else replicas
    utilisation, errors = case.load(count)
    unit = case.unit_devices or case.variant.devices_per_replica
    return Option(
        variant=case.variant.name,
        pool=case.pool.name,
        unit_devices=unit,
        replicas=count,
        rate=case.promised.rate,
        utilisation_ratio=utilisation,
        error_ratio=errors,
        allocated_per_hour=case.device_hour.allocated(utilisation) * unit * count,
        degradation=case.standard.degradation,
        objectives=case.standard.objectives,
        evidence=case.evidence,
    )


def planned_rate(workload: WorkloadFacts) -> float:
    """Requests per second that replicas must carry: peak x (1 + headroom)."""
    return workload.peak_rate * (1 + workload.headroom_percent / 100)


def count_replicas(workload: WorkloadFacts, rate: float) -> int:
    """ceil(planned rate / rate), at least minReplicas; just these where no rate is known.

    Alone in a pool, a workload needs its firm replicas there as well.
    """
    least = workload.min_replicas
    if workload.mode != "mixed":
        least = max(least, workload.min_firm_replicas)
    return least if rate <= 0 else max(least, math.ceil(planned_rate(workload) / rate - 1e-9))
