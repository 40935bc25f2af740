"""Metrics in the sights of plans: as often as samples, and never in the way of seeing the path."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from switchyard.core.cutover.orders import (
    EvidenceWatch,
    SignalQuery,
    SignalValue,
    TrackCounts,
    TrackWatch,
    TrafficWatch,
)
from switchyard.engine.ports import Failed

from .fake_routing import KEY, FakeRouter, traffic_plan, watch
from .fakes import until
from .test_sights import Rig

COUNTS = TrackCounts(10, 1, {}, {}, datetime(2026, 1, 1, tzinfo=UTC), "e")
TRACKS = TrackWatch(("shop", "chat"), {"baseline": "chat-old", "candidate": "chat-new"})
QUERY = SignalQuery("prom", "refused", ("shop", "chat"), "chat-new", 60.0)
BOTH = EvidenceWatch(TRACKS, {"refusals": QUERY})


@dataclass
class FakeMetrics:
    """Answers with `counts` and 0.5 for each query, unless told to hang or to break."""

    counts: Mapping[str, TrackCounts] | Failed = field(default_factory=lambda: {"candidate": COUNTS})
    hangs: bool = False
    breaks: bool = False
    asked: Counter[str] = field(default_factory=Counter)

    async def count_tracks(self, watch: TrackWatch) -> Mapping[str, TrackCounts] | Failed:
        self.asked["tracks"] += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.breaks:
            raise KeyError(watch.preset)
        return self.counts

    async def ask_signals(self, queries: Mapping[str, SignalQuery]) -> Mapping[str, SignalValue]:
        self.asked["signals"] += len(queries)
        return dict.fromkeys(queries, SignalValue(0.5))


def rig(metrics: FakeMetrics | None) -> Rig:
    made = Rig(FakeRouter(in_force=traffic_plan()))
    made.observer.metrics = metrics
    made.observer.metrics_seconds = 0.05
    return made


def metered(evidence: EvidenceWatch | None = BOTH, **changes: object) -> TrafficWatch:
    return watch(interval_seconds=30, needs_samples=True, evidence=evidence, **changes)


def test_metrics_are_read_once_per_interval_also_while_something_is_awaited() -> None:
    metrics = FakeMetrics()
    made = rig(metrics)

    async def body() -> None:
        made.observer.follow([metered(is_unsettled=True)])
        for _ in range(5):
            await made.pass_seconds(2)
        assert made.looks() == 5
        assert metrics.asked == {"tracks": 1, "signals": 1}
        sight = made.observer.sights[KEY]
        assert (sight.tracks, sight.tracks_problem) == ({"candidate": COUNTS}, "")
        assert sight.signals == {"refusals": SignalValue(0.5)}
        await made.pass_seconds(25)
        assert metrics.asked == {"tracks": 2, "signals": 2}

    made.run(body)


def test_another_stage_is_read_at_once_and_one_without_metrics_forgets_them() -> None:
    metrics = FakeMetrics()
    made = rig(metrics)

    async def body() -> None:
        made.observer.follow([metered()])
        await made.pass_seconds(0)
        made.observer.follow([metered(replace(BOTH, signals={}))])
        await made.pass_seconds(0)
        assert metrics.asked == {"tracks": 2, "signals": 1}
        assert made.observer.sights[KEY].signals == {}
        made.observer.follow([metered(None)])
        await made.pass_seconds(0)
        assert made.observer.sights[KEY].tracks is None
        assert metrics.asked == {"tracks": 2, "signals": 1}

    made.run(body)


def test_why_metrics_can_t_be_counted_stands_beside_a_path_that_was_seen() -> None:
    made = rig(FakeMetrics(Failed("source prom: HTTP 503")))

    async def body() -> None:
        made.observer.follow([metered()])
        await made.pass_seconds(0)
        sight = made.observer.sights[KEY]
        assert (sight.tracks, sight.tracks_problem, sight.problem) == (None, "source prom: HTTP 503", "")
        assert sight.signals == {"refusals": SignalValue(0.5)}

    made.run(body)


def test_metrics_that_hang_or_break_leave_the_path_seen() -> None:
    async def look(metrics: FakeMetrics | None, told: str) -> None:
        made = rig(metrics)
        task = asyncio.create_task(made.observer.run())
        made.observer.follow([metered()])
        await until(lambda: KEY in made.observer.sights)
        task.cancel()
        sight = made.observer.sights[KEY]
        assert sight.route is not None
        assert (sight.tracks, sight.problem) == (None, "")
        assert told in sight.tracks_problem
        assert told in sight.signals["refusals"].problem

    asyncio.run(look(FakeMetrics(hangs=True), "metrics gave no answer in 0.05 s"))
    asyncio.run(look(FakeMetrics(breaks=True), "bug: KeyError"))
    asyncio.run(look(None, "the operator reads no metrics"))


def test_new_counts_wake_the_loop_and_the_same_ones_do_not() -> None:
    metrics = FakeMetrics()
    made = rig(metrics)

    async def body() -> None:
        made.observer.follow([metered()])
        await made.pass_seconds(0)
        woken = made.woken
        await made.pass_seconds(30)
        assert (metrics.asked["tracks"], made.woken) == (2, woken)
        metrics.counts = {"candidate": replace(COUNTS, requests=11)}
        await made.pass_seconds(30)
        assert made.woken == woken + 1

    made.run(body)
