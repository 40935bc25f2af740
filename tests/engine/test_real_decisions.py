"""The loop with the decisions that ship: the same promises as with the toy ones, on real objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from e2e.objects import pool, workload

from switchyard.adapters.projection import project_child, project_node, project_pool, project_workload
from switchyard.catalog import Accelerator, Catalog, Taint
from switchyard.core.decide import decide
from switchyard.engine.backoff import Backoff
from switchyard.engine.debounce import Debounce
from switchyard.engine.reconciler import LoopSettings, Reconciler

from .fakes import FakeWatch, Killed, Reports
from .test_reconciler import Rig

CATALOG = Catalog(
    {
        "nvidia-l4": Accelerator(
            "nvidia-l4",
            family="gpu",
            vendor="NVIDIA",
            model="L4",
            resource_name="nvidia.com/gpu",
            node_selectors=({"nvidia.com/gpu.product": "NVIDIA-L4"},),
            taints=(Taint("nvidia.com/gpu"),),
            memory_bytes=24 * 2**30,
            power_watts=72.0,
        )
    }
)
L4 = {"nvidia.com/gpu.product": "NVIDIA-L4", "kubernetes.io/os": "linux"}
PROJECTIONS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "AcceleratorPool": project_pool,
    "InferenceWorkload": project_workload,
    "Node": project_node,
}


def observe(body: Mapping[str, Any]) -> Any:
    return PROJECTIONS.get(body["kind"], project_child)(body)


class RealRig(Rig):
    def __post_init__(self) -> None:
        self.cluster.observe = observe
        self.watch = FakeWatch(self.cluster)
        self.start()

    def start(self) -> None:
        self.reports = Reports()
        self.loop = Reconciler(
            reader=self.watch,
            writer=self.cluster,
            clock=self.clock,
            decide=partial(decide, catalog=CATALOG),
            observer=self.reports,
            debounce=Debounce(idle_seconds=0.001, cap_seconds=0.01),
            settings=LoopSettings(sync_poll_seconds=0.0),
            backoff=Backoff(base_seconds=1.0, ceiling_seconds=60.0),
        )

    def add_node(self, name: str, devices: int) -> None:
        gpus = {"nvidia.com/gpu": str(devices), "cpu": "16"}
        self.cluster.put(
            "Node",
            "",
            name,
            metadata={"labels": {**L4, "kubernetes.io/hostname": name}},
            spec={"taints": [{"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}]},
            status={
                "capacity": gpus,
                "allocatable": gpus,
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        )

    def put_pool(self, name: str, node: str, price: str) -> None:
        self.cluster.put("AcceleratorPool", "", name, spec=pool(name, node, price)["spec"])

    def put_workload(self, name: str, rate: str) -> None:
        spec = workload(name, demand={"requestsPerSecond": rate})["spec"]
        self.cluster.put("InferenceWorkload", "shop", name, spec=spec)


def _steps(rig: RealRig) -> list[Callable[[], None]]:
    def begin() -> None:
        rig.add_node("n1", 4)
        rig.put_pool("l4", "n1", "0.80")
        rig.put_workload("chat", "5")

    def grow() -> None:
        rig.put_workload("chat", "120")
        rig.put_workload("embed", "5")

    def shrink() -> None:
        rig.put_workload("chat", "20")
        rig.add_node("n2", 4)
        rig.put_pool("l4-b", "n2", "0.70")

    return [begin, grow, shrink]


def _live(rig: RealRig) -> None:
    for step in _steps(rig):
        step()
        rig.settle()


def test_a_settled_world_costs_no_writes() -> None:
    rig = RealRig()
    _live(rig)
    before = rig.cluster.requests
    for _ in range(20):
        rig.clock.seconds += 60
        rig.turn()
    assert rig.cluster.requests == before
    assert len(rig.cluster.children()) == 8  # two workloads: a Deployment, two Services and a budget each


def test_a_lagging_watch_causes_no_second_write() -> None:
    rig = RealRig()
    _steps(rig)[0]()
    rig.watch.lags = True
    rig.watch.catch_up()
    rig.turn()
    once = rig.cluster.writes.copy()
    rig.turn(passes=3)
    assert rig.cluster.writes["apply"] == once["apply"]


def test_killed_after_any_single_write_the_next_process_reaches_the_same_end() -> None:
    undisturbed = RealRig()
    _live(undisturbed)
    for after in range(1, undisturbed.cluster.writes.total() + 1):
        rig = RealRig()
        rig.cluster.kill_after_write = after
        killed = 0
        for step in _steps(rig):
            step()
            try:
                rig.settle()
            except* Killed:
                killed += 1
                rig.cluster.kill_after_write = None
                rig.start()
                rig.settle()
        assert killed == 1
        assert rig.cluster.essence() == undisturbed.cluster.essence(), f"killed after write {after}"
