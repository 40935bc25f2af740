"""What a cutover is told, remembers and sees: frozen values that all of its decisions are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from switchyard.api.cutover_status import Phase as Phase  # noqa: PLC0414  (all of the core has it from here)
from switchyard.api.cutover_status import Verdict as Verdict  # noqa: PLC0414  (likewise)
from switchyard.core.routing.document import Comparator, Exclusion, Match, Stickiness
from switchyard.core.routing.plan import RouteState, Support

TERMINAL: frozenset[Phase] = frozenset({"Completed", "RolledBack", "Aborted"})
GateKind = Literal["errors", "latency", "parity", "stability", "cost", "signal"]
GateStage = Literal["shadow", "canary", "soak"]
Router = Literal["builtin", "gatewayAPI", "istio"]
Metric = Literal["latency", "ttft", "tpot"]

# -- what the author asks for --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepFacts:
    """A share of a segment on the candidate."""

    weight_percent: int
    min_seconds: float
    min_samples: int
    max_seconds: float


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """A part of the traffic. `stays`: on the baseline for good."""

    name: str
    match: Match | None
    steps: tuple[StepFacts, ...]
    sticky: Stickiness | None = None
    rolls_back_plan: bool = False
    stays: bool = False


@dataclass(frozen=True, slots=True)
class GateFacts:
    """One gate; only the fields of its kind mean something.

    `odds_ratio`, `absolute_ratio`: of errors and latency, the wider counts. `margin_ratio`: of parity.
    """

    name: str
    kind: GateKind
    stages: frozenset[GateStage]
    odds_ratio: float = 1.5
    absolute_ratio: float = 0.0
    hard_stop_ratio: float = 0.5
    metric: Metric = "latency"
    threshold_seconds: float = 0.0
    comparator: Comparator | None = None
    comparator_name: str = ""  # its name in the samples
    margin_ratio: float = 0.0
    max_restarts: int = 0
    max_increase_ratio: float = 0.0
    source: str = ""
    template: str = ""
    max_value: float = 0.0


@dataclass(frozen=True, slots=True)
class ShadowFacts:
    """The stage with copies; `percent` 0 leaves it out."""

    percent: int
    min_seconds: float
    min_samples: int
    max_seconds: float
    max_concurrency: int
    max_utilisation_ratio: float
    noise_percent: int
    replay_percent: int = 10
    exclude: tuple[Exclusion, ...] = ()


@dataclass(frozen=True, slots=True)
class WindowFacts:
    """When traffic may move: on these weekdays (0 is Monday), from `start` to `end` in minutes of the day."""

    days: frozenset[int]
    start_minute: int
    end_minute: int
    time_zone: str


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """A plan as its author wants it. The last segment has no match."""

    namespace: str
    name: str
    uid: str
    generation: int
    workload: str
    variant: str
    pool: str | None
    router: Literal["auto", "builtin", "gatewayAPI", "istio"]
    shadow: ShadowFacts
    segments: tuple[SegmentFacts, ...]
    gates: tuple[GateFacts, ...]
    interval_seconds: float = 30.0
    false_rollback_probability: float = 0.01
    false_promotion_probability: float = 0.05
    on_inconclusive: Literal["pause", "rollback"] = "pause"
    inconclusive_seconds: float = 900.0
    is_automatic: bool = True
    retain_seconds: float = 3600.0
    approvals: frozenset[str] = frozenset()
    approved: frozenset[str] = frozenset()
    windows: tuple[WindowFacts, ...] = ()
    max_dual_run_cost: Decimal | None = None
    deadline_seconds: float | None = None
    engineering_cost: Decimal = Decimal(0)
    payback_seconds: float | None = None
    is_suspended: bool = False
    is_aborted: bool = False
    is_deleting: bool = False
    restart_token: str = ""


# -- what is remembered --------------------------------------------------------------------------

SegmentPlace = Literal["Baseline", "Moving", "Candidate", "RolledBack", "Stays"]


@dataclass(frozen=True, slots=True)
class SegmentState:
    """Where a segment is, and the share on the candidate that is asked for."""

    name: str
    place: SegmentPlace
    weight_percent: int


@dataclass(frozen=True, slots=True)
class Side:
    """A variant on a pool, and the Deployment and Service that make it."""

    variant: str
    pool: str
    track: str


@dataclass(frozen=True, slots=True)
class Transition:
    """An entry of the history."""

    at: datetime
    phase: Phase
    reason: str
    message: str
    segment: str = ""
    weight_percent: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """All that a plan remembers between two looks, whole in its status.

    `stage_since`: when the traffic of the present stage was confirmed, None before. `reading`, `evidence`:
    JSON texts that evidence.py and gates.py write and read; `reading_at`: the instant of the reading.
    """

    phase: Phase = "Pending"
    attempt: int = 1
    restart_token: str = ""
    generation: int = -1  # of the plan that was read last
    inputs_hash: str = ""  # of what the evidence depends on: the workload's variant, the target, the gates
    router: Router | None = None
    baseline: Side | None = None
    candidate: Side | None = None
    segments: tuple[SegmentState, ...] = ()
    segment_index: int = 0
    step_index: int = 0
    shadow_percent: int = 0
    traffic_version: int = 0
    candidate_replicas: int = 0
    phase_since: datetime | None = None
    stage_since: datetime | None = None
    deadline: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    inconclusive_since: datetime | None = None
    resume_phase: Phase | None = None
    pause_reason: str = ""
    rollback_reason: str = ""
    rollback_message: str = ""
    rollback_to: Literal["", "RolledBack", "Aborted"] = ""
    rollback_scope: Literal["", "segment", "plan"] = ""
    requested: Mapping[str, datetime] = field(default_factory=dict)  # approvals asked for, by stage
    approved: Mapping[str, datetime] = field(default_factory=dict)
    window_index: int = 0
    reading_at: datetime | None = None
    reading: str = ""
    evidence: Mapping[str, str] = field(default_factory=dict)
    restarts_before: int = 0
    drift: str = ""  # what somebody else changed on the path, as it was told last
    dual_run_cost: Decimal = Decimal(0)
    cost_at: datetime | None = None
    history: tuple[Transition, ...] = ()
    message: str = ""


# -- what is seen --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SideView:
    """One side as it runs. `restarts`: container restarts and readiness lost, since its pods began.

    `copied_ratio`: of its load, what copies make.
    """

    wanted: int = 0
    ready: int = 0
    restarts: int = 0
    cost_per_hour: Decimal = Decimal(0)
    utilisation_ratio: float | None = None
    copied_ratio: float = 0.0
    waiting_for: str = ""


@dataclass(frozen=True, slots=True)
class TargetView:
    """The target as the planner judges it. `replicas`: those that carry the whole demand.

    `refusal`: reason and message where it can't be placed; `pool`: the one chosen.
    """

    pool: str = ""
    track: str = ""
    accelerator: str = ""
    replicas: int = 0
    cost_per_hour: Decimal = Decimal(0)  # of all of them
    cost_per_thousand: Decimal | None = None
    provisioning_seconds: float = 0.0
    refusal: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class GateReport:
    """What a gate says of the present stage.

    `false_rollback_probability`, `false_promotion_probability`: the part of the plan's that this gate may err
    with in this stage and segment; 0 where it does not err by chance.
    """

    name: str
    verdict: Verdict
    segment: str = ""
    observed: str = ""
    margin: str = ""
    samples: int = 0
    harm_ratio: float = 0.0  # log evidence over what a rollback needs, 0 to 1
    safe_ratio: float = 0.0
    needed: int | None = None
    eta_seconds: float | None = None
    missing: Literal["", "baseline", "candidate", "both"] = ""
    message: str = ""
    false_rollback_probability: float = 0.0
    false_promotion_probability: float = 0.0


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything outside of the plan that a step depends on.

    `inputs_hash`: as State's, of the world now. `other_plan`: an older plan of the same workload that is
    under way. `route`: None while it can't be read. `reports`: of the gates, over the evidence with the
    newest window; `samples`: requests (or pairs) of the candidate in this stage.
    `observed_per_thousand`: cost of a thousand of its good answers while soaking; None before.
    """

    now: datetime
    inputs_hash: str = ""
    workload_problem: tuple[str, str] | None = None
    other_plan: str = ""
    baseline: Side | None = None  # of the workload's active track
    baseline_view: SideView = field(default_factory=SideView)
    candidate_view: SideView = field(default_factory=SideView)
    baseline_cost_per_thousand: Decimal | None = None
    target: TargetView = field(default_factory=TargetView)
    router: Router = "builtin"
    uncounted: str = ""  # why nobody would count users' requests for the gates; empty where somebody does
    route: RouteState | None = None
    support: Support | None = None
    reports: tuple[GateReport, ...] = ()
    samples: int = 0
    observed_per_thousand: Decimal | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)
    reading: str = ""
    reading_at: datetime | None = None
    window_index: int = 0
    is_blind: bool = False  # no reading for more than three intervals
    is_released: bool = False  # the release that the state asks for is done, and nothing is held any more


@dataclass(frozen=True, slots=True)
class Note:
    """An event to record."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Stepped:
    """What a step made of it."""

    state: State
    notes: tuple[Note, ...] = ()
    recheck_at: datetime | None = None
