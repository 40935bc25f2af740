"""A small world in which a plan is carried out: a clock, pods that follow, a path that confirms, gates by script.

Effects are derived from the state alone, as the operator does it, and what is seen next follows from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from switchyard.api.cutover_status import CutoverPlanStatus
from switchyard.core.cutover.judging import find_stage
from switchyard.core.cutover.machine import step
from switchyard.core.cutover.stored import read_state, write_state
from switchyard.core.cutover.traffic import find_release_track, wants_release, wants_traffic
from switchyard.core.cutover.types import (
    TERMINAL,
    GateFacts,
    GateReport,
    Note,
    Observation,
    PlanFacts,
    SegmentFacts,
    ShadowFacts,
    Side,
    SideView,
    State,
    StepFacts,
    TargetView,
)
from switchyard.core.routing.document import Match
from switchyard.core.routing.plan import Feature, RouteState, Support

BEGIN = datetime(2026, 11, 21, 12, tzinfo=UTC)  # a Saturday
OLD = Side("gpu", "l4", "chat-gpu-l4")
NEW = Side("inferentia", "inf2", "chat-inferentia-inf2")
ALL = frozenset({"shadow", "canary", "soak"})


def make_steps(*weights: int, **changes: Any) -> tuple[StepFacts, ...]:
    told = {"min_seconds": 60.0, "min_samples": 100, "max_seconds": 3600.0, **changes}
    return tuple(StepFacts(weight, **told) for weight in weights)


def make_facts(**changes: Any) -> PlanFacts:
    """A plan of two segments, `batch` and all that is left, with one gate for errors."""
    steps = make_steps(10, 50, 100)
    made = PlanFacts(
        namespace="team",
        name="move",
        uid="uid-move",
        generation=1,
        workload="chat",
        variant="inferentia",
        pool="inf2",
        router="builtin",
        shadow=make_shadow(),
        segments=(
            SegmentFacts("batch", Match(tier="batch"), steps),
            SegmentFacts("rest", None, steps),
        ),
        gates=(GateFacts("errors", "errors", ALL),),
        interval_seconds=30.0,
        inconclusive_seconds=600.0,
        retain_seconds=300.0,
    )
    return replace(made, **changes)


def make_shadow(percent: int = 20, **changes: Any) -> ShadowFacts:
    told = {
        "min_seconds": 60.0,
        "min_samples": 100,
        "max_seconds": 3600.0,
        "max_concurrency": 32,
        "max_utilisation_ratio": 0.8,
        "noise_percent": 10,
        **changes,
    }
    return ShadowFacts(percent, **told)


@dataclass
class World:
    """One plan, and everything around it. `verdicts`: what gates say, by stage or gate; Pass by default.

    Times are in ticks of `tick_seconds`. Pods start within a tick of being asked for, up to `room`.
    """

    facts: PlanFacts = field(default_factory=make_facts)
    state: State = field(default_factory=State)
    now: datetime = BEGIN
    tick_seconds: float = 30.0
    room: int = 8
    full: int = 4
    candidate_ready: int = 0
    baseline_ready: int = 3
    active: Side = OLD
    target: Mapping[str, Any] = field(default_factory=dict)
    confirms: bool = True
    releases: bool = True
    version: int | None = None
    released_to: str = ""
    samples_per_tick: int = 100
    samples: int = 0
    judge: Callable[[World], tuple[GateReport, ...]] | None = None
    verdict: str = "Pass"
    changes: dict[str, Any] = field(default_factory=dict)  # of the observation, by hand
    notes: list[Note] = field(default_factory=list)
    weights: list[tuple[int, ...]] = field(default_factory=list)

    def observe(self) -> Observation:
        replicas = self.full
        seen = Observation(
            now=self.now,
            inputs_hash="h",
            baseline=self.active,
            baseline_view=SideView(3, self.baseline_ready, cost_per_hour=Decimal(6)),
            candidate_view=SideView(
                self.state.candidate_replicas,
                self.candidate_ready,
                cost_per_hour=Decimal(2),
                utilisation_ratio=0.5,
            ),
            baseline_cost_per_thousand=Decimal("0.06"),
            target=TargetView(
                pool="inf2",
                track=NEW.track,
                accelerator="aws-inferentia2",
                replicas=replicas,
                cost_per_hour=Decimal(2),
                cost_per_thousand=Decimal("0.02"),
                provisioning_seconds=300.0,
            ),
            route=RouteState(
                is_engaged=self.version is not None,
                version=self.version,
                waiting_for="" if self.version is not None else "routers",
            ),
            support=Support(frozenset(Feature)),
            reports=self._report(),
            samples=self.samples,
            evidence={"errors": str(self.samples)},
            reading=f"r{self.now:%H%M%S}",
            reading_at=self.now,
            window_index=self.state.window_index + 1,
            is_released=self.released_to != "" and self.released_to == find_release_track(self.state),
        )
        return replace(seen, **self.changes)

    def look(self) -> State:
        """One look, its effects, and the time until the next one. Every state goes through the status."""
        seen = self.observe()
        stepped = step(self.facts, self.state, seen)
        again = step(self.facts, stepped.state, seen)
        assert again.state == stepped.state, "the same observation twice"
        assert again.notes == ()
        before = self.state
        self.state = restore(stepped.state)
        self.notes += stepped.notes
        self.weights.append(tuple(each.weight_percent for each in self.state.segments))
        self._carry_out(before)
        return self.state

    def run(self, until: Callable[[State], bool], ticks: int = 400) -> State:
        """The state at the first look for which `until` holds."""
        for _ in range(ticks):
            if until(self.look()):
                return self.state
        raise AssertionError(f"never came: {self.state.phase} {self.state.message} {self.reasons()}")

    def run_to(self, phase: str, ticks: int = 400) -> State:
        return self.run(lambda state: state.phase == phase, ticks)

    def run_to_end(self, ticks: int = 400) -> State:
        return self.run(lambda state: state.phase in TERMINAL, ticks)

    def stay(self, ticks: int) -> State:
        for _ in range(ticks):
            self.look()
        return self.state

    def edit(self, **changes: Any) -> None:
        """The author changes the plan."""
        self.facts = replace(self.facts, generation=self.facts.generation + 1, **changes)

    def reasons(self) -> list[str]:
        return [each.reason for each in self.notes]

    def weight(self, segment: str) -> int:
        return next(each.weight_percent for each in self.state.segments if each.name == segment)

    def _carry_out(self, before: State) -> None:
        state = self.state
        self.now += timedelta(seconds=self.tick_seconds)
        self.candidate_ready = min(self.room, state.candidate_replicas) if self.room else 0
        if wants_traffic(state):
            self.released_to = ""
            if self.confirms:
                self.version = state.traffic_version
        if wants_release(state) and self.releases:
            self.version = None
            self.released_to = find_release_track(state)
            if state.phase == "Completing":
                self.active = NEW
        fresh = state.stage_since is None or before.traffic_version != state.traffic_version
        self.samples = 0 if fresh else self.samples + self.samples_per_tick

    def _report(self) -> tuple[GateReport, ...]:
        if self.judge is not None:
            return self.judge(self)
        return tuple(report(each.name, self.verdict, "") for each in self.facts.gates)


def report(name: str = "errors", verdict: Any = "Pass", segment: str = "", **changes: Any) -> GateReport:
    told = {"observed": "0.4 % against 0.3 %", "margin": "odds x1.5", "samples": 200, **changes}
    return GateReport(name, verdict, segment, **told)


def fail_when(
    when: Callable[[World], bool], segment: str = "", name: str = "errors"
) -> Callable[[World], tuple[GateReport, ...]]:
    """Gates that pass until `when` holds in a stage."""

    def judge(world: World) -> tuple[GateReport, ...]:
        failed = find_stage(world.state) is not None and when(world)
        others = tuple(report(each.name) for each in world.facts.gates if each.name != name)
        return (*others, report(name, "Fail", segment) if failed else report(name))

    return judge


def restore(state: State) -> State:
    """The state as an operator that was started anew reads it from the status."""
    status = CutoverPlanStatus.model_validate(write_state(state))
    return read_state(status)
