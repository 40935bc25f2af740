"""What traffic should do for one workload, what it does, and who changed it: values for every adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from switchyard.core.routing.document import Comparator, Limits, Measure, Segment, Shadow, Strata


class Feature(StrEnum):
    """What a way of routing may or may not be able to do."""

    WEIGHTS = "weights"
    SEGMENTS = "segments"  # by header and path prefix
    TIERS = "tiers"
    STICKINESS = "stickiness"
    MIRROR = "mirror"
    MIRROR_PERCENT = "mirrorPercent"
    COMPARISON = "comparison"  # of answers: parity
    CONFIRMATION = "confirmation"  # says what is in force


@dataclass(frozen=True, slots=True)
class Target:
    """One arm: the Service of a track, in the workload's namespace."""

    service: str
    port: int


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """Absolute: applied twice it changes nothing the second time.

    `version` only grows for a workload; an older one is refused by whatever holds a newer one. `holder`: the
    name of what moves the traffic, for people who find its mark on an object. The last segment has no match.
    """

    namespace: str
    workload: str
    workload_uid: str
    holder: str
    version: int
    baseline: Target
    candidate: Target | None
    segments: tuple[Segment, ...]
    shadow: Shadow = field(default_factory=Shadow)
    comparators: tuple[Comparator, ...] = (Comparator(type="exact"),)
    measure: Measure = field(default_factory=Measure)
    strata: Strata = field(default_factory=Strata)
    limits: Limits = field(default_factory=Limits)

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name of the workload."""
        return self.namespace, self.workload


@dataclass(frozen=True, slots=True)
class Share:
    """What a segment does in percent, as observed."""

    candidate_percent: float
    shadow_percent: float


@dataclass(frozen=True, slots=True)
class Drift:
    """Something on the path that is not as it was last written. `by`: the field manager that changed it."""

    what: str  # kind namespace/name and the field
    by: str
    found: str
    wanted: str


@dataclass(frozen=True, slots=True)
class RouteState:
    """What is in force. A figure that nothing confirmed is not in it.

    `is_engaged`: users' requests pass the place that splits them. `version`: the lowest that a part of the
    path confirmed, None when a part confirmed none. `waiting_for`: what is missing until the plan is in force
    everywhere, empty when nothing is. `problem`: why it could not be observed, empty when it could.
    """

    is_engaged: bool = False
    version: int | None = None
    shares: Mapping[str, Share] = field(default_factory=dict)
    drift: tuple[Drift, ...] = ()
    waiting_for: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Support:
    """What a way of routing can do here; `reasons` says for a missing feature why, and what would help."""

    features: frozenset[Feature]
    reasons: Mapping[Feature, str] = field(default_factory=dict)
