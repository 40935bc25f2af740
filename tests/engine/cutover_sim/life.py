"""Processes of the operator over the simulated outside: wired as the real one, ended and begun again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from tests.engine.fakes import Reports
from tests.unit.core.worlds import node as make_node

from switchyard.adapters.projection import project_child, project_plan, project_pool, project_workload
from switchyard.core.cutover.weighing import weigh
from switchyard.core.cutovers import build_cutovers
from switchyard.core.decide import decide
from switchyard.core.decisions import Apply, Delete, EventNote, FinalizerWrite, StatusWrite
from switchyard.core.placement.optimise import Optimiser
from switchyard.core.world import Plan, Pod, Pool, Unreadable, Workload, World
from switchyard.engine.backoff import Backoff
from switchyard.engine.debounce import Debounce
from switchyard.engine.ports import Conflict, WriteResult, Written
from switchyard.engine.reconciler import Reconciler
from switchyard.engine.sights import SightObserver
from switchyard.engine.traffic import TrafficDesk

from .connection import Connection, Refused
from .outside import Outside, is_over
from .parts import GPU, SPACE, Key
from .path import SimPath
from .virtual_time import LoopClock, run_virtually
from .watchdog import check_status

_PROJECTIONS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "AcceleratorPool": project_pool,
    "InferenceWorkload": project_workload,
    "CutoverPlan": project_plan,
}
_projected: dict[int, tuple[Any, Any]] = {}  # bodies are values: each is read once

QUIET_SECONDS = 30.0
RESTART_SECONDS = 3.0


class Steady(Backoff):
    """The longest delays that the real one would draw, so that a run can be repeated."""

    def delay_seconds(self, attempt: int) -> float:
        return min(self.ceiling_seconds, self.base_seconds * self.factor ** min(attempt, 64))


def project(body: Mapping[str, Any]) -> Any:
    known = _projected.get(id(body))
    if known is None or known[0] is not body:
        known = _projected[id(body)] = (body, _PROJECTIONS.get(body["kind"], project_child)(body))
    return known[1]


@dataclass
class SimApi:
    """Reader and writer of the loop."""

    connection: Connection

    def snapshot(self, now: datetime) -> World:
        outside = self.connection.outside
        outside.advance(asyncio.get_running_loop().time())
        shown = [project(body) for _, body in sorted(outside.shown.items(), key=lambda each: each[0][1:])]
        return World(
            now=now,
            pools=tuple(each for each in shown if isinstance(each, Pool)),
            workloads=tuple(each for each in shown if isinstance(each, Workload)),
            plans=tuple(each for each in shown if isinstance(each, Plan)),
            unreadable=tuple(each for each in shown if isinstance(each, Unreadable)),
            children=tuple(each for each in shown if type(each).__name__ == "Child"),
            nodes=tuple(
                make_node(name, pool, count) for name, (pool, count) in sorted(outside.nodes.items())
            ),
            pods=tuple(_read_pod(outside, name) for name in sorted(outside.pods)),
            namespaces={SPACE: {"team": "blue"}},
        )

    async def apply(self, apply: Apply) -> WriteResult:
        body = apply.body
        key = _key(body["kind"], body["metadata"])

        def write(at: Outside) -> Any:
            old = at.objects.get(key)
            if apply.resource_version and (
                old is None or old["metadata"]["resourceVersion"] != apply.resource_version
            ):
                raise Refused(Conflict("changed"))
            return at.apply(body, apply.manager)

        told = body["spec"].get("replicas") if key[0] == "Deployment" else True
        return await self._send(f"apply {key[0]} {key[2]}", write, (f"{key[0]} {key[2]}", told))

    async def delete(self, delete: Delete) -> WriteResult:
        child = delete.child
        key = (child.kind, child.meta.namespace, child.meta.name)

        def write(at: Outside) -> None:
            _guard(at, key, child.meta.resource_version)
            at.drop(key)

        return await self._send(f"delete {key[0]} {key[2]}", write, (f"{key[0]} {key[2]}", None))

    async def write_status(self, write: StatusWrite) -> WriteResult:
        key = (write.kind, write.meta.namespace, write.meta.name)

        def store(at: Outside) -> Any:
            old = _guard(at, key, write.meta.resource_version)
            if write.kind == "CutoverPlan":
                check_status(at, old["status"], write.status)
                at.statuses.append((at.seconds, write.status))
            stored = at.put(key, {**old, "status": write.status})
            if write.kind == "CutoverPlan":
                at.author(at, write.status)
            return stored

        return await self._send(f"status {write.kind}", store)

    async def write_finalizers(self, write: FinalizerWrite) -> WriteResult:
        key = (write.kind, write.meta.namespace, write.meta.name)

        def store(at: Outside) -> Any:
            old = _guard(at, key, write.meta.resource_version)
            if "deletionTimestamp" in old["metadata"] and not write.finalizers:
                at.drop(key)
                return None
            metadata = {**old["metadata"], "finalizers": list(write.finalizers)}
            return at.put(key, {**old, "metadata": metadata})

        return await self._send("finalizers", store, ("finalizers", write.finalizers))

    async def record_event(self, note: EventNote) -> WriteResult:
        return await self._send(f"event {note.kind} {note.reason}: {note.message}", lambda _at: None)

    async def _send(
        self, what: str, do: Callable[[Outside], Any], change: tuple[str, Any] | None = None
    ) -> WriteResult:
        self.connection.begin(what)
        try:
            stored = await self.connection.write(what, do, change)
        except Refused as refused:
            return refused.result
        return Written(project(stored) if stored is not None else None)


@dataclass
class Life:
    """One process."""

    connection: Connection
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        clock = LoopClock()
        self.connection.outside.relist()
        self.debounce = Debounce()
        routers: Any = {"builtin": SimPath(self.connection)}
        self.sights = SightObserver(routers, clock, wake=self.debounce.trigger, may_act=self._may_act)
        self.desk = TrafficDesk(
            routers,
            wake=self.debounce.trigger,
            may_act=self._may_act,
            noticed=self.sights.look_soon,
            waiting=Steady(base_seconds=0.5, ceiling_seconds=5.0),
            failing=Steady(base_seconds=1.0, ceiling_seconds=60.0),
        )
        api = SimApi(self.connection)
        self.reports = Reports()
        self.loop = Reconciler(
            reader=api,
            writer=api,
            clock=clock,
            decide=partial(decide, solver=Optimiser(), cutovers=build_cutovers(weigh)),
            observer=self.reports,
            debounce=self.debounce,
            backoff=Steady(base_seconds=1.0, ceiling_seconds=120.0),
            conflict_backoff=Steady(base_seconds=0.2, ceiling_seconds=10.0),
            may_act=self._may_act,
            traffic=self.desk,
            sights=self.sights,
        )
        self.tasks = [asyncio.create_task(self.loop.run()), asyncio.create_task(self.sights.run())]

    async def end(self) -> None:
        self.connection.is_cut = True
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.desk.close()
        for error in self.reports.failed:
            raise AssertionError("a pass of the loop failed") from error

    def _may_act(self) -> bool:
        return self.connection.is_leading


@dataclass
class Run:
    """The outside with a process on it. `fate`: what happens after the write of a number.

    Beside the fates of a connection, `handover`: the process leads no longer, and another one begins while
    it still runs.
    """

    outside: Outside
    fate: Callable[[int], str] = lambda _number: ""
    most_seconds: float = 900.0
    idle_seconds: float = 0.0  # without any process at the begin
    restart_seconds: float = RESTART_SECONDS
    is_over: Callable[[Outside], bool] = is_over
    on_write: Callable[[Outside], None] = lambda _outside: None
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _handover: asyncio.Event = field(default_factory=asyncio.Event)
    _life: Life | None = None

    def run(self) -> Outside:
        """The outside once it is over. Raises AssertionError where that never comes."""
        _projected.clear()
        run_virtually(self._run(), self.outside.seconds)
        return self.outside

    async def _run(self) -> None:
        nature = asyncio.create_task(self._let_pass())
        over = asyncio.create_task(self._wait_until_over())
        leaving: list[asyncio.Task[None]] = []
        await asyncio.sleep(self.idle_seconds)
        try:
            while not over.done():
                life = self._life = self._begin()
                killed = asyncio.create_task(life.connection.killed.wait())
                handed = asyncio.create_task(self._handover.wait())
                await asyncio.wait({killed, handed, over, *life.tasks}, return_when=asyncio.FIRST_COMPLETED)
                for task in (killed, handed):
                    task.cancel()
                if life.connection.killed.is_set():
                    await life.end()
                    await asyncio.sleep(self.restart_seconds)
                elif self._handover.is_set():
                    self._handover.clear()
                    leaving.append(asyncio.create_task(_let_go(life)))
                else:
                    await life.end()
                    over.result()
        finally:
            self._life = None
            nature.cancel()
            over.cancel()
            await asyncio.gather(*leaving)

    def _begin(self) -> Life:
        connection = Connection(self.outside, moved=self._moved)
        life = Life(connection)
        connection.after_write = partial(self._after_write, life)
        life.start()
        return life

    def _after_write(self, life: Life, number: int) -> str:
        self.on_write(self.outside)
        told = self.fate(number) if life is self._life else ""
        if told == "handover":
            life.connection.is_leading = False
            self._handover.set()
        return told

    async def _let_pass(self) -> None:
        """Time, also while no process runs."""
        loop = asyncio.get_running_loop()
        while True:
            self._moved.clear()
            try:
                async with asyncio.timeout_at(min(self.outside.next_due(), loop.time() + 3600.0)):
                    await self._moved.wait()
            except TimeoutError:
                pass
            if self.outside.advance(loop.time()) and self._life is not None:
                self._life.debounce.trigger()

    async def _wait_until_over(self) -> None:
        begin = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < begin + self.most_seconds:
            await asyncio.sleep(5.0)
            last = self.outside.landed[-1].at if self.outside.landed else 0.0
            if self.is_over(self.outside) and asyncio.get_running_loop().time() - last >= QUIET_SECONDS:
                return
        raise AssertionError(f"not over after {self.most_seconds:g} s: {describe(self.outside)}")


def describe(outside: Outside) -> str:
    """Where it stands, and how it came there."""
    history = [
        f"{each['phase']} {each['reason']}: {each['message']}" for each in outside.status.get("history", ())
    ]
    tail = [f"{each.at:.2f} {each.what[:100]}" for each in outside.landed[-12:]]
    return "\n".join(
        [f"{outside.phase}: {outside.status.get('message')}", *history, *tail, *outside.broken[:5]]
    )


async def _let_go(life: Life) -> None:
    """The process runs on for a while, without the lease."""
    await asyncio.sleep(RESTART_SECONDS)
    await life.end()


def _key(kind: str, metadata: Mapping[str, Any]) -> Key:
    return (kind, metadata.get("namespace", ""), metadata["name"])


def _guard(at: Outside, key: Key, version: str) -> Any:
    old = at.objects.get(key)
    if old is None or old["metadata"]["resourceVersion"] != version:
        raise Refused(Conflict("gone" if old is None else "changed"))
    return old


def _read_pod(outside: Outside, name: str) -> Pod:
    pod = outside.pods[name]
    is_ready = bool(pod.node) and not pod.is_lost and pod.ready_at <= outside.seconds
    phase = "Running" if pod.node else "Pending"
    waits = "" if pod.node else "0 nodes are available"
    return Pod(SPACE, name, f"uid-{name}", pod.marks, pod.node, phase, is_ready, False, {GPU: 1}, waits)
