"""THE LOOP: gather, decide, write, report. Level-triggered: each pass looks at everything.

    wait for a trigger, a retry or the resync tick
      -> snapshot the watches, our unseen writes over it   nothing before all kinds were listed once
      -> let the advisor look at it                        in the background; its last advice joins the world
      -> decide(world), pure, in a worker thread           the event loop stays free for the watches
      -> write the differences, objects side by side       applies, deletes, status, events, in this order
      -> say what traffic is wanted of plans               each after its status, beside the loop
      -> report

Kill the process after any single write: the next one reaches the same end, because names are
deterministic, writes are absolute and nothing is remembered but what the cluster stores.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from switchyard.core.decisions import Decisions, ObjectDecision
from switchyard.core.world import Child, Refusal, World
from switchyard.engine.advisor import Advisor
from switchyard.engine.backoff import Backoff
from switchyard.engine.debounce import Debounce
from switchyard.engine.own_writes import OwnWrites
from switchyard.engine.ports import (
    Clock,
    ClusterReader,
    ClusterWriter,
    Conflict,
    Decide,
    Denied,
    Failed,
    LoopObserver,
    LoopReport,
    NotSynced,
    ObjectKey,
    WriteResult,
    Written,
)
from switchyard.engine.sights import SightSource
from switchyard.engine.traffic import TrafficExecutor

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How often the loop looks without being asked, and how many writes it has in flight."""

    resync_seconds: float = 60.0
    write_concurrency: int = 16
    # until the first snapshot is complete there is nothing to wait for but the watches
    sync_poll_seconds: float = 0.5
    # a decision that names a moment in the past must not make the loop spin
    soonest_recheck_seconds: float = 1.0


@dataclass
class _Retry:
    """An object whose last write failed: left alone until `due_at` unless what we want of it changes."""

    decision: ObjectDecision
    attempt: int
    due_at: float
    problem: str  # empty for a conflict


@dataclass(frozen=True, slots=True)
class _Step:
    """One effect of an object; `removes` names the child that it deletes."""

    kind: str
    verb: str  # apply | delete | finalizers | status | record
    send: Callable[[], Awaitable[WriteResult]]
    removes: Child | None = None


