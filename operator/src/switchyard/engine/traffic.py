"""Orders for traffic carried out beside the loop: a pass only says what is wanted and goes on.

    submit(order) ─▶ one task per plan: apply or release ─▶ done: rest
                                ▲                          ─▶ waits, fails: again after a while
                                └── the newest order wins ─┘   each change of the outcome wakes the loop

Orders are absolute and their versions only grow, so one that is carried out twice, or late, changes nothing.
Nothing is remembered that the cluster does not store: after a restart the loop submits again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from switchyard.core.cutover.orders import Carried, TrafficOrder
from switchyard.core.cutover.types import Router
from switchyard.engine.backoff import Backoff
from switchyard.engine.ports import Conflict, Denied, Failed
from switchyard.engine.routing import Applied, RouteResult, TrafficRouter

logger = logging.getLogger(__name__)

PlanKey = tuple[str, str]


class TrafficExecutor(Protocol):
    """Carries out what the loop wants of traffic; no method blocks."""

    @property
    def carried(self) -> Mapping[PlanKey, Carried]:
        """What came of the last order of each plan, as far as it is known."""
        ...

    def submit(self, key: PlanKey, order: TrafficOrder) -> None:
        """Carry out the order of a plan, in place of any older one."""
        ...

    def retain(self, wanted: Collection[PlanKey], known: Collection[PlanKey]) -> None:
        """Try no further for plans that are not `wanted`; forget what came of those that are not `known`."""
        ...


@dataclass
class _Errand:
    """The wanted order of one plan, and the task that works on it."""

    order: TrafficOrder
    is_changed: asyncio.Event = field(default_factory=asyncio.Event)
    is_withdrawn: bool = False
    task: asyncio.Task[None] | None = None


@dataclass
class TrafficDesk:
    """The executor over the ways of routing. `wake`: called when an outcome changed."""

    routers: Mapping[Router, TrafficRouter]
    wake: Callable[[], None] = lambda: None
    may_act: Callable[[], bool] = lambda: True
    noticed: Callable[[PlanKey], None] = lambda _key: None  # something was written: worth a look
    deadline_seconds: float = 30.0  # of one attempt
    concurrency: int = 8
    waiting: Backoff = field(default_factory=lambda: Backoff(base_seconds=0.5, ceiling_seconds=5.0))
    failing: Backoff = field(default_factory=lambda: Backoff(base_seconds=1.0, ceiling_seconds=60.0))
    _errands: dict[PlanKey, _Errand] = field(default_factory=dict)
    _carried: dict[PlanKey, Carried] = field(default_factory=dict)
    _free: asyncio.Semaphore | None = None

    @property
    def carried(self) -> Mapping[PlanKey, Carried]:
        """What came of the last order of each plan, as far as it is known."""
        return dict(self._carried)

    def submit(self, key: PlanKey, order: TrafficOrder) -> None:
        """Carry out the order of a plan, in place of any older one; the same one keeps its pace."""
        errand = self._errands.get(key)
        if errand is None or errand.task is None or errand.task.done():
            errand = self._errands[key] = _Errand(order)
            errand.task = asyncio.create_task(self._work(key, errand), name=f"traffic of {'/'.join(key)}")
            return
        errand.is_withdrawn = False
        if errand.order != order:
            errand.order = order
            errand.is_changed.set()

    def retain(self, wanted: Collection[PlanKey], known: Collection[PlanKey]) -> None:
        """Try no further for plans that are not `wanted`; forget what came of those that are not `known`."""
        for key, errand in list(self._errands.items()):
            if key in wanted:
                continue
            errand.is_withdrawn = True
            errand.is_changed.set()
            if errand.task is None or errand.task.done():
                del self._errands[key]
        self._carried = {key: each for key, each in self._carried.items() if key in known}

    async def wait_idle(self) -> None:
        """Come back when nothing is under way."""
        while tasks := [each.task for each in self._errands.values() if each.task and not each.task.done()]:
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """Break off what is under way: the next process goes on."""
        tasks = [each.task for each in self._errands.values() if each.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, key: PlanKey, errand: _Errand) -> None:
        """Until the newest order is carried out, or nobody wants it any more."""
        attempt = 0
        while not errand.is_withdrawn and self.may_act():
            errand.is_changed.clear()
            order = errand.order
            result = await self._carry_out(order)
            self._note(key, order, result)
            if errand.order != order:
                attempt = 0
                continue
            if isinstance(result, Applied) and not result.waiting_for:
                return
            pace = self.waiting if isinstance(result, Applied | Conflict) else self.failing
            await self._pause(errand, pace.delay_seconds(attempt))
            attempt = attempt + 1 if errand.order == order else 0

    async def _pause(self, errand: _Errand, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await errand.is_changed.wait()
        except TimeoutError:
            return

    async def _carry_out(self, order: TrafficOrder) -> RouteResult:
        router = self.routers.get(order.router)
        if router is None:
            return Denied(404, f"the operator has no router {order.router}")
        if self._free is None:
            self._free = asyncio.Semaphore(self.concurrency)
        try:
            async with self._free, asyncio.timeout(self.deadline_seconds):
                if order.release_to:
                    return await router.release(order.plan, order.release_to)
                return await router.apply(order.plan)
        except TimeoutError:
            return Failed(f"router {order.router} did not come to an end in {self.deadline_seconds:g} s")
        except Exception as error:
            logger.exception("moving traffic failed", extra={"workload": "/".join(order.plan.key)})
            return Failed(f"bug: {type(error).__name__}: {error}")

    def _note(self, key: PlanKey, order: TrafficOrder, result: RouteResult) -> None:
        before = self._carried.get(key)
        now = Carried(order, *_describe(result))
        self._carried[key] = now
        self.noticed(key)
        if now != before:
            if now.problem:
                logger.warning(
                    "traffic could not be moved; it is tried again",
                    extra={"plan": "/".join(key), "problem": now.problem},
                )
            self.wake()


def _describe(result: RouteResult) -> tuple[str, str]:
    """What is waited for, and why it was refused."""
    match result:
        case Applied(waiting_for):
            return waiting_for, ""
        case Conflict(message):
            return message, ""  # somebody was faster: looked at and tried again
        case Denied() | Failed():
            return "", result.message
