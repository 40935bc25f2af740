"""What plans under way see of their traffic, looked at beside the loop, each plan at its own pace.

A look has a deadline of its own and never holds up another; one that fails says why and keeps what support
was known. Samples are read once per interval, what is in force more often while something is awaited. Metrics
have a shorter deadline: where they don't answer, the path is seen all the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from switchyard.core.cutover.orders import EvidenceWatch, SignalValue, TrackCounts, TrafficWatch
from switchyard.core.cutover.types import Router
from switchyard.core.routing.plan import RouteState, Support
from switchyard.core.routing.samples import Samples
from switchyard.core.world import Sight
from switchyard.engine.metric_reader import MetricReader
from switchyard.engine.ports import Clock, Failed
from switchyard.engine.routing import TrafficRouter

logger = logging.getLogger(__name__)

PlanKey = tuple[str, str]

LEAST_SECONDS = 1.0  # between two looks at one plan
UNSETTLED_SECONDS = 2.0
_ANY_TIME = datetime.min.replace(tzinfo=UTC)
_PAST_SECONDS = 0.05  # a reading must not be made before the end of the window that it ends
SUPPORT_SECONDS = 60.0  # what a cluster can do changes when somebody installs something


class SightSource(Protocol):
    """What the loop needs of the observer; no method blocks."""

    @property
    def sights(self) -> Mapping[PlanKey, Sight]:
        """The last sight of each plan that is followed."""
        ...

    def follow(self, watches: Sequence[TrafficWatch]) -> None:
        """Look at these from now on, and at no others."""
        ...


@dataclass
class _Post:
    """One plan that is looked at. Times are of the monotonic clock."""

    watch: TrafficWatch
    due_at: float
    samples_due_at: float
    support_due_at: float
    task: asyncio.Task[None] | None = None

    @property
    def is_busy(self) -> bool:
        return self.task is not None and not self.task.done()


@dataclass(frozen=True, slots=True)
class _Metered:
    """What metrics said; the same fields as of a sight."""

    tracks: Mapping[str, TrackCounts] | None = None
    tracks_problem: str = ""
    signals: Mapping[str, SignalValue] = field(default_factory=dict)


@dataclass
class SightObserver:
    """Looks through the ways of routing. `wake`: called when a sight has news."""

    routers: Mapping[Router, TrafficRouter]
    clock: Clock
    wake: Callable[[], None] = lambda: None
    may_act: Callable[[], bool] = lambda: True
    deadline_seconds: float = 10.0
    concurrency: int = 8
    metrics: MetricReader | None = None
    metrics_seconds: float = 8.0
    _posts: dict[PlanKey, _Post] = field(default_factory=dict)
    _sights: dict[PlanKey, Sight] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def sights(self) -> Mapping[PlanKey, Sight]:
        """The last sight of each plan that is followed."""
        return dict(self._sights)

    def follow(self, watches: Sequence[TrafficWatch]) -> None:
        """Look at these from now on, and at no others. A changed plan is looked at at once."""
        now = self.clock.monotonic_seconds()
        wanted = {watch.key: watch for watch in watches}
        for key in self._posts.keys() - wanted.keys():
            left = self._posts.pop(key)
            if left.task is not None:
                left.task.cancel()
            self._sights.pop(key, None)
        for key, watch in wanted.items():
            post = self._posts.get(key)
            if post is None:
                self._posts[key] = _Post(watch, now, now, now)
                self._changed.set()
            elif post.watch != watch:
                self._adopt(post, watch, now)

    def look_soon(self, key: PlanKey) -> None:
        """Look at this plan next, as far as the least time between two looks allows."""
        post = self._posts.get(key)
        sight = self._sights.get(key)
        if post is None:
            return
        age = (self.clock.now() - sight.at).total_seconds() if sight is not None else LEAST_SECONDS
        soon = self.clock.monotonic_seconds() + max(0.0, LEAST_SECONDS - age)
        if soon < post.due_at:
            post.due_at = soon
            self._changed.set()

    async def run(self) -> None:
        """Never returns."""
        free = asyncio.Semaphore(self.concurrency)
        try:
            while True:
                self._changed.clear()
                now = self.clock.monotonic_seconds()
                for key, post in self._posts.items():
                    if post.due_at <= now and not post.is_busy and self.may_act():
                        post.task = asyncio.create_task(self._look(key, post, free))
                await self._rest(now)
        finally:
            tasks = [post.task for post in self._posts.values() if post.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _rest(self, now: float) -> None:
        idle = [post.due_at for post in self._posts.values() if not post.is_busy]
        seconds = max(0.05, min((due - now for due in idle), default=LEAST_SECONDS))
        try:
            async with asyncio.timeout(min(seconds, LEAST_SECONDS)):
                await self._changed.wait()
        except TimeoutError:
            return

    def _adopt(self, post: _Post, watch: TrafficWatch, now: float) -> None:
        if watch.plan != post.watch.plan or watch.router != post.watch.router:
            post.support_due_at = now
        is_other = (watch.needs_samples, watch.counts_from, watch.evidence) != (
            post.watch.needs_samples,
            post.watch.counts_from,
            post.watch.evidence,
        )
        post.samples_due_at = now if is_other else post.samples_due_at
        post.watch = watch
        post.due_at = min(post.due_at, now)
        self._changed.set()

    async def _look(self, key: PlanKey, post: _Post, free: asyncio.Semaphore) -> None:
        async with free:
            started = self.clock.monotonic_seconds()
            watch = post.watch
            try:
                async with asyncio.timeout(self.deadline_seconds):
                    sight = await self._see(post, watch, started)
            except TimeoutError:
                sight = self._blind(
                    key, f"router {watch.router} gave no answer in {self.deadline_seconds:g} s"
                )
            except Exception as error:
                logger.exception("looking at traffic failed", extra={"plan": "/".join(key)})
                sight = self._blind(key, f"bug: {type(error).__name__}: {error}")
        if self._posts.get(key) is not post:
            return
        if post.watch is watch:
            post.due_at = started + _choose_pause(watch, sight, self.clock.now())
        before = self._sights.get(key)
        self._sights[key] = sight
        self._changed.set()
        if before is None or _essence(sight) != _essence(before):
            self.wake()

    async def _see(self, post: _Post, watch: TrafficWatch, started: float) -> Sight:
        is_due = started >= post.samples_due_at
        sight, metered = await asyncio.gather(
            self._see_path(post, watch, started), self._see_metrics(watch, is_due=is_due)
        )
        return replace(
            sight,
            tracks=metered.tracks,
            tracks_problem=metered.tracks_problem,
            signals=metered.signals,
        )

    async def _see_path(self, post: _Post, watch: TrafficWatch, started: float) -> Sight:
        router = self.routers.get(watch.router)
        if router is None:
            return self._blind(watch.key, f"the operator has no router {watch.router}")
        before = self._sights.get(watch.key)
        support: Support | None = before.support if before is not None else None
        if watch.needs_support and (support is None or started >= post.support_due_at):
            support = await router.supports(watch.plan)
            post.support_due_at = started + SUPPORT_SECONDS
        route = await router.observe(watch.plan)
        samples: tuple[Samples, ...] | None = before.samples if before is not None else None
        problem = route.problem
        if not watch.needs_samples:
            samples = None
        elif started >= post.samples_due_at or samples is None:
            found = await router.read_samples(watch.plan)
            post.samples_due_at = started + _wait_for_window(watch, self.clock.now())
            samples = None if isinstance(found, Failed) else found
            problem = "; ".join(filter(None, (problem, found.message if isinstance(found, Failed) else "")))
        return Sight(self.clock.now(), route, support, samples, problem)

    async def _see_metrics(self, watch: TrafficWatch, *, is_due: bool) -> _Metered:
        """What metrics say, or said when they were asked last."""
        before = self._sights.get(watch.key)
        if watch.evidence is None:
            return _Metered()
        if before is not None and not is_due:
            return _Metered(before.tracks, before.tracks_problem, before.signals)
        if self.metrics is None:
            return _say_unread(watch.evidence, "the operator reads no metrics")
        try:
            async with asyncio.timeout(self.metrics_seconds):
                return await _read_metrics(self.metrics, watch.evidence)
        except TimeoutError:
            return _say_unread(watch.evidence, f"metrics gave no answer in {self.metrics_seconds:g} s")
        except Exception as error:
            logger.exception("reading metrics failed", extra={"plan": "/".join(watch.key)})
            return _say_unread(watch.evidence, f"bug: {type(error).__name__}: {error}")

    def _blind(self, key: PlanKey, problem: str) -> Sight:
        before = self._sights.get(key)
        return Sight(
            self.clock.now(), support=before.support if before is not None else None, problem=problem
        )


async def _read_metrics(reader: MetricReader, watch: EvidenceWatch) -> _Metered:
    signals = reader.ask_signals(watch.signals)
    if watch.counts is None:
        return _Metered(signals=await signals)
    found, values = await asyncio.gather(reader.count_tracks(watch.counts), signals)
    if isinstance(found, Failed):
        return _Metered(None, found.message, values)
    return _Metered(found, "", values)


def _say_unread(watch: EvidenceWatch, problem: str) -> _Metered:
    return _Metered(
        tracks_problem=problem if watch.counts is not None else "",
        signals=dict.fromkeys(watch.signals, SignalValue(None, problem)),
    )


def _choose_pause(watch: TrafficWatch, sight: Sight, now: datetime) -> float:
    interval = _wait_for_window(watch, now)
    route: RouteState | None = sight.route
    is_calm = route is not None and not route.waiting_for and not sight.problem and not watch.is_unsettled
    return interval if is_calm else min(interval, UNSETTLED_SECONDS)


def _wait_for_window(watch: TrafficWatch, now: datetime) -> float:
    """Seconds until just after the present window of evidence ends."""
    interval = max(LEAST_SECONDS, watch.interval_seconds)
    if watch.counts_from is None or watch.counts_from > now:
        return interval
    passed = (now - watch.counts_from).total_seconds() % interval
    return max(LEAST_SECONDS, interval - passed + _PAST_SECONDS)


def _essence(sight: Sight) -> Sight:
    """All of it but the moment."""
    return replace(sight, at=_ANY_TIME)
