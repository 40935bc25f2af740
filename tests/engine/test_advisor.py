"""The search for the best plan beside the loop: one at a time, only for news, at its own pace."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from switchyard.api import (
    AcceleratorPoolSpec,
    AcceleratorPoolStatus,
    InferenceWorkloadSpec,
    InferenceWorkloadStatus,
)
from switchyard.api.pool_status import BackOff
from switchyard.api.workload_status import DemandStatus, Placement
from switchyard.core.decisions import Decisions
from switchyard.core.world import (
    Advice,
    AdvisedPlacement,
    Meta,
    Node,
    Pod,
    Pool,
    PriceReading,
    ResourceQuotaView,
    SignalReading,
    Workload,
    World,
)
from switchyard.engine.advisor import AdviceReport, Advisor
from switchyard.engine.debounce import Debounce
from switchyard.engine.reconciler import LoopSettings, Reconciler

from .fakes import FakeClock, FakeCluster, Reports

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GPU = "example.com/gpu"


def node(name: str = "n1", devices: int = 4) -> Node:
    return Node(name, {"pool": "p"}, (), {GPU: devices}, {GPU: devices}, True, False)


def pod(name: str, node_name: str = "n1", phase: str = "Running") -> Pod:
    return Pod("team", name, f"uid-{name}", {}, node_name, phase, True, False, {GPU: 1})


def pool(**status: Any) -> Pool:
    spec = AcceleratorPoolSpec.model_validate({"accelerator": "nvidia-l4"})
    return Pool(Meta("p", "", "u1", "1", 1), spec, AcceleratorPoolStatus(**status))


def workload(**status: Any) -> Workload:
    spec = InferenceWorkloadSpec.model_validate(
        {
            "model": {"name": "m"},
            "demand": {"requestsPerSecond": "1"},
            "variants": [{"name": "v", "accelerators": ["gpu"]}],
        }
    )
    return Workload(Meta("chat", "team", "u2", "1", 1), spec, InferenceWorkloadStatus(**status))


def demand(rate: str, source: str = "Signal") -> DemandStatus:
    return DemandStatus(requests_per_second=rate, source=source)  # type: ignore[arg-type]


QUIET = World(
    NOW,
    pools=(pool(),),
    workloads=(workload(demand=demand("5")),),
    nodes=(node(),),
    pods=(pod("a"),),
    prices={"p": PriceReading(Decimal(1), "opencost:main", NOW)},
)


@dataclass
class Thinker:
    """`advise` that counts, and can be held up."""

    worlds: list[World] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    answer: Callable[[World], Advice] = lambda world: Advice(world.now)

    def __call__(self, world: World) -> Advice:
        self.worlds.append(world)
        assert self.gate.wait(10), "nobody opened the gate"
        return self.answer(world)


@dataclass
class Bench:
    thinker: Thinker = field(default_factory=Thinker)
    clock: FakeClock = field(default_factory=FakeClock)
    reports: list[AdviceReport] = field(default_factory=list)
    woken: int = 0
    advisor: Advisor = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.thinker.gate.set()
        self.advisor = Advisor(self.thinker, self.clock, self, self.wake)

    def wake(self) -> None:
        self.woken += 1

    def advice_finished(self, report: AdviceReport) -> None:
        self.reports.append(report)

    async def consider(self, world: World, *, after_seconds: float = 60.0) -> int:
        """How many searches there were, this one finished."""
        self.clock.seconds += after_seconds
        self.advisor.consider(world)
        await self.advisor.wait_finished()
        return len(self.thinker.worlds)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 20))


CHANGES: list[tuple[str, World, bool]] = [
    ("nothing", QUIET, False),
    ("the time", replace(QUIET, now=NOW + timedelta(hours=1)), False),
    (
        "a version",
        replace(
            QUIET, workloads=(replace(workload(demand=demand("5")), meta=Meta("chat", "team", "u2", "9", 1)),)
        ),
        False,
    ),
    ("a pod that became ready", replace(QUIET, pods=(replace(pod("a"), is_ready=False),)), False),
    ("a pod that waits", replace(QUIET, pods=(pod("a"), pod("b", ""))), False),
    ("a pod that ended", replace(QUIET, pods=(pod("a"), pod("b", phase="Succeeded"))), False),
    (
        "where a demand comes from",
        replace(QUIET, workloads=(workload(demand=demand("5", "LastKnown")),)),
        False,
    ),
    (
        "what was measured and not taken up",
        replace(QUIET, signals={("team", "chat"): SignalReading(NOW, 5.1)}),
        False,
    ),
    (
        "the age of a price",
        replace(QUIET, prices={"p": PriceReading(Decimal(1), "opencost:main", NOW + timedelta(1))}),
        False,
    ),
    ("its own advice", replace(QUIET, advice=Advice(NOW)), False),
    ("a demand", replace(QUIET, workloads=(workload(demand=demand("6")),)), True),
    (
        "a spec",
        replace(
            QUIET, workloads=(replace(workload(demand=demand("5")), meta=Meta("chat", "team", "u2", "2", 2)),)
        ),
        True,
    ),
    (
        "a placement",
        replace(
            QUIET, workloads=(workload(demand=demand("5"), placements=(Placement(variant="v", pool="p"),)),)
        ),
        True,
    ),
    ("a node", replace(QUIET, nodes=(node(), node("n2"))), True),
    ("a device", replace(QUIET, nodes=(node(devices=3),)), True),
    ("a pod that holds devices", replace(QUIET, pods=(pod("a"), pod("b"))), True),
    ("a price", replace(QUIET, prices={"p": PriceReading(Decimal(2), "opencost:main", NOW)}), True),
    ("a quota", replace(QUIET, quotas=(ResourceQuotaView("team", "q", {GPU: 1}, {}),)), True),
    (
        "a pool that backs off",
        replace(QUIET, pools=(pool(back_off=BackOff(reason="PoolBackOff", until="2026-01-01T00:05:00Z")),)),
        True,
    ),
    (
        "a pool that backed off once",
        replace(QUIET, pools=(pool(back_off=BackOff(reason="PoolBackOff", until="2025-12-31T00:00:00Z")),)),
        False,
    ),
]


@pytest.mark.parametrize(("what", "after", "is_news"), CHANGES, ids=[case[0] for case in CHANGES])
def test_only_what_matters_is_searched_again(what: str, after: World, is_news: bool) -> None:  # noqa: FBT001 - a column of the table
    async def scenario() -> None:
        bench = Bench()
        assert await bench.consider(QUIET) == 1
        assert await bench.consider(after) == 1 + is_news, what

    run(scenario())


def test_searches_keep_their_distance_and_the_loop_is_told_when_one_is_due() -> None:
    async def scenario() -> None:
        bench = Bench()
        changed = replace(QUIET, nodes=())
        assert await bench.consider(QUIET, after_seconds=0) == 1
        assert bench.advisor.due_at_seconds() == float("inf")
        assert await bench.consider(changed, after_seconds=29) == 1
        assert bench.advisor.due_at_seconds() == 30.0
        assert await bench.consider(changed, after_seconds=1) == 2
        assert bench.thinker.worlds[-1] is changed

    run(scenario())


def test_what_changed_and_changed_back_needs_no_search() -> None:
    async def scenario() -> None:
        bench = Bench()
        await bench.consider(QUIET)
        await bench.consider(replace(QUIET, nodes=()), after_seconds=1)
        assert await bench.consider(QUIET) == 1
        assert bench.advisor.due_at_seconds() == float("inf")

    run(scenario())


def test_only_one_search_runs_and_the_event_loop_goes_on_meanwhile() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.thinker.gate.clear()
        bench.advisor.consider(QUIET)
        bench.clock.seconds += 60
        bench.advisor.consider(replace(QUIET, nodes=()))
        assert bench.advisor.latest is None
        bench.thinker.gate.set()
        await bench.advisor.wait_finished()
        assert len(bench.thinker.worlds) == 1
        assert bench.advisor.latest is not None
        assert bench.woken == 1
        assert bench.advisor.due_at_seconds() <= bench.clock.seconds

    run(scenario())


def test_the_loop_is_woken_by_news_only() -> None:
    async def scenario() -> None:
        bench = Bench()
        await bench.consider(QUIET)
        await bench.consider(replace(QUIET, nodes=()))
        assert bench.woken == 1
        placed = {("team", "chat"): (AdvisedPlacement("v", "p", 1, Decimal(1)),)}
        bench.thinker.answer = lambda world: Advice(world.now, placed)
        await bench.consider(QUIET)
        assert bench.woken == 2

    run(scenario())


def test_the_loop_is_woken_when_something_changed_while_a_search_ran() -> None:
    async def scenario() -> None:
        bench = Bench()
        await bench.consider(QUIET)
        bench.thinker.gate.clear()
        bench.clock.seconds += 60
        bench.advisor.consider(replace(QUIET, nodes=()))
        bench.advisor.consider(QUIET)
        bench.thinker.gate.set()
        await bench.advisor.wait_finished()
        assert bench.woken == 2

    run(scenario())


def test_a_search_that_fails_is_reported_and_the_last_advice_stays() -> None:
    async def scenario() -> None:
        bench = Bench()
        await bench.consider(QUIET)
        kept = bench.advisor.latest

        def fail(world: World) -> Advice:
            raise ValueError(world.now)

        bench.thinker.answer = fail
        await bench.consider(replace(QUIET, nodes=()))
        assert bench.advisor.latest is kept
        assert bench.reports[-1].advice is None
        assert bench.reports[-1].problem.startswith("ValueError")
        bench.thinker.answer = lambda world: Advice(world.now)
        await bench.consider(QUIET)
        assert not bench.reports[-1].problem

    run(scenario())


# -- within the loop


class StillWatch:
    """A cluster in which only the time passes."""

    def snapshot(self, now: datetime) -> World:
        return replace(QUIET, now=now)


@dataclass
class Pass:
    """A loop over a still cluster, with decisions that name a moment."""

    recheck_in_seconds: float | None = None
    clock: FakeClock = field(default_factory=FakeClock)
    advisor: Advisor | None = None
    worlds: list[World] = field(default_factory=list)
    loop: Reconciler = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.loop = Reconciler(
            reader=StillWatch(),
            writer=FakeCluster(),
            clock=self.clock,
            decide=self.decide,
            observer=Reports(),
            debounce=Debounce(idle_seconds=0.001, cap_seconds=0.01),
            settings=LoopSettings(resync_seconds=60.0),
            advisor=self.advisor,
        )

    def decide(self, world: World) -> Decisions:
        self.worlds.append(world)
        if self.recheck_in_seconds is None:
            return Decisions()
        return Decisions(recheck_at=world.now + timedelta(seconds=self.recheck_in_seconds))

    @property
    def patience_seconds(self) -> float:
        return self.loop._patience_seconds()


@pytest.mark.parametrize(
    ("recheck_in_seconds", "patience_seconds"),
    [(None, 60.0), (100.0, 60.0), (12.0, 12.0), (0.0, 1.0), (-500.0, 1.0)],
    ids=["no moment", "after the resync", "before the resync", "now", "long ago"],
)
def test_the_loop_looks_again_at_the_moment_that_a_decision_names(
    recheck_in_seconds: float | None, patience_seconds: float
) -> None:
    async def scenario() -> None:
        passing = Pass(recheck_in_seconds)
        await passing.loop.run_once()
        assert passing.patience_seconds == patience_seconds

    run(scenario())


def test_advice_joins_the_world_of_the_next_pass() -> None:
    async def scenario() -> None:
        bench = Bench()
        passing = Pass(advisor=bench.advisor, clock=bench.clock)
        await passing.loop.run_once()
        await bench.advisor.wait_finished()
        await passing.loop.run_once()
        assert [world.advice is not None for world in passing.worlds] == [False, True]

    run(scenario())


def test_the_loop_comes_back_when_a_search_is_due() -> None:
    async def scenario() -> None:
        bench = Bench()
        passing = Pass(advisor=bench.advisor, clock=bench.clock)
        await passing.loop.run_once()
        await bench.advisor.wait_finished()
        assert passing.patience_seconds == 60.0
        bench.clock.seconds += 5
        bench.advisor.consider(replace(QUIET, nodes=()))
        assert passing.patience_seconds == 25.0

    run(scenario())
