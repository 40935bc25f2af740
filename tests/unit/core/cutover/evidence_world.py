"""A router that counts made-up requests, and a plan that looks at it: readings through windows to reports."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from switchyard.api.cutover_status import CutoverPlanStatus
from switchyard.core.cutover.bench import Surroundings
from switchyard.core.cutover.evidence import Taken, take_window
from switchyard.core.cutover.gates import Judged, judge
from switchyard.core.cutover.judging import adopt_evidence
from switchyard.core.cutover.references import keep_references
from switchyard.core.cutover.stored import read_state, write_state
from switchyard.core.cutover.types import (
    GateFacts,
    Observation,
    PlanFacts,
    SegmentFacts,
    SegmentState,
    ShadowFacts,
    SideView,
    State,
    StepFacts,
)
from switchyard.core.routing.samples import (
    ArmSamples,
    Comparisons,
    Counts,
    Histogram,
    PairCounts,
    Samples,
    ScoreCounts,
    SegmentSamples,
    ShadowCounts,
    Table,
    add_samples,
    name_threshold,
)

BEGIN = datetime(2026, 11, 21, 12, tzinfo=UTC)
INTERVAL = 30.0
BOUND = 0.5
EPOCH = "00000000000000a1"
ALL = frozenset({"shadow", "canary", "soak"})
ERRORS = GateFacts("errors", "errors", ALL, absolute_ratio=0.002)
LATENCY = GateFacts("latency", "latency", ALL, threshold_seconds=BOUND, absolute_ratio=0.01)
PARITY = GateFacts("parity", "parity", frozenset({"shadow"}), comparator_name="json", margin_ratio=0.02)
HEALTHY = Surroundings(candidate=SideView(wanted=2, ready=2))


def make_facts(*gates: GateFacts, **changes: Any) -> PlanFacts:
    """A plan of one segment, `rest`, with these gates."""
    steps = tuple(StepFacts(weight, 60.0, 100, 3600.0) for weight in (10, 50, 100))
    made = PlanFacts(
        namespace="team",
        name="move",
        uid="uid",
        generation=1,
        workload="chat",
        variant="inferentia",
        pool="inf2",
        router="builtin",
        shadow=ShadowFacts(20, 60.0, 100, 3600.0, 32, 0.7, 5),
        segments=(SegmentFacts("rest", None, steps),),
        gates=gates or (ERRORS,),
        interval_seconds=INTERVAL,
    )
    return replace(made, **changes)


def make_state(stage: str = "canary", weight: int = 50, **changes: Any) -> State:
    """A state whose stage was confirmed at BEGIN."""
    phase = {"shadow": "Shadowing", "canary": "Canary", "soak": "Soaking"}[stage]
    place = {"shadow": "Baseline", "canary": "Moving", "soak": "Candidate"}[stage]
    made = State(
        phase=phase,  # type: ignore[arg-type]
        segments=(SegmentState("rest", place, 0 if stage == "shadow" else weight),),  # type: ignore[arg-type]
        shadow_percent=20 if stage == "shadow" else 0,
        phase_since=BEGIN,
        stage_since=BEGIN,
    )
    return replace(made, **changes)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def make_counts(requests: int, failed: int = 0, slow: int = 0, bound: float = BOUND) -> Counts:
    """Requests of which some failed, and of the others some took longer than the bound."""
    good = requests - failed
    edges = (0.1, bound, 5.0)
    histogram = Histogram(edges, (0, good - slow, slow, 0), 0) if good else Histogram()
    failures = {"status": failed} if failed else {}
    return Counts(requests, failures, 0, histogram, histogram, Histogram())


def make_samples(
    baseline: Counts | None = None,
    candidate: Counts | None = None,
    pairs: PairCounts | None = None,
    *,
    segment: str = "rest",
    stratum: str = "p0o0",
    shadow: ShadowCounts | None = None,
    run: int = 0,
    seconds: float = 0.0,
    epoch: str = EPOCH,
    version: int = 1,
) -> Samples:
    """A reading at that second."""
    arms = {
        arm: ArmSamples({stratum: counts}, run if arm == "candidate" else 0, run if arm == "candidate" else 0)
        for arm, counts in (("baseline", baseline), ("candidate", candidate))
        if counts is not None
    }
    told = SegmentSamples(
        started={arm: each.ended for arm, each in arms.items()},
        arms=arms,
        shadow=shadow or ShadowCounts(),
        pairs={stratum: pairs} if pairs is not None else {},
    )
    return Samples(epoch, version, at(seconds), {segment: told})


def make_pairs(
    failures: tuple[int, int, int, int] = (0, 0, 0, 0),
    slow: tuple[int, int, int, int] | None = None,
    differences: dict[int, int] | None = None,
    incomparable: int = 0,
) -> PairCounts:
    """Pairs: both good, baseline only, candidate only, none."""
    compared = sum((differences or {}).values())
    scores = ScoreCounts(
        candidate=Comparisons(compared, incomparable),
        noise=Comparisons(compared),
        differences=differences or {},
    )
    return PairCounts(
        sum(failures),
        Table(*failures),
        {name_threshold("latency", BOUND): Table(*slow)} if slow else {},
        {"json": scores} if differences is not None or incomparable else {},
    )


def now_of(window: Samples, total: Samples, second: float) -> Samples:
    """The reading at that second, of everything so far and what came since."""
    return replace(add_samples(total, window), at=at(second), epoch=EPOCH)


@dataclass
class Look:
    """A plan that is looked at again and again; each time its state passes through its status and back."""

    facts: PlanFacts
    state: State
    around: Surroundings = HEALTHY
    total: Samples = field(default_factory=lambda: Samples(EPOCH, 1, BEGIN))
    taken: Taken = field(default_factory=Taken)
    judged: Judged = field(default_factory=Judged)
    is_restarted: bool = True

    def see(self, source: Any, second: float, problem: str = "") -> Judged:
        """One look, and what is remembered of it."""
        self.taken = take_window(self.facts, self.state, source, problem, at(second))
        self.judged = judge(self.facts, self.state, self.taken, self.around)
        seen = Observation(
            now=at(second),
            reports=self.judged.reports,
            samples=self.judged.samples,
            evidence=self.judged.evidence,
            reading=self.taken.reading,
            reading_at=self.taken.reading_at,
            window_index=self.taken.window_index,
            is_blind=self.taken.is_blind,
        )
        self.state = adopt_evidence(self.facts, self.state, seen)
        if self.is_restarted:
            self.state = pass_through_status(self.state)
        return self.judged

    def settle(self) -> Look:
        """The first reading behind the settling time, from which windows count."""
        self.see((replace(self.total, at=at(INTERVAL)),), INTERVAL)
        return self

    def count(self, window: Samples, windows: int = 1) -> Judged:
        """So many windows, each with these requests more."""
        for _ in range(windows):
            second = ((self.state.window_index or 0) + 1) * INTERVAL
            self.total = now_of(window, self.total, second)
            self.see((self.total,), second)
        return self.judged

    def go_on(self, stage: str, weight: int) -> Look:
        """The next stage, at the same clock: only references outlive the one before."""
        kept = keep_references(self.state.evidence)
        return Look(self.facts, make_state(stage, weight, evidence=kept), self.around).settle()


def pass_through_status(state: State) -> State:
    """The state as it is after a restart."""
    return read_state(CutoverPlanStatus.model_validate(write_state(state)))


def draw(rng: np.random.Generator, requests: int, failed: float, slow: float = 0.0) -> Counts:
    bad = int(rng.binomial(requests, failed))
    return make_counts(requests, bad, int(rng.binomial(requests - bad, slow)))
