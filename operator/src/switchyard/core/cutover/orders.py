"""What is asked of the outside for a plan's traffic, what to look at, and what came of it: values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from switchyard.core.cutover.types import Metric, Router
from switchyard.core.routing.plan import TrafficPlan

TRAFFIC_FINALIZER = "switchyard.dev/traffic"  # on a plan while it holds traffic: it must not go before that


@dataclass(frozen=True, slots=True)
class TrafficOrder:
    """Bring `plan` into force; or, with `release_to`, send all to the track with that Service and let go."""

    router: Router
    plan: TrafficPlan
    release_to: str = ""


@dataclass(frozen=True, slots=True)
class Carried:
    """How far an order is. `waiting_for`: what holds a rest of it back; `problem`: why it was refused."""

    order: TrafficOrder
    waiting_for: str = ""
    problem: str = ""

    @property
    def is_done(self) -> bool:
        """True when everything of it is written."""
        return not self.waiting_for and not self.problem


@dataclass(frozen=True, slots=True)
class TrackCounts:
    """What one arm has answered since it was first counted, where no router stands in the users' path.

    `timed`: answers with a time, or failed, and `within`: good ones within a bound; both keyed as in samples
    (`ttft:0.5`). A key that is missing is no bucket edge. `epoch`: names the lives that were counted; a pod
    that comes or goes, or whose counters fell, makes another one.
    """

    requests: int
    failures: int
    timed: Mapping[str, int]
    within: Mapping[str, int]
    at: datetime
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class SignalValue:
    """The newest value of a signal gate's query; None where there is none, with the reason."""

    value: float | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class TrackWatch:
    """Whose answers to count. `tracks`: by arm; `bounds`: metric and seconds, by key.

    `source`: of the operator's settings, empty to ask the pods themselves; `preset`: whose metrics they are.
    """

    workload: tuple[str, str]  # namespace and name
    tracks: Mapping[str, str]
    bounds: Mapping[str, tuple[Metric, float]] = field(default_factory=dict)
    source: str = ""
    preset: str = ""
    stale_seconds: float = 90.0  # a count that is older is none


@dataclass(frozen=True, slots=True)
class SignalQuery:
    """The query of one signal gate: a template of the operator's settings, filled with these names."""

    source: str
    template: str
    workload: tuple[str, str]  # namespace and name
    track: str  # of the candidate
    window_seconds: float


@dataclass(frozen=True, slots=True)
class EvidenceWatch:
    """What to read beside the path. `counts` None: nothing by track; `signals`: by name of the gate."""

    counts: TrackWatch | None = None
    signals: Mapping[str, SignalQuery] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrafficWatch:
    """Traffic to look at, compared with `plan`, every so often.

    `is_unsettled`: something is awaited, so look more often; samples keep the interval. `counts_from`: looks
    come right after whole intervals from then on, where windows of evidence end.
    """

    key: tuple[str, str]  # of the CutoverPlan
    router: Router
    plan: TrafficPlan
    interval_seconds: float
    is_unsettled: bool = False
    counts_from: datetime | None = None
    needs_support: bool = False
    needs_samples: bool = False
    evidence: EvidenceWatch | None = None  # read as often as samples
