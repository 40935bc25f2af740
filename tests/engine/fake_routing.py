"""Ways of routing in memory: what they were asked, what they answer, and how slow they are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from switchyard.core.cutover.orders import TrafficOrder, TrafficWatch
from switchyard.core.routing.document import Segment
from switchyard.core.routing.plan import Feature, RouteState, Share, Support, Target, TrafficPlan
from switchyard.core.routing.samples import Samples
from switchyard.engine.ports import Failed
from switchyard.engine.routing import Applied, RouteResult

KEY = ("shop", "move")
SUPPORT = Support(frozenset(Feature))


def traffic_plan(version: int = 1, weight: int = 0, workload: str = "chat") -> TrafficPlan:
    return TrafficPlan(
        namespace="shop",
        workload=workload,
        workload_uid=f"uid-{workload}",
        holder="move",
        version=version,
        baseline=Target("chat-old", 8000),
        candidate=Target("chat-new", 8000),
        segments=(Segment(name="all", candidate_percent=weight),),
    )


def order(version: int = 1, weight: int = 0, release_to: str = "") -> TrafficOrder:
    return TrafficOrder("builtin", traffic_plan(version, weight), release_to)


def watch(version: int = 1, key: tuple[str, str] = KEY, **changes: object) -> TrafficWatch:
    made = {"interval_seconds": 30.0, "plan": traffic_plan(version), "router": "builtin"}
    return TrafficWatch(key=key, **{**made, **changes})  # type: ignore[arg-type]


@dataclass
class FakeRouter:
    """Takes every plan at once, unless told otherwise. `in_force`: the last plan that it took."""

    in_force: TrafficPlan | None = None
    answer: Callable[[TrafficPlan], RouteResult] = lambda _plan: Applied()
    state: Callable[[TrafficPlan], RouteState] | None = None
    samples: tuple[Samples, ...] | Failed = ()
    gate: asyncio.Event | None = None  # calls wait for it
    asked: Counter[str] = field(default_factory=Counter)
    versions: list[int] = field(default_factory=list)
    released_to: list[str] = field(default_factory=list)
    running: int = 0
    most_running: int = 0

    async def supports(self, plan: TrafficPlan) -> Support:
        await self._enter("supports")
        return SUPPORT

    async def observe(self, plan: TrafficPlan) -> RouteState:
        await self._enter("observe")
        if self.state is not None:
            return self.state(plan)
        if self.in_force is None:
            return RouteState(waiting_for="anything")
        shares = {each.name: Share(each.candidate_percent, 0) for each in self.in_force.segments}
        return RouteState(is_engaged=True, version=self.in_force.version, shares=shares)

    async def apply(self, plan: TrafficPlan) -> RouteResult:
        await self._enter("apply")
        self.versions.append(plan.version)
        answer = self.answer(plan)
        if isinstance(answer, Applied):
            self.in_force = plan
        return answer

    async def release(self, plan: TrafficPlan, service: str) -> RouteResult:
        await self._enter("release")
        answer = self.answer(plan)
        if answer == Applied():
            self.released_to.append(service)
            self.in_force = None
        return answer

    async def read_samples(self, plan: TrafficPlan) -> tuple[Samples, ...] | Failed:
        await self._enter("samples")
        return self.samples

    async def _enter(self, verb: str) -> None:
        self.asked[verb] += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if self.gate is not None:
                await self.gate.wait()
            else:
                await asyncio.sleep(0)
        finally:
            self.running -= 1
