"""The operator's metrics: counters told by the loop, and per-object gauges read from its last report.

Gauges of objects are made at scrape time from the statuses as last decided. So a series goes with its
object by itself, and a scrape never shows a mixture of two passes.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from switchyard.adapters import metric_catalog as catalog
from switchyard.adapters.audit import WatchAudit
from switchyard.adapters.cutover_metric_catalog import CUTOVER_METRICS
from switchyard.adapters.cutover_metrics import CutoverCounters, plan_samples
from switchyard.adapters.metric_spec import MetricSample, MetricSpec
from switchyard.api import Duration
from switchyard.engine.advisor import AdviceReport
from switchyard.engine.ports import LoopReport

Statuses = Mapping[tuple[str, str, str], Mapping[str, Any]]  # kind, namespace, name -> status as in YAML

_WORKLOAD_CONDITIONS = frozenset(
    {"Ready", "Placed", "ObjectivesMet", "WithinBudget", "Exposed", "SignalsAvailable"}
)
_FAMILIES = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}
_CONDITION_VALUES = {"True": 1.0, "False": 0.0}


class Metrics:
    """A loop observer with a registry of its own."""

    def __init__(self, now_seconds: Callable[[], float] = time.monotonic) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per counter that says when the process started
        self.registry = CollectorRegistry()
        self._now_seconds = now_seconds
        self._last_report: LoopReport | None = None
        self._cutovers = CutoverCounters()
        self.last_finished_at: float | None = None
        self.last_progress_at = now_seconds()
        self.missing: tuple[str, ...] = ()
        self._duration = Histogram(
            catalog.LOOP_DURATION.name,
            catalog.LOOP_DURATION.help,
            buckets=catalog.LOOP_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._loops = self._counter(catalog.LOOPS)
        self._writes = self._counter(catalog.WRITES)
        self._decisions = self._counter(catalog.DECISIONS)
        self._failing = self._gauge(catalog.WRITES_HELD_BACK)
        self._leader = self._gauge(catalog.IS_LEADER)
        self._sources = self._gauge(catalog.SOURCE_UP)
        self._advice_duration = Histogram(
            catalog.ADVICE_DURATION.name,
            catalog.ADVICE_DURATION.help,
            buckets=catalog.LOOP_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._searches = self._counter(catalog.ADVICE_SEARCHES)
        self._gap = self._gauge(catalog.PLACEMENT_GAP)
        self._gap.set(float("nan"))
        self._gauge(catalog.BUILD_INFO).labels(importlib.metadata.version("switchyard")).set(1)
        self._gauge(catalog.LOOP_AGE).set_function(self.loop_age_seconds)
        self.registry.register(_ObjectCollector(self))

    # -- told by the loop

    def loop_finished(self, report: LoopReport) -> None:
        self._last_report = report
        self.missing = ()
        self.last_finished_at = self.last_progress_at = self._now_seconds()
        self._loops.labels("finished").inc()
        self._duration.observe(report.duration_seconds)
        for (kind, verb, result), count in report.writes.items():
            self._writes.labels(kind, verb, result).inc(count)
        self._failing.set(len(report.failures))
        self._cutovers.follow(report.world)
        for decided, count in _count_decisions(report).items():
            self._decisions.labels(decided).inc(count)

    def loop_failed(self, error: BaseException) -> None:
        del error
        self._loops.labels("failed").inc()

    def loop_waits(self, missing: tuple[str, ...]) -> None:
        self.missing = missing
        self.last_progress_at = self._now_seconds()
        self._loops.labels("waiting").inc()

    # -- told by others

    def advice_finished(self, report: AdviceReport) -> None:
        self._advice_duration.observe(report.duration_seconds)
        self._searches.labels("found" if report.advice is not None else "failed").inc()
        if report.advice is not None:
            gap = report.advice.gap_ratio
            self._gap.set(float("nan") if gap is None else gap)

    def follow_leadership(self, may_act: Callable[[], bool]) -> None:
        """Serve at each scrape whether this replica may act at that moment."""
        self._leader.set_function(lambda: float(may_act()))

    def set_source_up(self, source: str, is_up: bool) -> None:  # noqa: FBT001 - the callback of the probe
        self._sources.labels(source).set(1 if is_up else 0)

    def follow_watches(self, audit: WatchAudit) -> None:
        """Serve what the audit knows of the watches."""
        self.registry.register(_WatchCollector(audit, self._now_seconds))

    # -- asked

    def loop_age_seconds(self) -> float:
        """Since the last finished pass; NaN before the first."""
        return float("nan") if self.last_finished_at is None else self._now_seconds() - self.last_finished_at

    def statuses(self) -> Statuses:
        """The status of every pool, workload and plan as of the last pass, written or about to be."""
        return {} if self._last_report is None else statuses_of(self._last_report)

    def object_samples(self) -> Iterator[MetricSample]:
        """Every sample of an object, as of the last pass; ages grow on."""
        report = self._last_report
        if report is None:
            return
        statuses = self.statuses()
        yield from object_samples(statuses)
        yield from self._cutovers.samples()
        now = report.world.now + timedelta(seconds=self.loop_age_seconds())
        for plan in report.world.plans:
            yield from plan_samples(plan, statuses["CutoverPlan", *plan.key], now)

    def render(self) -> bytes:
        """The exposition in the Prometheus text format."""
        return generate_latest(self.registry)

    def _counter(self, spec: MetricSpec) -> Counter:
        return Counter(spec.name, spec.help, spec.labels, registry=self.registry)

    def _gauge(self, spec: MetricSpec) -> Gauge:
        return Gauge(spec.name, spec.help, spec.labels, registry=self.registry)


def statuses_of(report: LoopReport) -> Statuses:
    """Each object's status: the decided one where it changes, else the stored one."""
    world = report.world
    stored: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    kinds = (
        ("AcceleratorPool", world.pools),
        ("InferenceWorkload", world.workloads),
        ("CutoverPlan", world.plans),
    )
    for kind, items in kinds:
        for item in items:
            status: Any = item.status
            plain = status if isinstance(status, Mapping) else status.model_dump(mode="json", by_alias=True)
            stored[kind, item.meta.namespace, item.meta.name] = plain
    for decision in report.decisions.objects:
        key = (decision.kind, decision.namespace, decision.name)
        if decision.status is not None and key in stored:
            stored[key] = decision.status.status
    return stored


