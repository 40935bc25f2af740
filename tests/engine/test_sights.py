"""Sights of plans under way: each at its own pace, bounded, and never a reason to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from switchyard.core.routing.plan import RouteState
from switchyard.core.routing.samples import Samples, SegmentSamples
from switchyard.engine.ports import Failed
from switchyard.engine.sights import LEAST_SECONDS, SightObserver

from .fake_routing import KEY, SUPPORT, FakeRouter, traffic_plan, watch
from .fakes import FakeClock, until

OTHER = ("shop", "other")


@dataclass
class Rig:
    router: FakeRouter = field(default_factory=FakeRouter)
    clock: FakeClock = field(default_factory=FakeClock)
    woken: int = 0
    observer: SightObserver = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.observer = SightObserver({"builtin": self.router}, self.clock, wake=self.wake)

    def wake(self) -> None:
        self.woken += 1

    def run(self, body: Callable[[], Awaitable[None]]) -> None:
        async def bounded() -> None:
            task = asyncio.create_task(self.observer.run())
            try:
                async with asyncio.timeout(20):
                    await body()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        asyncio.run(bounded())

    async def pass_seconds(self, seconds: float) -> None:
        """Time goes by; every look that is due then has come to its end."""
        self.clock.seconds += seconds
        self.observer._changed.set()  # the fake clock wakes nobody
        for _ in range(30):
            await asyncio.sleep(0)

    def looks(self) -> int:
        return self.router.asked["observe"]


def test_a_plan_is_looked_at_at_once_and_then_every_interval() -> None:
    rig = Rig(FakeRouter(in_force=traffic_plan()))

    async def body() -> None:
        rig.observer.follow([watch(interval_seconds=30)])
        await rig.pass_seconds(0)
        assert rig.looks() == 1
        assert rig.observer.sights[KEY].route == RouteState(
            is_engaged=True, version=1, shares=rig.observer.sights[KEY].route.shares
        )
        await rig.pass_seconds(29)
        assert rig.looks() == 1
        await rig.pass_seconds(1)
        assert rig.looks() == 2
        assert rig.observer.sights[KEY].at == datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=30)

    rig.run(body)


def test_no_plan_is_looked_at_more_often_than_once_a_second() -> None:
    rig = Rig(FakeRouter(in_force=traffic_plan()))

    async def body() -> None:
        rig.observer.follow([watch(interval_seconds=0.01)])
        for _ in range(10):
            await rig.pass_seconds(0.1)
            rig.observer.look_soon(KEY)
        assert LEAST_SECONDS == 1
        assert rig.looks() <= 2

    rig.run(body)


def test_while_something_is_awaited_looks_come_sooner_and_samples_do_not() -> None:
    rig = Rig(FakeRouter(state=lambda _plan: RouteState(waiting_for="a pod"), samples=(Samples(),)))

    async def body() -> None:
        rig.observer.follow([watch(interval_seconds=30, needs_samples=True)])
        await rig.pass_seconds(0)
        for _ in range(5):
            await rig.pass_seconds(2)
        assert rig.looks() == 6
        assert rig.router.asked["samples"] == 1
        await rig.pass_seconds(20)
        assert rig.router.asked["samples"] == 2

    rig.run(body)


def test_samples_and_support_are_read_only_where_asked_for() -> None:
    rig = Rig(FakeRouter(in_force=traffic_plan(), samples=(Samples(),)))

    async def body() -> None:
        rig.observer.follow([watch()])
        await rig.pass_seconds(0)
        assert rig.router.asked.keys() == {"observe"}
        rig.observer.follow([watch(needs_support=True, needs_samples=True)])
        await rig.pass_seconds(0)
        assert rig.observer.sights[KEY].support == SUPPORT
        assert rig.observer.sights[KEY].samples == (Samples(),)
        await rig.pass_seconds(30)
        assert rig.router.asked == {"observe": 3, "supports": 1, "samples": 2}
        await rig.pass_seconds(30)
        assert rig.router.asked["supports"] == 2

    rig.run(body)


def test_looks_come_right_after_windows_of_evidence_end() -> None:
    rig = Rig(FakeRouter(in_force=traffic_plan(), samples=(Samples(),)))

    async def body() -> None:
        await rig.pass_seconds(7)
        begun = rig.clock.now() - timedelta(seconds=7)
        rig.observer.follow([watch(interval_seconds=30, needs_samples=True, counts_from=begun)])
        await rig.pass_seconds(0)
        assert rig.router.asked["samples"] == 1
        await rig.pass_seconds(23)  # the end itself: what is read then may be from before
        assert rig.router.asked["samples"] == 1
        await rig.pass_seconds(0.1)
        assert rig.router.asked["samples"] == 2
        await rig.pass_seconds(29.8)
        assert rig.router.asked["samples"] == 2
        await rig.pass_seconds(0.2)
        assert rig.router.asked["samples"] == 3

    rig.run(body)


def test_a_new_version_is_looked_at_without_waiting_for_the_interval() -> None:
    rig = Rig(FakeRouter(in_force=traffic_plan()))

    async def body() -> None:
        rig.observer.follow([watch(1)])
        await rig.pass_seconds(0)
        rig.observer.follow([watch(2)])
        await rig.pass_seconds(0)
        assert rig.looks() == 2
        rig.observer.follow([watch(2)])
        await rig.pass_seconds(0)
        assert rig.looks() == 2

    rig.run(body)


def test_the_loop_is_woken_by_news_alone() -> None:
    rig = Rig(FakeRouter(in_force=traffic_plan()))

    async def body() -> None:
        rig.observer.follow([watch()])
        await rig.pass_seconds(0)
        assert rig.woken == 1
        await rig.pass_seconds(30)
        assert (rig.looks(), rig.woken) == (2, 1)
        rig.router.in_force = traffic_plan(2)
        await rig.pass_seconds(30)
        assert rig.woken == 2

    rig.run(body)


def test_new_samples_are_news() -> None:
    rig = Rig(FakeRouter(in_force=traffic_plan(), samples=(Samples(),)))

    async def body() -> None:
        rig.observer.follow([watch(needs_samples=True)])
        await rig.pass_seconds(0)
        rig.router.samples = (Samples(segments={"all": SegmentSamples(started={"baseline": 3})}),)
        await rig.pass_seconds(30)
        assert rig.woken == 2

    rig.run(body)


def test_samples_that_can_not_be_read_are_missing_and_the_rest_is_seen() -> None:
    rig = Rig(FakeRouter(in_force=traffic_plan(), samples=Failed("router pod a: silent")))

    async def body() -> None:
        rig.observer.follow([watch(needs_samples=True)])
        await rig.pass_seconds(0)
        seen = rig.observer.sights[KEY]
        assert (seen.samples, seen.problem) == (None, "router pod a: silent")
        assert seen.route is not None
        rig.router.samples = (Samples(),)
        await rig.pass_seconds(2)
        assert rig.observer.sights[KEY].samples == (Samples(),)
        assert not rig.observer.sights[KEY].problem

    rig.run(body)


def test_a_look_without_an_end_is_blindness_and_others_are_looked_at() -> None:
    rig = Rig(FakeRouter(in_force=traffic_plan()))
    rig.observer.deadline_seconds = 0.02
    slow = FakeRouter()
    rig.observer.routers = {"builtin": rig.router, "istio": slow}

    async def body() -> None:
        slow.gate = asyncio.Event()
        rig.observer.follow([watch(key=OTHER, router="istio"), watch()])
        await until(lambda: len(rig.observer.sights) == 2)
        assert rig.observer.sights[OTHER].route is None
        assert rig.observer.sights[OTHER].problem == "router istio gave no answer in 0.02 s"
        assert rig.observer.sights[KEY].route is not None

    rig.run(body)


def test_blindness_keeps_what_support_was_known() -> None:
    rig = Rig(FakeRouter(in_force=traffic_plan()))

    def burst(_plan: object) -> RouteState:
        raise ZeroDivisionError("oh")

    async def body() -> None:
        rig.observer.follow([watch(needs_support=True)])
        await rig.pass_seconds(0)
        rig.router.state = burst
        await rig.pass_seconds(30)
        seen = rig.observer.sights[KEY]
        assert (seen.support, seen.route, seen.problem) == (SUPPORT, None, "bug: ZeroDivisionError: oh")

    rig.run(body)


def test_no_more_looks_run_at_a_time_than_allowed() -> None:
    rig = Rig(FakeRouter(in_force=traffic_plan()))
    rig.observer.concurrency = 3

    async def body() -> None:
        rig.observer.follow([watch(key=("shop", f"p{number}")) for number in range(20)])
        await until(lambda: len(rig.observer.sights) == 20)

    rig.run(body)
    assert rig.router.most_running == 3


def test_a_plan_that_is_over_is_forgotten_even_while_it_is_looked_at() -> None:
    rig = Rig()

    async def body() -> None:
        rig.router.gate = asyncio.Event()
        rig.observer.follow([watch()])
        await until(lambda: rig.router.running)
        rig.observer.follow([])
        rig.router.gate.set()
        await rig.pass_seconds(0)
        assert not rig.observer.sights

    rig.run(body)


def test_who_may_not_act_looks_at_nothing() -> None:
    rig = Rig()
    rig.observer.may_act = lambda: False

    async def body() -> None:
        rig.observer.follow([watch()])
        await rig.pass_seconds(5)

    rig.run(body)
    assert not rig.router.asked
