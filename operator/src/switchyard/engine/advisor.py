"""Advice at a slower pace: the plan that would be best if nothing ran yet, looked for beside the loop.

    idle --consider: something that matters changed, and the interval is over--> thinking
      ^                                                                             |
      +------------- the advice is kept, the loop is woken -------------------------+

At most one search at a time, in a thread of its own: the solver lets go of the interpreter while it searches
(measured: the event loop is served within 6 ms throughout). The thread is a daemon, so a search never holds
up the end of the process; what it would have found is found again by the next one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from switchyard.core.stability.moments import read_moment
from switchyard.core.world import Advice, Plan, Pool, Workload, World
from switchyard.engine.ports import Clock

logger = logging.getLogger(__name__)


class Advise(Protocol):
    def __call__(self, world: World) -> Advice: ...


@dataclass(frozen=True, slots=True)
class AdviceReport:
    """One finished search. `advice` None: it failed, as `problem` says, and the last advice stays."""

    duration_seconds: float
    advice: Advice | None
    problem: str = ""


class AdviceObserver(Protocol):
    """Told after each search; must not raise and must not block."""

    def advice_finished(self, report: AdviceReport) -> None: ...


@dataclass
class Advisor:
    """`wake` is called on the event loop when there is new advice."""

    advise: Advise
    clock: Clock
    observer: AdviceObserver
    wake: Callable[[], None] = lambda: None
    interval_seconds: float = 30.0
    latest: Advice | None = None
    _considered: tuple[Any, ...] | None = None  # what mattered in the world of the last search
    _awaits_turn: bool = False  # something changed that was not searched yet
    _started_at: float = float("-inf")
    _is_thinking: bool = False
    _finished: asyncio.Event = field(default_factory=asyncio.Event)

    def consider(self, world: World) -> None:
        """Start a search for this world if it is due. To be called on the event loop, with every pass."""
        matters = what_matters(world)
        self._awaits_turn = matters != self._considered
        if self.due_at_seconds() > self._now():
            return
        self._considered, self._awaits_turn, self._is_thinking = matters, False, True
        self._started_at = self._now()
        self._finished.clear()
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._think, args=(world, loop), name="advice", daemon=True).start()

    def due_at_seconds(self) -> float:
        """When `consider` is worth calling again, on the monotonic clock; +inf when a change has to come."""
        if not self._awaits_turn or self._is_thinking:
            return float("inf")
        return self._started_at + self.interval_seconds

    async def wait_finished(self) -> None:
        """Come back when the search that runs is over."""
        if self._is_thinking:
            await self._finished.wait()

    def _now(self) -> float:
        return self.clock.monotonic_seconds()

    def _think(self, world: World, loop: asyncio.AbstractEventLoop) -> None:
        advice, problem = None, ""
        try:
            advice = self.advise(world)
        except Exception as error:
            logger.exception("no advice could be found; the last one stays")
            problem = f"{type(error).__name__}: {error}"
        report = AdviceReport(self._now() - self._started_at, advice, problem)
        try:
            loop.call_soon_threadsafe(self._finish, report)
        except RuntimeError:
            logger.debug("the loop ended before the advice was found")

    def _finish(self, report: AdviceReport) -> None:
        self._is_thinking = False
        self._finished.set()
        self.observer.advice_finished(report)
        before = self.latest
        self.latest = report.advice or before
        is_news = report.advice is not None and (
            before is None or _essence(report.advice) != _essence(before)
        )
        if is_news or self._awaits_turn:
            self.wake()


def what_matters(world: World) -> tuple[Any, ...]:
    """All of a world that the best plan depends on; two worlds with equal ones have the same advice.

    Not what passes by itself: readiness of pods, conditions, versions, the time.
    """
    return (
        tuple(_of_pool(pool, world.now) for pool in world.pools),
        tuple(_of_workload(workload) for workload in world.workloads),
        world.nodes,
        tuple(
            (pod.uid, pod.node_name, pod.is_deleting)
            for pod in world.pods
            if pod.node_name and pod.phase not in ("Succeeded", "Failed")
        ),
        tuple((template.namespace, template.name) for template in world.pod_templates),
        world.namespaces,
        tuple((quota.namespace, quota.name, quota.hard, quota.used) for quota in world.quotas),
        {name: (price.device_per_hour, price.source) for name, price in world.prices.items()},
        world.learned,
        world.settings,
        tuple(_of_plan(plan) for plan in world.plans),
    )


def _of_pool(pool: Pool, now: datetime) -> tuple[Any, ...]:
    back_off = pool.status.back_off
    until = read_moment(back_off.until) if back_off is not None else None
    return (pool.meta.uid, pool.meta.generation, pool.meta.is_deleting, until is not None and now < until)


def _of_workload(workload: Workload) -> tuple[Any, ...]:
    status, meta = workload.status, workload.meta
    demand = status.demand
    return (
        (meta.uid, meta.generation, meta.is_deleting),
        demand and (demand.requests_per_second, demand.input_tokens, demand.output_tokens),
        tuple((each.variant, each.pool, each.replicas) for each in status.placements),
    )


def _of_plan(plan: Plan) -> tuple[Any, ...]:
    """What a cutover binds: its sides, and how many replicas it runs beside its workload."""
    status = plan.status
    return (
        plan.meta.uid,
        plan.workload_key,
        status.phase,
        status.machine and status.machine.candidate_replicas,
    )


def _essence(advice: Advice) -> tuple[Any, ...]:
    return (advice.placements, advice.current_cost_per_hour, advice.unserved)