@dataclass
class Reconciler:
    reader: ClusterReader
    writer: ClusterWriter
    clock: Clock
    decide: Decide
    observer: LoopObserver
    debounce: Debounce = field(default_factory=Debounce)
    settings: LoopSettings = field(default_factory=LoopSettings)
    backoff: Backoff = field(default_factory=lambda: Backoff(base_seconds=1.0, ceiling_seconds=120.0))
    # a conflict is no fault: the echo of the newer object usually comes first and changes the decision
    conflict_backoff: Backoff = field(default_factory=lambda: Backoff(base_seconds=0.2, ceiling_seconds=10.0))
    may_act: Callable[[], bool] = lambda: True  # False once the lease may be another's
    advisor: Advisor | None = None
    traffic: TrafficExecutor | None = None
    sights: SightSource | None = None
    _own_writes: OwnWrites = field(default_factory=OwnWrites)
    _retries: dict[ObjectKey, _Retry] = field(default_factory=dict)
    _refusals: dict[ObjectKey, Refusal] = field(default_factory=dict)
    _failed_passes: int = 0
    _recheck_at: float = float("inf")  # on the monotonic clock

    async def run(self) -> None:
        """Never returns. A pass that fails as a whole is logged, counted and tried again with back-off."""
        self.debounce.trigger()
        while True:
            await self.debounce.wait(self._patience_seconds())
            try:
                finished = await self.run_once()
            except Exception as error:
                logger.exception("a pass of the loop failed; nothing more of it is written")
                self.observer.loop_failed(error)
                await asyncio.sleep(self.backoff.delay_seconds(self._failed_passes))
                self._failed_passes += 1
                self.debounce.trigger()
            else:
                if finished is not None:
                    self._failed_passes = 0

    async def run_once(self) -> LoopReport | None:
        """The report of one pass, or None while the watches are not complete."""
        started_at, start = self.clock.now(), self.clock.monotonic_seconds()
        snapshot = self.reader.snapshot(started_at)
        if isinstance(snapshot, NotSynced):
            self.observer.loop_waits(snapshot.missing)
            await asyncio.sleep(self.settings.sync_poll_seconds)
            self.debounce.trigger()
            return None
        world = replace(
            self._own_writes.overlay(snapshot, start),
            refusals=dict(self._refusals),
            advice=self.advisor.latest if self.advisor else None,
            sights=self.sights.sights if self.sights else {},
            carried=self.traffic.carried if self.traffic else {},
        )
        if self.advisor:
            self.advisor.consider(world)
        decisions = await asyncio.to_thread(self.decide, world)
        self._note_recheck(decisions, world.now, start)
        if self.sights:
            self.sights.follow(decisions.watches)
        writes, failures = await self._write(decisions)
        failures = {**self._settle_traffic(world, decisions), **failures}
        report = LoopReport(
            started_at=started_at,
            duration_seconds=self.clock.monotonic_seconds() - start,
            world=world,
            decisions=decisions,
            writes=writes,
            failures=failures,
        )
        self.observer.loop_finished(report)
        return report

    def _patience_seconds(self) -> float:
        now = self.clock.monotonic_seconds()
        next_retry = min((retry.due_at for retry in self._retries.values()), default=float("inf"))
        wake_at = min(next_retry, self._own_writes.next_expiry_seconds(), self._recheck_at)
        if self.advisor:
            wake_at = min(wake_at, self.advisor.due_at_seconds())
        return max(0.0, min(self.settings.resync_seconds, wake_at - now))

    def _note_recheck(self, decisions: Decisions, now: datetime, now_seconds: float) -> None:
        if decisions.recheck_at is None:
            self._recheck_at = float("inf")
            return
        delay = (decisions.recheck_at - now).total_seconds()
        self._recheck_at = now_seconds + max(self.settings.soonest_recheck_seconds, delay)

    async def _write(
        self, decisions: Decisions
    ) -> tuple[Counter[tuple[str, str, str]], dict[ObjectKey, str]]:
        counts: Counter[tuple[str, str, str]] = Counter()
        free = asyncio.Semaphore(self.settings.write_concurrency)
        wanted = {_key(decision) for decision in decisions.objects}
        self._retries = {key: retry for key, retry in self._retries.items() if key in wanted}
        self._refusals = {key: refusal for key, refusal in self._refusals.items() if key in wanted}

        async def write_one(decision: ObjectDecision) -> None:
            try:
                async with free:
                    await self._write_object(decision, counts)
            except Exception as error:
                # a bug met in one object must not stop the others
                logger.exception("writing an object failed", extra={"object": "/".join(_key(decision))})
                self._hold_back(decision, self.backoff, f"bug: {type(error).__name__}")

        async with asyncio.TaskGroup() as tasks:
            for decision in decisions.objects:
                if not self._is_held_back(decision):
                    tasks.create_task(write_one(decision))
        return counts, {key: retry.problem for key, retry in self._retries.items() if retry.problem}

    def _settle_traffic(self, world: World, decisions: Decisions) -> dict[ObjectKey, str]:
        """Why traffic that is wanted is not moved, by plan; no more is tried of what nobody wants now."""
        if self.traffic is None:
            return {}
        wanted = {(each.namespace, each.name): each for each in decisions.objects if each.traffic}
        self.traffic.retain(wanted.keys(), {plan.key for plan in world.plans})
        return {
            _key(wanted[key]): f"traffic: {carried.problem}"
            for key, carried in self.traffic.carried.items()
            if key in wanted and carried.problem
        }

    def _is_held_back(self, decision: ObjectDecision) -> bool:
        retry = self._retries.get(_key(decision))
        if retry is None or retry.decision != decision:
            return False
        return self.clock.monotonic_seconds() < retry.due_at

    async def _write_object(self, decision: ObjectDecision, counts: Counter[tuple[str, str, str]]) -> None:
        """Send one object's effects in order. The first that fails ends this object's pass."""
        for step in self._steps(decision):
            if not self.may_act():
                return
            result = await step.send()
            counts[step.kind, step.verb, type(result).__name__.lower()] += 1
            match result:
                case Written():
                    self._remember(step, result)
                case Conflict() | Denied() | Failed() if step.verb == "record":
                    # an event tells, it does not act: its loss is counted and nothing waits for it
                    continue
                case Conflict():
                    self._own_writes.forget(_key(decision))
                    self._hold_back(decision, self.conflict_backoff, "")
                    return
                case Denied() | Failed():
                    self._note_refusal(decision, step, result)
                    self._report_failure(decision, step, result)
                    return
        if decision.traffic is not None and self.traffic is not None and self.may_act():
            self.traffic.submit((decision.namespace, decision.name), decision.traffic)
        recovered = self._retries.pop(_key(decision), None)
        if recovered is not None and recovered.problem:
            logger.info("writes go through again", extra={"object": "/".join(_key(decision))})
        if self._refusals.pop(_key(decision), None) is not None:
            self.debounce.trigger()  # the condition that told of it has to go

    def _steps(self, decision: ObjectDecision) -> Iterator[_Step]:
        children = [
            *(
                _Step(str(apply.body.get("kind", "")), "apply", partial(self.writer.apply, apply))
                for apply in decision.applies
            ),
            *(
                _Step(delete.child.kind, "delete", partial(self.writer.delete, delete), delete.child)
                for delete in decision.deletes
            ),
        ]
        told = [_Step("Event", "record", partial(self.writer.record_event, n)) for n in decision.events]
        if decision.finalizers is not None:
            keep = partial(self.writer.write_finalizers, decision.finalizers)
            children.append(_Step(decision.finalizers.kind, "finalizers", keep))
        if decision.status is not None:
            send = partial(self.writer.write_status, decision.status)
            told.insert(0, _Step(decision.status.kind, "status", send))
        # a status tells what was done, so it comes last; one that tells of a refusal can't wait
        yield from (*told, *children) if _key(decision) in self._refusals else (*children, *told)

    def _note_refusal(self, decision: ObjectDecision, step: _Step, result: Denied | Failed) -> None:
        if step.verb != "apply" or not isinstance(result, Denied):
            return
        refusal = Refusal(f"{step.kind}: {result.message}", is_name_taken=result.is_name_taken)
        if self._refusals.get(_key(decision)) != refusal:
            self._refusals[_key(decision)] = refusal
            self.debounce.trigger()  # so that the next pass can say so

    def _remember(self, step: _Step, written: Written) -> None:
        now_seconds = self.clock.monotonic_seconds()
        if step.removes is not None:
            self._own_writes.remember_deleted(step.removes, now_seconds)
        elif written.observed is not None:
            self._own_writes.remember(written.observed, now_seconds)

    def _report_failure(self, decision: ObjectDecision, step: _Step, result: Denied | Failed) -> None:
        problem = f"{step.verb} {step.kind}: {result.message}"
        known = self._retries.get(_key(decision))
        at_least = result.retry_after_seconds if isinstance(result, Failed) else 0.0
        self._hold_back(decision, self.backoff, problem, at_least)
        if known is None or known.problem != problem:
            logger.warning(
                "a write failed; the rest of this object waits",
                extra={"object": "/".join(_key(decision)), "problem": problem},
            )

    def _hold_back(
        self, decision: ObjectDecision, backoff: Backoff, problem: str, at_least_seconds: float = 0.0
    ) -> None:
        key = _key(decision)
        before = self._retries.get(key)
        attempt = 0 if before is None else before.attempt + 1
        delay = max(at_least_seconds, backoff.delay_seconds(attempt))
        due_at = self.clock.monotonic_seconds() + delay
        self._retries[key] = _Retry(decision, attempt, due_at, problem)


def _key(decision: ObjectDecision) -> ObjectKey:
    return (decision.kind, decision.namespace, decision.name)
