"""What a pool and a workload are, in the numbers that placement works with.

Defaults of the catalog are merged here, units become plain numbers with the unit in the name, and nothing
below this module sees an API model again. Unknown stays None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from switchyard.core.placement.latency import LatencyProfile, Objective, Traffic

FAMILIES = ("gpu", "inferentia", "trainium", "tpu", "edge", "fpga", "neuromorphic", "cpu")
TIERS = ("customer-facing", "internal", "batch")  # in order of service when devices are short
SECONDS_PER_DAY = 86_400.0

DemandSource = Literal["Planned", "Signal", "LastKnown", "None"]


@dataclass(frozen=True, slots=True)
class PriceFacts:
    """What a device costs. Money in the operator's currency."""

    device_per_hour: Decimal | None = None
    purchase_price: Decimal | None = None
    salvage_price: Decimal = Decimal(0)
    lifetime_months: int | None = None
    energy_price_per_kwh: Decimal = Decimal(0)
    pue: Decimal = Decimal(1)
    overhead_percent: Decimal = Decimal(0)
    as_of: date | None = None
    source: str = ""  # where the prices come from: the words of the spec, or `opencost:<source>`


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """A pool after the catalog's defaults. `selectors`: label maps, a node matches any of them."""

    name: str
    accelerator: str
    family: str
    resource_name: str
    selectors: tuple[Mapping[str, str], ...]
    tolerations: tuple[Mapping[str, Any], ...] = ()
    memory_bytes: int | None = None
    power_watts: float | None = None
    precisions: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    unit_devices: tuple[int, ...] = ()
    zones: tuple[str, ...] = ()
    residency: tuple[str, ...] = ()
    network_latency_seconds: float = 0.0
    capacity_type: str = "on-demand"
    reserved_devices: int | None = None
    price: PriceFacts = field(default_factory=PriceFacts)
    maturity: str = "production"
    pilot_max_per_hour: Decimal | None = None
    review_by: date | None = None
    namespace_labels: Mapping[str, str] | None = None  # None: every namespace
    namespace_expressions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    is_cordoned: bool = False
    interruptions_per_day: float = 0.0  # of one device or node, as the site expects them
    notice_seconds: float | None = None  # None: not stated
    growth_limit_devices: int | None = None  # None: only the nodes that exist count
    provisioning_seconds: float = 0.0  # until a device beyond the nodes that exist can be used
    bandwidth_bytes_per_second: float | None = None  # of a device's memory, by its data sheet
    peak_operations_per_second: Mapping[str, float] = field(default_factory=dict)  # by precision

    @property
    def kinds(self) -> tuple[str, ...]:
        """The words by which a variant or a constraint can name this pool's accelerator."""
        return tuple(word for word in (self.accelerator, self.family) if word)


@dataclass(frozen=True, slots=True)
class VariantFacts:
    """One way to serve. `profile_problem` says why `profile` is None although something was given."""

    name: str
    accelerators: tuple[str, ...]
    devices_per_replica: int
    precision: str = ""
    runtime: str = ""
    pod_template: str = ""
    profile: LatencyProfile | None = None
    profile_source: str = "estimate"
    profile_problem: str = ""
    quality: float | None = None  # of its answers against the best variant's; None: not stated


@dataclass(frozen=True, slots=True)
class FallbackFacts:
    """A variant to fall back on when nothing meets the objectives.

    `objectives` None: the variant is used only so, and judged by no latency; else it may also serve normally,
    and as a fallback is judged by these.
    """

    variant: str
    objectives: tuple[Objective, ...] | None = None


@dataclass(frozen=True, slots=True)
class SignalFacts:
    """Which metrics tell something. `source` empty: the pods are asked themselves."""

    source: str = ""
    preset: str = ""
    template: str = ""
    window_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class DemandReading:
    """What is known of a workload's demand by measurement, in place of the plan in its spec."""

    mean_rate: float  # requests per second; the peak is this times the spec's peakFactor
    source: DemandSource
    traffic: Traffic | None = None  # None: as the spec says


@dataclass(frozen=True, slots=True)
class WorkloadFacts:
    """What a workload asks for. Rates are requests per second."""

    namespace: str
    name: str
    tier: str
    peak_rate: float
    mean_rate: float
    objectives: tuple[Objective, ...]
    variants: tuple[VariantFacts, ...]
    memory_bytes: int | None = None
    budget_per_hour: Decimal | None = None
    budget_per_thousand: Decimal | None = None
    residency: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    accelerators: tuple[str, ...] = ()
    capacity_types: tuple[str, ...] = ()
    maturities: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    min_replicas: int = 1
    max_replicas: int = 1000
    headroom_percent: int = 20
    unknown_accelerators: tuple[tuple[str, tuple[str, ...]], ...] = ()  # name, and known names close to it
    demand_source: DemandSource = "Planned"  # "None": rates are 0 because nobody knows them yet
    signal: SignalFacts | None = None  # of demand; None: the plan is all there is
    traffic: Traffic | None = None
    mode: str = "single"
    migration: str = "propose"
    min_saving_ratio: float = 0.10
    stabilisation_seconds: float = 600.0
    horizon_seconds: float = SECONDS_PER_DAY  # over which a change must pay back
    scale_down_delay_seconds: float = 300.0
    max_pool_ratio: float = 1.0  # most of the replicas in one pool
    max_zone_ratio: float = 1.0
    spot_survival_ratio: float = 0.0  # of peak demand, after the loss of any one spot domain
    min_firm_replicas: int = 0  # outside spot capacity
    fallbacks: tuple[FallbackFacts, ...] = ()  # in the order in which they are tried
    allows_estimate: bool = False
    learning: str = "off"
    learning_signal: SignalFacts | None = None  # where the engine's metrics come from, unless learning is off
    parameters: int | None = None
    kv_bytes_per_token: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return (self.namespace, self.name)

    def variant(self, name: str) -> VariantFacts | None:
        """The variant of that name."""
        return next((each for each in self.variants if each.name == name), None)