def object_samples(statuses: Statuses) -> Iterator[MetricSample]:
    """Every sample of pools and workloads in the statuses: metric, label values, value."""
    for (kind, namespace, name), status in statuses.items():
        if kind == "AcceleratorPool":
            yield from _pool_samples(name, status)
        elif kind == "InferenceWorkload":
            yield from _workload_samples((namespace, name), status)


def _pool_samples(name: str, status: Mapping[str, Any]) -> Iterator[MetricSample]:
    for state, count in (status.get("devices") or {}).items():
        if count is not None:
            yield catalog.POOL_DEVICES, (name, state), float(count)
    cost = (status.get("cost") or {}).get("devicePerHour")
    if cost is not None:
        yield catalog.POOL_COST, (name,), float(cost)
    if status.get("wastePerHour") is not None:
        yield catalog.POOL_WASTE, (name,), float(status["wastePerHour"])
    back_off = status.get("backOff")
    if back_off:
        yield catalog.POOL_BACK_OFF, (name, str(back_off["reason"])), float(back_off.get("failures") or 0)
    for condition, value in _conditions(status):
        yield catalog.POOL_CONDITION, (name, condition), value


def _workload_samples(key: tuple[str, str], status: Mapping[str, Any]) -> Iterator[MetricSample]:
    placements = status.get("placements") or ()
    if status.get("costPerHour") is not None:
        yield catalog.WORKLOAD_COST, key, float(status["costPerHour"])
    yield catalog.WORKLOAD_DESIRED, key, float(status.get("replicas") or 0)
    yield catalog.WORKLOAD_READY, key, float(status.get("readyReplicas") or 0)
    devices: Tally[tuple[str, str]] = Tally()
    for placement in placements:
        devices[placement["variant"], placement["pool"]] += int(placement.get("devices") or 0)
    for (variant, pool), count in devices.items():
        yield catalog.WORKLOAD_DEVICES, (*key, variant, pool), float(count)
    rejected = Tally(str(candidate["reason"]) for candidate in status.get("rejected") or ())
    for reason, count in rejected.items():
        yield catalog.WORKLOAD_REJECTED, (*key, reason), float(count)
    demand, recommendation = status.get("demand"), status.get("recommendation")
    if demand:
        rate = float(demand.get("requestsPerSecond") or 0)
        yield catalog.WORKLOAD_DEMAND, (*key, str(demand.get("source") or "Planned")), rate
    if recommendation and recommendation.get("settled"):
        yield catalog.RECOMMENDATION_SAVING, key, float(recommendation.get("savingPerHour") or 0)
        payback = Duration(recommendation.get("payback") or "0s")
        yield catalog.RECOMMENDATION_PAYBACK, key, payback.seconds
    for condition, value in _conditions(status):
        if condition in _WORKLOAD_CONDITIONS:
            yield catalog.WORKLOAD_CONDITION, (*key, condition), value


def _conditions(status: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for condition in status.get("conditions") or ():
        yield str(condition["type"]), _CONDITION_VALUES.get(str(condition["status"]), float("nan"))


def _count_decisions(report: LoopReport) -> Tally[str]:
    counts: Tally[str] = Tally()
    for decision in report.decisions.objects:
        counts["apply"] += len(decision.applies)
        counts["delete"] += len(decision.deletes)
        counts["status"] += decision.status is not None
        counts["event"] += len(decision.events)
    return counts


@dataclass(eq=False)  # a registry keeps collectors by identity
class _ObjectCollector(Collector):
    metrics: Metrics

    def collect(self) -> Iterable[Metric]:
        families: dict[MetricSpec, CounterMetricFamily | GaugeMetricFamily] = {
            spec: _FAMILIES[spec.type](spec.name, spec.help, labels=spec.labels)
            for spec in (*catalog.OBJECT_METRICS, *CUTOVER_METRICS)
        }
        for spec, labels, value in self.metrics.object_samples():
            families[spec].add_metric(labels, value)
        return families.values()


@dataclass(eq=False)  # a registry keeps collectors by identity
class _WatchCollector(Collector):
    audit: WatchAudit
    now_seconds: Callable[[], float]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        def family(spec: MetricSpec) -> GaugeMetricFamily:
            return GaugeMetricFamily(spec.name, spec.help, labels=spec.labels)

        now, stale_kinds = self.now_seconds(), self.audit.stale_kinds()
        event_age, stale = family(catalog.WATCH_EVENT_AGE), family(catalog.WATCH_STALE)
        verified_age = family(catalog.WATCH_VERIFIED_AGE)
        for resource in self.audit.memory.watched:
            labels, plural = [resource.kind], resource.plural
            last_event = self.audit.memory.last_event_seconds.get(plural)
            listed_at = self.audit.states[plural].listed_at
            if last_event is not None:
                event_age.add_metric(labels, now - last_event)
            stale.add_metric(labels, float(plural in stale_kinds))
            verified_age.add_metric(labels, float("nan") if listed_at is None else now - listed_at)
        return (event_age, stale, verified_age)
