"""The task that asks for measurements at a steady pace and wakes the loop when one is news.

    every tick: the world as the watches have it -> wants, by source -> answers -> Outside -> news? wake

It only asks while this replica may act: a standby would double the load on everything that is asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from switchyard.adapters.signals.bounded_http import NoAnswer
from switchyard.adapters.signals.opencost import PriceSource, keep_prices, price_pools
from switchyard.adapters.signals.prometheus import PrometheusSource
from switchyard.adapters.signals.scrape import PodScraper
from switchyard.catalog import load_catalog
from switchyard.catalog.signal_presets import SignalPreset, load_signal_presets
from switchyard.core.placement.reading import read_pool
from switchyard.core.world import Pool, SignalReading, World
from switchyard.engine.learner import Learner
from switchyard.engine.ports import Clock, NotSynced
from switchyard.engine.settings import MetricSource, OperatorSettings
from switchyard.engine.signals import (
    Measured,
    Outside,
    SignalSource,
    Want,
    WorkloadKey,
    find_wants,
    is_news,
    update_reading,
)

logger = logging.getLogger(__name__)

# names that no source can have
PODS = ""  # the pods themselves
PRICES = "*prices"
PRICE_INTERVAL_SECONDS = 300.0
_TICKS_PER_INTERVAL = 4


@dataclass
class _Pace:
    """When something was done last, and how often it is."""

    interval_seconds: float
    done_at: float = float("-inf")

    def is_due(self, now_seconds: float) -> bool:
        return now_seconds - self.done_at >= self.interval_seconds


@dataclass
class SignalCollector:
    snapshot: Callable[[datetime], World | NotSynced]
    settings: OperatorSettings
    outside: Outside
    clock: Clock
    wake: Callable[[], None]
    may_act: Callable[[], bool] = lambda: True
    learner: Learner = field(default_factory=Learner)
    presets: Mapping[str, SignalPreset] = field(default_factory=load_signal_presets)
    _sources: dict[str, SignalSource] = field(default_factory=dict)
    _paces: dict[str, _Pace] = field(default_factory=dict)
    _prices: PriceSource | None = None
    _price_pace: _Pace = field(default_factory=lambda: _Pace(PRICE_INTERVAL_SECONDS))
    _price_problem: str = ""
    _told: dict[WorkloadKey, SignalReading] = field(default_factory=dict)  # last news

    def __post_init__(self) -> None:
        """Build a client per source."""
        usual = self.settings.signal_interval.seconds
        templates = {template.name: template for template in self.settings.metric_templates}
        self._sources[PODS] = PodScraper(self.presets)
        self._paces[PODS] = _Pace(usual)
        for source in self.settings.metric_sources:
            if source.type == "prometheus":
                self._sources[source.name] = PrometheusSource(source, self.presets, templates)
                self._paces[source.name] = _Pace(source.interval.seconds if source.interval else usual)
        priced = self._price_source()
        if priced is not None:
            self._prices = PriceSource(priced)
            is_own = priced.type == "opencost" and priced.interval is not None
            own = priced.interval.seconds if is_own and priced.interval else PRICE_INTERVAL_SECONDS
            self._price_pace = _Pace(own)

    async def run(self) -> None:
        """Collect for ever, each source by itself: one that hangs holds up no other."""
        async with asyncio.TaskGroup() as tasks:
            for name, pace in (*self._paces.items(), (PRICES, self._price_pace)):
                tasks.create_task(self._run_one(name, pace))

    async def _run_one(self, name: str, pace: _Pace) -> None:
        while True:
            if self.may_act():
                try:
                    await self.collect((name,))
                except Exception:
                    # a bug met in one look must not end the others, nor the process
                    logger.exception("measuring failed; the last figures stay", extra={"source": name})
            await asyncio.sleep(max(0.25, pace.interval_seconds / _TICKS_PER_INTERVAL))

    async def collect(self, only: Collection[str] = ()) -> None:
        """Ask every source whose time has come, or of these only."""
        now_seconds = self.clock.monotonic_seconds()
        asked = only or (*self._paces, PRICES)
        due = [name for name in asked if name != PRICES and self._paces[name].is_due(now_seconds)]
        is_price_due = PRICES in asked and self._prices is not None and self._price_pace.is_due(now_seconds)
        if not due and not is_price_due:
            return
        now = self.clock.now()
        world = self.snapshot(now)
        if isinstance(world, NotSynced):
            return
        for name in due:
            self._paces[name].done_at = now_seconds
        wants = find_wants(world, self.presets)
        jobs = [self._ask_source(name, wants, world, now) for name in due]
        if is_price_due:
            self._price_pace.done_at = now_seconds
            jobs.append(self._ask_prices(world, now))
        news = await asyncio.gather(*jobs)
        news.append(self._refuse_unknown_sources(wants, now))
        self._forget_others(wants)
        if any(news):
            self.wake()

    async def _ask_source(self, name: str, wants: Sequence[Want], world: World, now: datetime) -> bool:
        """Measure what is asked of one source; True when something of it is news."""
        own = [want for want in wants if want.signal.source == name]
        answers = await self._sources[name].measure(own, now) if own else ()
        news = [
            self._take_reading(want.workload, answer, now)
            for want, answer in zip(own, answers, strict=True)
            if want.is_demand
        ]
        samples = {
            want.workload: answer.samples
            for want, answer in zip(own, answers, strict=True)
            if want.is_learning and answer.samples
        }
        if samples:
            learned = await asyncio.to_thread(self.learner.learn, world, samples, now)
            news.append(any(self.outside.learned.get(key) != found for key, found in learned.items()))
            self.outside.learned.update(learned)
        return any(news)

    def _take_reading(self, key: WorkloadKey, measured: Measured, now: datetime) -> bool:
        if measured.is_waiting:
            return False  # no word is better than one that stands for a minute
        before = self.outside.signals.get(key)
        after = update_reading(before, measured, now)
        self.outside.signals[key] = after
        _log_change(key, before, after)
        if not is_news(self._told.get(key), after):
            return False
        self._told[key] = after
        return True

    def _refuse_unknown_sources(self, wants: Sequence[Want], now: datetime) -> bool:
        news = []
        for want in wants:
            name = want.signal.source
            if want.is_demand and name not in self._sources:
                known = ", ".join(sorted(set(self._sources) - {PODS})) or "none"
                problem = (
                    f"the operator's settings have no metric source {name} of type prometheus; "
                    f"there are: {known}"
                )
                news.append(self._take_reading(want.workload, Measured(problem=problem), now))
        return any(news)

    def _forget_others(self, wants: Sequence[Want]) -> None:
        measured = {want.workload for want in wants if want.is_demand}
        learned = {want.workload for want in wants if want.is_learning}
        for key in self.outside.signals.keys() - measured:
            del self.outside.signals[key]
            self._told.pop(key, None)
        for key in self.outside.learned.keys() - learned:
            del self.outside.learned[key]
        self.learner.forget_others(learned)

    async def _ask_prices(self, world: World, now: datetime) -> bool:
        """Prices of pools; those in place stay when none come, with the moment when they were true."""
        if self._prices is None:
            return False
        name = self._prices.source.name
        try:
            by_node = await self._prices.fetch(now)
        except NoAnswer as problem:
            if str(problem) != self._price_problem:
                logger.warning(
                    "prices are missing; the last ones stay", extra={"source": name, "problem": str(problem)}
                )
            self._price_problem = str(problem)
            return False
        self._price_problem = ""
        found = price_pools(by_node, world.nodes, _find_selectors(world.pools), name, now)
        kept, is_changed = keep_prices(self.outside.prices, found, now)
        self.outside.prices.clear()
        self.outside.prices.update(kept)
        return is_changed

    def _price_source(self) -> MetricSource | None:
        prices = self.settings.prices
        if prices is None:
            return None
        return next(each for each in self.settings.metric_sources if each.name == prices.source)


def _find_selectors(pools: Sequence[Pool]) -> dict[str, tuple[Mapping[str, str], ...]]:
    catalog, found = load_catalog(), {}
    for pool in pools:
        try:
            found[pool.meta.name] = tuple(read_pool(pool, catalog).selectors)
        except Exception:  # noqa: BLE001, S112  (the loop reads it as well, and says what is wrong with it)
            continue
    return found


def _log_change(key: WorkloadKey, before: SignalReading | None, after: SignalReading) -> None:
    was_missing = before is None or bool(before.problem)
    if after.problem and (before is None or before.problem != after.problem):
        logger.warning("a signal is missing", extra={"object": "/".join(key), "problem": after.problem})
    elif not after.problem and was_missing:
        logger.info("a signal came", extra={"object": "/".join(key)})
