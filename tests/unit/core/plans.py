"""Plans in small worlds: what they remember is given by hand, so that each phase can be looked at alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tests.unit.core.worlds import apply

from switchyard.api.cutover import CutoverPlanSpec
from switchyard.api.cutover_status import CutoverPlanStatus
from switchyard.core.cutover.types import SegmentState, Side, State
from switchyard.core.decide import decide
from switchyard.core.decisions import Decisions
from switchyard.core.plans import Cutovers
from switchyard.core.world import Meta, Plan, World

OLD = Side("v", "old", "chat-v-old")
NEW = Side("v", "new", "chat-v-new")


def plan(name: str = "move", workload: str = "chat", *, created: int = 1, **spec: Any) -> Plan:
    """A plan that moves a workload to the pool `new`."""
    body = {"workloadRef": {"name": workload}, "target": {"variant": "v", "pool": "new"}, **spec}
    meta = Meta(name, "team", f"uid-{name}", "1", 1, datetime(2026, 3, created, tzinfo=UTC))
    return Plan(meta, CutoverPlanSpec.model_validate(body), CutoverPlanStatus())


def state(phase: Any, replicas: int = 0, weight: int = 0, **changes: Any) -> State:
    """What a plan from `old` to `new` remembers."""
    made = State(
        phase=phase,
        baseline=OLD,
        candidate=NEW,
        candidate_replicas=replicas,
        segments=(SegmentState("all", "Moving" if weight else "Baseline", weight),),
    )
    return replace(made, **changes)


def recalling(states: Mapping[str, State]) -> Callable[[Plan], State]:
    """What each plan remembers, by its name."""
    return lambda plan: states[plan.meta.name]


def decide_with(at: World, **states: State) -> Decisions:
    return decide(at, cutovers=Cutovers(recalling(states)))


def settle_with(at: World, **states: State) -> World:
    """As `worlds.settle`, with what the plans remember."""
    for _ in range(10):
        decisions = decide_with(at, **states)
        after = apply(at, decisions)
        if not decisions.objects and after == at:
            return at
        at = after
    raise AssertionError(f"still changing: {decide_with(at, **states)}")
