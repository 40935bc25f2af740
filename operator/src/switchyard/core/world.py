"""A frozen snapshot of everything that a decision may depend on.

The engine builds one `World` per loop from what the watches have seen; `decide` reads it and nothing
else. No clock, no network, no environment: the same World gives the same decisions on any machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from switchyard.api import (
    AcceleratorPoolSpec,
    AcceleratorPoolStatus,
    InferenceWorkloadSpec,
    InferenceWorkloadStatus,
)
from switchyard.api.cutover import CutoverPlanSpec
from switchyard.api.cutover_status import CutoverPlanStatus
from switchyard.core.cutover.orders import Carried, SignalValue, TrackCounts
from switchyard.core.learning.learned import LearnedProfile
from switchyard.core.routing.plan import RouteState, Support
from switchyard.core.routing.samples import Samples


@dataclass(frozen=True, slots=True)
class Meta:
    """What of an object's metadata decisions and writes need. `namespace` is empty for cluster scope."""

    name: str
    namespace: str
    uid: str
    resource_version: str
    generation: int
    created_at: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    is_deleting: bool = False
    finalizers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pool:
    meta: Meta
    spec: AcceleratorPoolSpec
    status: AcceleratorPoolStatus


@dataclass(frozen=True, slots=True)
class Workload:
    meta: Meta
    spec: InferenceWorkloadSpec
    status: InferenceWorkloadStatus

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return (self.meta.namespace, self.meta.name)


@dataclass(frozen=True, slots=True)
class Plan:
    """A CutoverPlan."""

    meta: Meta
    spec: CutoverPlanSpec
    status: CutoverPlanStatus

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return (self.meta.namespace, self.meta.name)

    @property
    def workload_key(self) -> tuple[str, str]:
        """Namespace and name of the workload that it moves."""
        return (self.meta.namespace, self.spec.workload_ref.name)


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of a plan's traffic at one moment. None: not asked for, or not to be had (`problem`).

    `tracks`: what both arms answered by their metrics, `tracks_problem`: why it is not known. `signals`: by
    name of the gate.
    """

    at: datetime
    route: RouteState | None = None
    support: Support | None = None
    samples: tuple[Samples, ...] | None = None
    problem: str = ""
    tracks: Mapping[str, TrackCounts] | None = None
    tracks_problem: str = ""
    signals: Mapping[str, SignalValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An object of ours that this version can't read: it gets a condition of its own, the others go on."""

    kind: str
    meta: Meta
    problem: str  # names field, value and the way out
    status: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Taint:
    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class Node:
    """`capacity` and `allocatable` hold whole devices of extended resources, and `cpu` in cores."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    capacity: Mapping[str, int]
    allocatable: Mapping[str, int]
    is_ready: bool
    is_unschedulable: bool


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that holds or wants devices, anybody's. `requests`: whole devices; `cpu` in cores, rounded up."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    node_name: str  # empty until scheduled
    phase: str
    is_ready: bool
    is_deleting: bool
    requests: Mapping[str, int]
    unschedulable_message: str = ""  # of PodScheduled=False
    waiting_reason: str = ""  # of the first waiting container: ImagePullBackOff, CrashLoopBackOff, …
    owner_uid: str = ""  # of its controlling owner (the ReplicaSet)
    address: str = ""  # its IP, empty until it has one
    created_at: datetime | None = None
    unschedulable_since: datetime | None = None  # since when the scheduler finds no node for it
    scheduled_at: datetime | None = None  # when it found one
    restarts: int = 0  # of its containers
    has_lost_readiness: bool = False  # it was ready, runs on, and is not ready now


@dataclass(frozen=True, slots=True)
class Child:
    """An object that carries the label `app.kubernetes.io/managed-by: switchyard`, as observed.

    `body` is the object without `metadata.managedFields`, unless its traffic is said to be held: what a diff
    against the desired one needs.
    """

    api_version: str
    kind: str
    meta: Meta
    owner_uid: str  # of the controlling ownerReference, empty when none
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """A core/v1 PodTemplate that a variant may refer to."""

    namespace: str
    name: str
    resource_version: str
    template: Mapping[str, Any]  # PodTemplateSpec


@dataclass(frozen=True, slots=True)
class ResourceQuotaView:
    """A ResourceQuota on extended resources. Keys: resource names; whole devices, `cpu` in cores."""

    namespace: str
    name: str
    hard: Mapping[str, int]
    used: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SignalReading:
    """What the metrics of a workload said last. A figure that nobody gave is None, never 0.

    `observed_at`: when the figures were true; `problem`: why no newer ones came, empty when they did.
    """

    observed_at: datetime | None = None
    requests_per_second: float | None = None
    input_tokens: float | None = None  # mean of a request
    output_tokens: float | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PriceReading:
    """A price from outside that overrides a pool's own, such as OpenCost's."""

    device_per_hour: Decimal  # in the operator's currency
    source: str  # opencost:<name of the source>
    as_of: datetime


@dataclass(frozen=True, slots=True)
class AdvisedPlacement:
    """Where a workload would run in a plan that is free to move everything."""

    variant: str
    pool: str
    replicas: int
    cost_per_hour: Decimal  # marginal, given all others
    degradation: int = 0  # 0: full service; n: the n-th fallback


@dataclass(frozen=True, slots=True)
class Advice:
    """The best plan known if nothing were bound to where it runs. Absent keys: no place in that plan.

    `current_cost_per_hour`: what the same accounting gives for today's placements. `unserved`: the share of
    the demand that the plan leaves, where above 0.
    """

    made_at: datetime
    placements: Mapping[tuple[str, str], tuple[AdvisedPlacement, ...]] = field(default_factory=dict)
    current_cost_per_hour: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)
    unserved: Mapping[tuple[str, str], float] = field(default_factory=dict)
    gap_ratio: float | None = None
    method: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The API server refused a child of this object in an earlier pass, and would again as things are.

    `is_name_taken`: somebody else's object has the name; it is never overwritten (NameConflict).
    The same children may be wanted again: the engine tries them with back-off, and writes a status that
    speaks of the refusal before them.
    """

    message: str
    is_name_taken: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """What the admin sets once for the operator, and decisions read."""

    currency: str = "USD"
    price_max_age_days: int = 90  # PricingCurrent turns False past this


