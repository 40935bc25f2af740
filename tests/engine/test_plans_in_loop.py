"""Plans in the loop: state before effect, traffic beside the loop, and a finalizer while traffic is held."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from switchyard.core.cutover.orders import TRAFFIC_FINALIZER, Carried
from switchyard.core.decisions import Decisions, FinalizerWrite, ObjectDecision, StatusWrite
from switchyard.core.world import Plan, World
from switchyard.engine.backoff import Backoff
from switchyard.engine.debounce import Debounce
from switchyard.engine.ports import Conflict, Denied, Failed, WriteResult
from switchyard.engine.reconciler import LoopSettings, Reconciler
from switchyard.engine.routing import Applied
from switchyard.engine.sights import SightObserver
from switchyard.engine.traffic import TrafficDesk

from .fake_routing import KEY, FakeRouter, order, watch
from .fakes import FakeClock, FakeCluster, FakeWatch, Killed, Reports, until

AT_ONCE = Backoff(base_seconds=0.001, ceiling_seconds=0.002)


def decide_plans(world: World) -> Decisions:
    """A plan as the real ones are decided on: finalizer, then the status, then what the stored status asks.

    Its spec says the share, or to let go; its status remembers what was said last and the version of that.
    """
    objects, watches = [], []
    for plan in world.plans:
        objects.append(_decide_plan(plan, world))
        if plan.status:
            watches.append(watch(plan.status["version"]))
    return Decisions(tuple(each for each in objects if not each.is_empty), watches=tuple(watches))


def _decide_plan(plan: Plan, world: World) -> ObjectDecision:
    decided = ObjectDecision("CutoverPlan", plan.meta.namespace, plan.meta.name)
    stored, has_finalizer = dict(plan.status), TRAFFIC_FINALIZER in plan.meta.finalizers
    is_over = plan.spec["weight"] is None or plan.meta.is_deleting
    said = None if is_over else plan.spec["weight"]
    if stored and stored["weight"] is not None and not has_finalizer:
        return replace(decided, finalizers=FinalizerWrite("CutoverPlan", plan.meta, (TRAFFIC_FINALIZER,)))
    wanted = {"weight": said, "version": stored.get("version", 0) + 1}
    status = (
        None if stored.get("weight", "none yet") == said else StatusWrite("CutoverPlan", plan.meta, wanted)
    )
    now = wanted if status else stored
    if not has_finalizer:
        return replace(decided, status=status)
    asked = order(now["version"], release_to="chat-old") if now["weight"] is None else order(**now)
    carried = world.carried.get(plan.key)
    if asked.release_to and carried == Carried(asked) and status is None:
        return replace(decided, finalizers=FinalizerWrite("CutoverPlan", plan.meta, ()))
    sight = world.sights.get(plan.key)
    is_seen = sight is not None and sight.route is not None and sight.route.version == now["version"]
    return replace(decided, status=status, traffic=None if is_seen and not asked.release_to else asked)


class PlanRig:
    def __init__(self) -> None:
        self.cluster, self.router, self.clock = FakeCluster(), FakeRouter(), FakeClock()
        self.reports = Reports()
        self.runner = asyncio.Runner()
        self.put(10)
        self.start()

    def put(self, weight: int | None) -> None:
        self.cluster.put("CutoverPlan", *KEY, spec={"weight": weight}, metadata=self._metadata())

    def delete(self) -> None:
        metadata = {**self._metadata(), "deletionTimestamp": "now"}
        self.cluster.put("CutoverPlan", *KEY, metadata=metadata)

    def _metadata(self) -> dict[str, object]:
        return {"finalizers": self.finalizers()} if self.exists else {}

    def start(self) -> None:
        """A new process."""
        self.desk = TrafficDesk({"builtin": self.router}, waiting=AT_ONCE, failing=AT_ONCE)
        self.observer = SightObserver({"builtin": self.router}, self.clock)
        self.loop = Reconciler(
            reader=FakeWatch(self.cluster),
            writer=self.cluster,
            clock=self.clock,
            decide=decide_plans,
            observer=self.reports,
            debounce=Debounce(idle_seconds=0.001, cap_seconds=0.01),
            settings=LoopSettings(sync_poll_seconds=0.0),
            traffic=self.desk,
            sights=self.observer,
        )

    @property
    def exists(self) -> bool:
        return ("CutoverPlan", *KEY) in self.cluster.objects

    def finalizers(self) -> list[str]:
        return list(self.cluster.objects["CutoverPlan", *KEY]["metadata"].get("finalizers") or ())

    def _has_seen_now(self) -> bool:
        sight = self.observer.sights.get(KEY)
        return sight is not None and sight.at == self.clock.now()

    def turn(self, passes: int = 1, *, is_looking: bool = True) -> None:
        async def turn() -> None:
            looking = asyncio.create_task(self.observer.run()) if is_looking else None
            try:
                async with asyncio.timeout(20):
                    for _ in range(passes):
                        await self.loop.run_once()
                        await self.desk.wait_idle()
                        self.clock.seconds += 60
                        if is_looking and self.observer._posts:
                            self.observer._changed.set()  # the fake clock wakes nobody
                            await until(self._has_seen_now)
            finally:
                await self.desk.close()
                if looking is not None:
                    looking.cancel()
                    await asyncio.gather(looking, return_exceptions=True)

        self.runner.run(turn())


@pytest.fixture
def rig() -> Iterator[PlanRig]:
    made = PlanRig()
    yield made
    made.runner.close()


def test_nothing_moves_before_the_state_is_stored_and_the_plan_can_not_go(rig: PlanRig) -> None:
    rig.turn(1)
    assert rig.cluster.writes == {"status": 1}
    assert not rig.router.versions
    rig.turn(1)
    assert rig.finalizers() == [TRAFFIC_FINALIZER]
    assert not rig.router.versions
    rig.turn(1)
    assert rig.router.versions == [1]


def test_what_is_seen_to_be_in_force_is_ordered_no_more(rig: PlanRig) -> None:
    rig.turn(5)
    before = rig.router.asked["apply"], rig.cluster.requests
    rig.turn(10)
    assert (rig.router.asked["apply"], rig.cluster.requests) == before == (1, 2)


def test_traffic_that_somebody_else_moved_is_moved_back(rig: PlanRig) -> None:
    rig.turn(5)
    rig.router.in_force = None
    rig.turn(4)
    assert rig.router.in_force is not None
    assert rig.router.in_force.version == 1


@pytest.mark.parametrize("result", [Conflict("changed"), Denied(422, "no"), Failed("no answer")])
def test_no_traffic_moves_where_the_state_could_not_be_stored(rig: PlanRig, result: WriteResult) -> None:
    rig.turn(5)
    rig.put(50)
    rig.cluster.fault = lambda verb, _kind, _name: result if verb == "status" else None
    rig.turn(5)
    assert rig.router.versions == [1]
    rig.cluster.fault = lambda _verb, _kind, _name: None
    rig.clock.seconds += 600
    rig.turn(3)
    assert rig.router.versions == [1, 2]


def test_a_refused_order_is_a_failure_of_the_pass_and_stops_nobody(rig: PlanRig) -> None:
    rig.router.answer = lambda _plan: Denied(422, "the class has no mirror")
    rig.cluster.workload("other")

    async def body() -> None:
        async with asyncio.timeout(20):
            for _ in range(3):
                await rig.loop.run_once()
            await until(lambda: rig.desk.carried)
            await rig.loop.run_once()
            rig.router.answer = lambda _plan: Applied()
            await rig.desk.wait_idle()
            await rig.loop.run_once()

    rig.runner.run(body())
    problem = {("CutoverPlan", *KEY): "traffic: the class has no mirror"}
    assert [each.failures for each in rig.reports.finished[-2:]] == [problem, {}]


def test_a_router_without_an_answer_holds_up_no_pass(rig: PlanRig) -> None:
    async def body() -> None:
        rig.router.gate = asyncio.Event()
        async with asyncio.timeout(20):
            for _ in range(6):
                await rig.loop.run_once()
        await rig.desk.close()

    rig.runner.run(body())
    assert len(rig.reports.finished) == 6
    assert rig.router.asked["apply"] == 1


def test_a_plan_that_is_deleted_goes_only_when_its_traffic_was_returned(rig: PlanRig) -> None:
    rig.turn(5)
    rig.delete()
    rig.router.answer = lambda _plan: Applied("endpoints")

    async def body() -> None:
        async with asyncio.timeout(20):
            for _ in range(3):
                await rig.loop.run_once()
                await until(lambda: rig.desk.carried)
            assert rig.exists
            rig.router.answer = lambda _plan: Applied()
            await rig.desk.wait_idle()
            await rig.loop.run_once()

    rig.runner.run(body())
    assert rig.router.released_to == ["chat-old"]
    assert not rig.exists


def test_killed_after_any_single_write_the_next_process_reaches_the_same_end() -> None:
    undisturbed = _live(PlanRig())
    for after in range(1, undisturbed.cluster.writes.total() + 1):
        rig = PlanRig()
        rig.cluster.kill_after_write = after
        _live(rig)
        assert rig.cluster.essence() == undisturbed.cluster.essence() == {}, f"killed after write {after}"
        assert rig.router.released_to[-1:] == ["chat-old"]
        assert rig.router.in_force is None


def _live(rig: PlanRig) -> PlanRig:
    for step in (lambda: None, lambda: rig.put(50), rig.delete):
        step()
        try:
            rig.turn(5)
        except* Killed:
            rig.cluster.kill_after_write = None
            rig.start()
            rig.turn(5)
    rig.runner.close()
    return rig
