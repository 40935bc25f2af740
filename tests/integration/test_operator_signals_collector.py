"""The task that asks: whom it asks, at which pace, what it keeps, and when it wakes the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from switchyard.adapters.signals.collector import SignalCollector
from switchyard.api import (
    AcceleratorPoolSpec,
    AcceleratorPoolStatus,
    InferenceWorkloadSpec,
    InferenceWorkloadStatus,
    labels,
)
from switchyard.api.cutover import CutoverPlanSpec
from switchyard.api.cutover_status import CutoverPlanStatus
from switchyard.catalog.signal_presets import load_signal_presets
from switchyard.core.learning.learned import LearnedProfile
from switchyard.core.learning.sample import EngineSample
from switchyard.core.world import Child, Meta, Node, Plan, Pod, Pool, SignalReading, Workload, World
from switchyard.engine.learner import Learner
from switchyard.engine.ports import NotSynced
from switchyard.engine.settings import parse_settings
from switchyard.engine.signals import Figures, Measured, Outside, Want, find_wants, is_news, update_reading

from .operator_fakes import run
from .signal_fakes import NOW, FakePrometheus, vector

VARIANT = {"name": "gpu", "accelerators": ["gpu"], "container": {"image": "example.com/m:1"}}
SIGNAL = {"signal": {"preset": "vllm", "source": "main"}, "window": "1m"}
PRESETS = load_signal_presets()


def workload(name: str = "chat", demand: dict[str, Any] | None = None, **spec: Any) -> Workload:
    body = {
        "tier": "internal",
        "model": {"name": "m"},
        "demand": demand or SIGNAL,
        "objectives": [],
        "variants": [VARIANT],
        **spec,
    }
    meta = Meta(name, "shop", f"uid-{name}", "1", 1, NOW)
    return Workload(meta, InferenceWorkloadSpec.model_validate(body), InferenceWorkloadStatus())


def deployment(owner: str = "chat", track: str = "chat-gpu-l4") -> Child:
    meta = Meta(track, "shop", f"uid-{track}", "1", 1)
    return Child("apps/v1", "Deployment", meta, f"uid-{owner}", {})


def pod(name: str = "chat-gpu-l4-aaaaa-bbbbb", *, workload: str = "chat", **fields: Any) -> Pod:
    marks = {
        labels.WORKLOAD: workload,
        labels.TRACK: "chat-gpu-l4",
        labels.VARIANT: "gpu",
        labels.POOL: "l4",
    }
    made = Pod("shop", name, f"uid-{name}", marks, "n1", "Running", True, False, {"gpu": 1})
    usual = {"owner_uid": "rs", "address": "10.0.0.7", "created_at": NOW - timedelta(hours=1)}
    return replace(made, **{**usual, **fields})


def pool() -> Pool:
    spec = {
        "device": {"family": "gpu", "resourceName": "example.com/gpu", "memory": "24Gi"},
        "nodeSelector": {"pool": "l4"},
        "cost": {"devicePerHour": "1", "asOf": "2026-11-01"},
    }
    meta = Meta("l4", "", "uid-l4", "1", 1, NOW)
    return Pool(meta, AcceleratorPoolSpec.model_validate(spec), AcceleratorPoolStatus())


def world(*workloads: Workload, pods: Sequence[Pod] = (), children: Sequence[Child] | None = None) -> World:
    owned = (deployment(),) if children is None else tuple(children)
    node = Node("n1", {"pool": "l4"}, (), {}, {}, is_ready=True, is_unschedulable=False)
    return World(
        now=NOW,
        pools=(pool(),),
        workloads=workloads or (workload(),),
        nodes=(node,),
        pods=tuple(pods) or (pod(),),
        children=owned,
    )


@dataclass
class Clock:
    seconds: float = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic_seconds(self) -> float:
        return self.seconds


@dataclass
class Stage:
    """A collector with a fake Prometheus named main and a clock that the test moves."""

    url: str
    seen: World | NotSynced = field(default_factory=world)
    settings: dict[str, Any] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    outside: Outside = field(default_factory=Outside)
    woken: int = 0
    acts: bool = True

    def build(self, **more: Any) -> SignalCollector:
        sources = [{"name": "main", "url": self.url}]
        return SignalCollector(
            lambda _: self.seen,
            parse_settings({"metricSources": sources, **self.settings}),
            self.outside,
            self.clock,
            self._wake,
            may_act=lambda: self.acts,
            **more,
        )

    def _wake(self) -> None:
        self.woken += 1

    @property
    def reading(self) -> SignalReading:
        return self.outside.signals["shop", "chat"]


POD = {"namespace": "shop", "pod": "chat-gpu-l4-aaaaa-bbbbb"}


def answers(rate: float) -> dict[str, Any]:
    far = NOW + timedelta(days=1)  # fresh at any moment of a test
    return {
        "timestamp(": vector((POD, far.timestamp())),
        "rate(vllm:request_success": vector((POD, rate)),
    }


def test_readings_come_stay_while_missing_and_come_back() -> None:
    async def scenario() -> None:
        fake = FakePrometheus(answers(3.0))
        async with fake.serve() as url:
            stage = Stage(url)
            collector = stage.build()
            await collector.collect()
            assert (stage.reading.requests_per_second, stage.reading.problem) == (3.0, "")
            assert (stage.reading.observed_at, stage.woken) == (NOW, 1)

            stage.clock.seconds, fake.table = 15, {}
            await collector.collect()
            assert stage.reading.requests_per_second == 3.0
            assert stage.reading.observed_at == NOW
            assert "source main: no vllm:request_success_total" in stage.reading.problem
            assert stage.woken == 2

            stage.clock.seconds = 30
            await collector.collect()
            assert stage.woken == 2

            stage.clock.seconds, fake.table = 45, answers(3.0)
            await collector.collect()
            assert stage.reading == SignalReading(stage.clock.now(), 3.0)
            assert stage.woken == 3

    run(scenario())


def test_the_loop_is_woken_by_more_than_five_percent_of_what_it_knows() -> None:
    async def scenario() -> list[int]:
        fake, woken = FakePrometheus(), []
        async with fake.serve() as url:
            stage = Stage(url)
            collector = stage.build()
            for number, rate in enumerate((100.0, 102.0, 104.0, 106.0, 106.0, 50.0)):
                stage.clock.seconds, fake.table = 15.0 * number, answers(rate)
                await collector.collect()
                woken.append(stage.woken)
                assert stage.reading.requests_per_second == rate
        return woken

    assert run(scenario()) == [1, 1, 1, 2, 2, 3]


def test_each_source_is_asked_at_its_own_pace() -> None:
    async def scenario() -> list[int]:
        fake, asked = FakePrometheus(answers(1.0)), []
        async with fake.serve() as url:
            stage = Stage(url, settings={"signalInterval": "20s"})
            collector = stage.build()
            for second in range(0, 61, 5):
                stage.clock.seconds = second
                before = len(fake.queries)
                await collector.collect()
                asked.append(len(fake.queries) > before)
        return [second * 5 for second, was_asked in enumerate(asked) if was_asked]

    assert run(scenario()) == [0, 20, 40, 60]


def test_nothing_is_asked_before_the_first_lists_nor_while_another_leads() -> None:
    async def scenario() -> None:
        fake = FakePrometheus(answers(1.0))
        async with fake.serve() as url:
            stage = Stage(url, seen=NotSynced(("pods",)), acts=False)
            collector = stage.build()
            await collector.collect()
            assert fake.queries == []
            stage.seen = world()
            task = asyncio.create_task(collector.run())
            for _ in range(20):
                await asyncio.sleep(0)
            assert fake.queries == []
            task.cancel()

    run(scenario())


def test_a_source_that_hangs_holds_up_no_other() -> None:
    async def scenario() -> None:
        fake = FakePrometheus(answers(3.0))
        async with fake.serve() as url:
            stage = Stage(url)
            collector = stage.build()

            class Hangs:
                async def measure(self, wants: Sequence[Want], now: datetime) -> Sequence[Measured]:
                    await asyncio.Event().wait()
                    return ()

            collector._sources[""] = Hangs()
            stage.seen = world(workload(), workload("slow", {"signal": {"preset": "vllm"}}))
            task = asyncio.create_task(collector.run())
            async with asyncio.timeout(10):
                while ("shop", "chat") not in stage.outside.signals:  # noqa: ASYNC110 - polls with a deadline
                    await asyncio.sleep(0.01)
            assert stage.reading.requests_per_second == 3.0
            assert ("shop", "slow") not in stage.outside.signals
            task.cancel()

    run(scenario())


def test_a_source_that_nobody_defined_is_told() -> None:
    async def scenario() -> None:
        stage = Stage("http://127.0.0.1:9")
        signal = {"signal": {"preset": "vllm", "source": "other"}}
        stage.seen = world(workload(demand=signal))
        await stage.build().collect()
        assert stage.reading.problem == (
            "the operator's settings have no metric source other of type prometheus; there are: main"
        )
        assert stage.woken == 1

    run(scenario())


def test_a_source_that_needs_more_time_says_nothing_yet() -> None:
    class Waits:
        async def measure(self, wants: Sequence[Want], now: datetime) -> Sequence[Measured]:
            return [Measured(is_waiting=True) for _ in wants]

    async def scenario() -> None:
        stage = Stage("http://127.0.0.1:9")
        collector = stage.build()
        collector._sources["main"] = Waits()
        await collector.collect()
        assert (stage.outside.signals, stage.woken) == ({}, 0)

    run(scenario())


def test_what_is_not_wanted_any_more_is_forgotten() -> None:
    async def scenario() -> None:
        fake = FakePrometheus(answers(1.0))
        async with fake.serve() as url:
            stage = Stage(url)
            collector = stage.build()
            await collector.collect()
            assert stage.outside.signals
            stage.clock.seconds, stage.seen = 15, world(workload(demand={"requestsPerSecond": "1"}))
            await collector.collect()
            assert stage.outside.signals == {}

    run(scenario())


def test_prices_come_by_the_nodes_of_pools_and_stay_while_missing() -> None:
    async def scenario() -> None:
        fake = FakePrometheus({"node_gpu_hourly_cost": vector(({"node": "n1"}, 0.42))})
        async with fake.serve() as url:
            stage = Stage(url, settings={"prices": {"source": "main"}})
            collector = stage.build()
            await collector.collect()
            assert str(stage.outside.prices["l4"].device_per_hour) == "0.4200"
            assert stage.outside.prices["l4"].source == "opencost:main"
            before = stage.woken
            stage.clock.seconds, fake.table = 400, {}
            await collector.collect()
            assert stage.outside.prices["l4"].as_of == NOW
            assert stage.woken == before

    run(scenario())


class FakeLearner(Learner):
    def __init__(self) -> None:
        super().__init__()
        self.given: list[EngineSample] = []

    def learn(self, world: World, samples: Any, now: datetime) -> Any:
        self.given += samples["shop", "chat"]
        profile = LearnedProfile("gpu", "l4", None, len(self.given), None, now, "Insufficient", "few")
        return {("shop", "chat"): (profile,)}


def test_windows_of_engines_go_to_learning_and_what_it_says_into_the_world() -> None:
    async def scenario() -> None:
        table = answers(2.0) | {
            "avg_over_time(vllm:num_requests_running": vector((POD, 4.0)),
            "rate(vllm:inter_token_latency_seconds_sum": vector((POD, 0.5)),
            "rate(vllm:inter_token_latency_seconds_count": vector((POD, 10.0)),
        }
        fake = FakePrometheus(table)
        async with fake.serve() as url:
            stage, learner = Stage(url), FakeLearner()
            stage.seen = world(workload(signals={"preset": "vllm", "source": "main", "learning": "use"}))
            collector = stage.build(learner=learner)
            for second in (0, 15, 60):
                stage.clock.seconds = second
                await collector.collect()
            assert [sample.running for sample in learner.given] == [4.0, 4.0]
            (learned,) = stage.outside.learned["shop", "chat"]
            assert learned.samples == 2

    run(scenario())


@pytest.mark.parametrize(
    ("pods", "children", "found"),
    [
        ([pod()], None, 1),
        ([pod()], [deployment(owner="other")], 0),
        ([pod()], [], 0),
        ([pod(name="intruder")], None, 0),
        ([pod(owner_uid="")], None, 0),
        ([pod(workload="other")], None, 0),
        ([pod(namespace="elsewhere")], None, 0),
        ([pod(address="")], None, 0),
        ([pod(phase="Pending")], None, 0),
    ],
    ids=[
        "its own", "another's track", "no track", "a name of its own", "owned by nobody", "another's label",
        "another namespace", "no address yet", "not running",
    ],
)  # fmt: skip
def test_only_pods_of_the_workloads_own_tracks_are_asked(
    pods: list[Pod], children: list[Child] | None, found: int
) -> None:
    (asked,) = find_wants(world(pods=pods, children=children), PRESETS)
    assert len(asked.pods) == found


def plan_at(shadow_percent: int, weight: int) -> Plan:
    """A plan whose candidate is the track chat-gpu-a10."""
    spec = {"workloadRef": {"name": "chat"}, "target": {"variant": "gpu", "pool": "a10"}}
    status = {
        "candidate": {"variant": "gpu", "pool": "a10", "track": "chat-gpu-a10"},
        "segments": [{"name": "all", "weight": weight}],
        "machine": {"shadowPercent": shadow_percent},
    }
    meta = Meta("move", "shop", "uid-move", "1", 1)
    return Plan(meta, CutoverPlanSpec.model_validate(spec), CutoverPlanStatus.model_validate(status))


@pytest.mark.parametrize(
    ("shadow_percent", "weight", "asked"),
    [(20, 0, 1), (0, 50, 2), (20, 50, 2), (0, 0, 2)],
    ids=["copies alone", "users", "both", "nothing yet"],
)
def test_pods_that_answer_copies_alone_are_no_demand(shadow_percent: int, weight: int, asked: int) -> None:
    candidate = pod("chat-gpu-a10-ccccc-ddddd")
    candidate = replace(candidate, labels={**candidate.labels, labels.TRACK: "chat-gpu-a10"})
    seen = world(pods=[pod(), candidate], children=[deployment(), deployment(track="chat-gpu-a10")])
    (want,) = find_wants(replace(seen, plans=(plan_at(shadow_percent, weight),)), PRESETS)
    assert len(want.pods) == asked


def test_engines_that_answer_copies_teach_as_much_as_others() -> None:
    engine = {"preset": "vllm", "learning": "propose"}
    candidate = pod("chat-gpu-a10-ccccc-ddddd")
    candidate = replace(candidate, labels={**candidate.labels, labels.TRACK: "chat-gpu-a10"})
    seen = world(
        workload(demand={"signal": {}}, signals=engine),
        pods=[pod(), candidate],
        children=[deployment(), deployment(track="chat-gpu-a10")],
    )
    found = find_wants(replace(seen, plans=(plan_at(20, 0),)), PRESETS)
    assert [(each.is_demand, each.is_learning, len(each.pods)) for each in found] == [
        (True, False, 1),
        (False, True, 2),
    ]


def test_demand_and_learning_from_one_place_are_one_want() -> None:
    engine = {"preset": "vllm", "learning": "propose"}
    (one,) = find_wants(world(workload(demand={"signal": {}}, signals=engine)), PRESETS)
    assert (one.is_demand, one.is_learning, one.signal.preset) == (True, True, "vllm")
    apart = find_wants(
        world(workload(demand={"signal": {"preset": "istio", "source": "main"}}, signals=engine)), PRESETS
    )
    assert [(each.is_demand, each.is_learning, each.signal.source) for each in apart] == [
        (True, False, "main"),
        (False, True, ""),
    ]


def test_pods_are_asked_at_the_port_of_their_engine() -> None:
    serving = find_wants(world(workload(demand={"signal": {"preset": "vllm"}}, port=9000)), PRESETS)
    own = find_wants(world(workload(demand={"signal": {"preset": "triton"}}, port=9000)), PRESETS)
    assert [each.pods[0].port for each in (*serving, *own)] == [9000, 8002]


OLD = SignalReading(NOW, 10.0, 100.0, 50.0)


@pytest.mark.parametrize(
    ("before", "after", "news"),
    [
        (None, OLD, True),
        (OLD, OLD, False),
        (OLD, replace(OLD, requests_per_second=10.5), False),
        (OLD, replace(OLD, requests_per_second=10.6), True),
        (OLD, replace(OLD, requests_per_second=9.4), True),
        (OLD, replace(OLD, input_tokens=110.0), True),
        (OLD, replace(OLD, output_tokens=None), True),
        (OLD, replace(OLD, problem="gone"), True),
        (replace(OLD, problem="gone"), replace(OLD, problem="still gone"), False),
        (replace(OLD, requests_per_second=0.0), replace(OLD, requests_per_second=0.1), True),
        (OLD, replace(OLD, observed_at=NOW + timedelta(hours=1)), False),
    ],
)
def test_what_is_news(before: SignalReading | None, after: SignalReading, *, news: bool) -> None:
    assert is_news(before, after) == news


def test_a_reading_without_a_figure_is_a_problem_and_never_zero() -> None:
    missing = update_reading(None, Measured(Figures()), NOW)
    assert missing == SignalReading(problem="no figure came")
    assert update_reading(None, Measured(Figures(requests_per_second=0.0)), NOW) == SignalReading(NOW, 0.0)
    assert Want(("a", "b"), find_wants(world(), PRESETS)[0].signal, ()).is_demand