@dataclass(frozen=True, slots=True)
class World:
    """One moment. Every tuple is sorted by (namespace, name): the engine sees to it, core relies on it."""

    now: datetime
    pools: tuple[Pool, ...] = ()
    workloads: tuple[Workload, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    nodes: tuple[Node, ...] = ()
    pods: tuple[Pod, ...] = ()
    children: tuple[Child, ...] = ()
    pod_templates: tuple[PodTemplate, ...] = ()
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # name -> labels
    settings: Settings = field(default_factory=Settings)
    # (kind, namespace, name) of a pool or workload -> why a child of it can't be written
    refusals: Mapping[tuple[str, str, str], Refusal] = field(default_factory=dict)
    route_kinds: frozenset[str] = frozenset()  # of HTTPRoute and VirtualService, what the cluster knows
    quotas: tuple[ResourceQuotaView, ...] = ()
    signals: Mapping[tuple[str, str], SignalReading] = field(default_factory=dict)  # by workload
    learned: Mapping[tuple[str, str], tuple[LearnedProfile, ...]] = field(default_factory=dict)
    prices: Mapping[str, PriceReading] = field(default_factory=dict)  # by pool
    advice: Advice | None = None  # None: none yet
    plans: tuple[Plan, ...] = ()
    sights: Mapping[tuple[str, str], Sight] = field(default_factory=dict)  # by plan
    carried: Mapping[tuple[str, str], Carried] = field(default_factory=dict)  # the last order of a plan
