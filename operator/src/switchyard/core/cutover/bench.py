"""What every gate of a stage is judged with, and how its word is put."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from switchyard.core.cutover.capacity import HEADROOM_RATIO, find_own_load
from switchyard.core.cutover.evidence import Taken
from switchyard.core.cutover.orders import SignalValue
from switchyard.core.cutover.sequential.split import split_promotion, split_rollback
from switchyard.core.cutover.tally import WHOLE, SegmentTally
from switchyard.core.cutover.types import (
    GateFacts,
    GateReport,
    GateStage,
    PlanFacts,
    SideView,
    State,
    TargetView,
)

_FULL_PERCENT = 100
_TESTS = {"errors": 2, "latency": 1, "parity": 1}  # errors: a comparison and a hard stop


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What gates go by beside counts of requests. `signals`: by name of the gate."""

    baseline: SideView = field(default_factory=SideView)
    candidate: SideView = field(default_factory=SideView)
    target: TargetView = field(default_factory=TargetView)
    baseline_cost_per_thousand: Decimal | None = None
    signals: Mapping[str, SignalValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bench:
    """A stage whose gates are judged, and the probabilities of error that each test has."""

    facts: PlanFacts
    state: State
    taken: Taken
    around: Surroundings
    stage: GateStage
    stage_name: str  # names this run of the stage, so that no evidence of another counts in it
    rollback_probability: float
    promotion_probability: float

    def find_tally(self, segment: str) -> SegmentTally | None:
        """What the window has of a segment; None without a window."""
        window = self.taken.window
        if window is None:
            return None
        return window.segments.get(WHOLE if self.taken.is_by_track else segment, SegmentTally())

    def find_run(self, segment: str) -> int:
        """The longest run of failures that the window knows of."""
        return self.taken.window.longest_runs.get(segment, 0) if self.taken.window is not None else 0

    def is_alone(self, segment: str) -> bool:
        """True where the candidate answers all of a segment, so that no baseline runs beside it."""
        weights = {each.name: each.weight_percent for each in self.state.segments}
        return self.stage != "shadow" and weights.get(segment, 0) >= _FULL_PERCENT

    def name_shares(self, gate: GateFacts, report: GateReport) -> GateReport:
        """The report of a gate of requests, saying what it may err with."""
        return replace(
            report,
            false_rollback_probability=self.rollback_probability * _TESTS[gate.kind],
            false_promotion_probability=self.promotion_probability,
        )

    @property
    def is_overloaded(self) -> bool:
        """True while copies bring the candidate above its cap: slowness then is no regression.

        Users' own requests are another matter: who is slow for them is slow.
        """
        utilisation = self.around.candidate.utilisation_ratio
        cap = self.facts.shadow.max_utilisation_ratio
        if self.state.shadow_percent == 0 or utilisation is None or utilisation <= cap:
            return False
        return find_own_load(self.state, self.around.candidate) <= HEADROOM_RATIO * cap


def share_probabilities(facts: PlanFacts) -> tuple[float, float]:
    """What one test in one stage of one segment may err with: towards a rollback, and towards a promotion.

    Tests: the plan's gates and the share of requests. Stages: copies, the steps of the longest segment, and
    soaking.
    """
    tests = 1 + sum(_TESTS.get(gate.kind, 0) for gate in facts.gates)
    moving = [each for each in facts.segments if not each.stays]
    stages = 1 + (facts.shadow.percent > 0) + max((len(each.steps) for each in moving), default=0)
    segments = len(moving)
    return (
        split_rollback(facts.false_rollback_probability, gates=tests, segments=segments, stages=stages),
        split_promotion(facts.false_promotion_probability, segments=segments, stages=stages),
    )


def show_margin(gate: GateFacts) -> str:
    """What a gate allows: odds x1.5 or +0.2 %."""
    parts = [f"odds x{gate.odds_ratio:g}"] if gate.odds_ratio > 1.0 or not gate.absolute_ratio else []
    parts += [f"+{show_percent(gate.absolute_ratio)}"] if gate.absolute_ratio > 0 else []
    return " or ".join(parts)


def show_percent(ratio: float) -> str:
    """The ratio in percent, with three figures."""
    return f"{100 * ratio:.3g} %"


def show_share(part: int, whole: int) -> str:
    """A share in percent; nothing where there is no whole."""
    return show_percent(part / whole) if whole else "nothing"


def is_number(value: float | None) -> bool:
    """False for what is missing, NaN or infinite."""
    return value is not None and math.isfinite(value)
