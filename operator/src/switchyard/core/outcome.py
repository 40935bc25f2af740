"""What a pass found and decided about one workload, and what its callers may expect of that."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from switchyard.api import Reason
from switchyard.api.workload_status import LearnedProfile as StoredProfile
from switchyard.api.workload_status import Recommendation, ScaleDown
from switchyard.core.conditions import Finding
from switchyard.core.learning.learned import LearnedProfile
from switchyard.core.placement.case import Option
from switchyard.core.placement.cost import DeviceHour
from switchyard.core.placement.explain import Rejection
from switchyard.core.placement.facts import PoolFacts, WorkloadFacts
from switchyard.core.placement.latency import (
    Objective,
    Prediction,
    describe_gap,
    measure_load,
    percentile_seconds,
    predict,
)
from switchyard.core.stability.demand import DemandPlan


@dataclass(frozen=True, slots=True)
class Entry:
    """One variant on one pool. `replicas` are granted, `wanted` would carry the demand, `ready` answer."""

    option: Option
    replicas: int
    wanted: int
    ready: int
    track: str
    pool: PoolFacts
    device_hour: DeviceHour
    degradation: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that is reported of one workload.

    `serving_track`: what the stable Service selects, or the fullest of the tracks that it selects.
    `serving_ready` counts the ready pods that callers reach. `guest`: the other side of a cutover, which is
    shown and paid for, and otherwise judged by its plan.
    """

    facts: WorkloadFacts
    entries: tuple[Entry, ...]
    rejections: tuple[Rejection, ...]
    misfortune: tuple[Reason, str] | None  # why there is no placement
    objection: str  # why the placement would be refused if it were new
    unserved_ratio: float
    limit: tuple[Reason, str] | None  # what allows no more replicas where devices are free
    serving_track: str
    is_shared: bool
    serving_ready: int
    waiting_for: str  # what the cluster says about pods that are not ready
    stall: tuple[Reason, str] | None
    is_reachable: bool  # whether the stable Service is there
    demand: DemandPlan
    addresses: tuple[str, ...] = ()
    exposed: Finding | None = None  # None: by the stable Service alone
    waiting: ScaleDown | None = None
    recommendation: Recommendation | None = None
    learned: tuple[LearnedProfile, ...] | None = None  # None: nothing new since what is stored
    stored_learned: tuple[StoredProfile, ...] = ()
    guest: Entry | None = None

    @property
    def replicas(self) -> int:
        """Granted, over all entries."""
        return sum(each.replicas for each in self.entries)

    @property
    def wanted(self) -> int:
        """Wanted, over all entries."""
        return sum(each.wanted for each in self.entries)

    @property
    def ready(self) -> int:
        """Ready of what is granted, over all entries."""
        return sum(each.ready for each in self.entries)

    @property
    def is_short(self) -> bool:
        """True when less is granted than the demand needs."""
        return self.replicas < self.wanted or (self.facts.mode == "mixed" and self.unserved_ratio > 0)

    @property
    def degradation(self) -> int:
        """The worst fallback in use; 0 without."""
        return max((each.degradation for each in self.entries), default=0)

    @property
    def cost_per_hour(self) -> Decimal:
        """Allocated cost of all entries."""
        return sum((cost_of(self, each) for each in self.entries), Decimal(0))

    @property
    def guest_per_hour(self) -> Decimal:
        """What the guest costs beside that."""
        if self.guest is None:
            return Decimal(0)
        option = self.guest.option
        devices = option.unit_devices * self.guest.replicas
        return self.guest.device_hour.allocated(option.utilisation_ratio) * devices


def cost_of(outcome: Outcome, entry: Entry) -> Decimal:
    """What an entry costs per hour, energy at the load that its replicas have at mean demand."""
    profile, replicas = entry.option.evidence.profile, outcome.replicas
    utilisation = entry.option.utilisation_ratio
    if profile is not None and replicas and not _gap(outcome, entry):
        utilisation, _ = measure_load(profile, outcome.facts.mean_rate / replicas, outcome.facts.traffic)
    devices = entry.option.unit_devices * entry.replicas
    return entry.device_hour.allocated(min(1.0, utilisation)) * devices


def predict_entry(outcome: Outcome, entry: Entry, replicas: int) -> Prediction | None:
    """What callers see of an entry at peak demand spread over `replicas` in all; None where nobody knows."""
    profile = entry.option.evidence.profile
    if profile is None or replicas < 1 or _gap(outcome, entry):
        return None
    rate = outcome.facts.peak_rate / replicas
    return predict(profile, rate, entry.pool.network_latency_seconds, outcome.facts.traffic)


def objective_seconds(outcome: Outcome, objective: Objective, replicas: int) -> float | None:
    """The figure of an objective at peak demand over `replicas`, of the worst entry; None where not known."""
    worst: float | None = None
    for entry in outcome.entries:
        profile = entry.option.evidence.profile
        if profile is None or replicas < 1 or describe_gap(profile, (objective,), outcome.facts.traffic):
            return None
        seconds = percentile_seconds(
            profile,
            outcome.facts.peak_rate / replicas,
            objective.percentile,
            entry.pool.network_latency_seconds,
            metric=objective.metric,
            traffic=outcome.facts.traffic,
        )
        worst = seconds if worst is None else max(worst, seconds)
    return worst


def _gap(outcome: Outcome, entry: Entry) -> str:
    profile = entry.option.evidence.profile
    return describe_gap(profile, (), outcome.facts.traffic) if profile is not None else ""
