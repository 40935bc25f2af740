"""Demand and engine windows from a Prometheus server: one query per number for all workloads at once.

Series are told apart by the labels namespace and pod, or by the labels of a proxy; which pod is whose comes
from the cluster. `rate` goes on for a whole window after the last sample, so one more query, for the age of
the samples, says which pods are still measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from switchyard.adapters.signals.bounded_http import Bounds, NoAnswer
from switchyard.adapters.signals.instant_query import (
    BOUNDS,
    Asker,
    Series,
    is_usable,
    open_asker,
    read_single,
)
from switchyard.adapters.signals.pod_tables import PodKey, PodTables, ask_pods
from switchyard.adapters.signals.proxies import measure_services
from switchyard.catalog.signal_presets import SignalPreset
from switchyard.core.learning.sample import EngineSample
from switchyard.engine.query_templates import TemplateProblem, fill_template
from switchyard.engine.settings import MetricSource, MetricTemplate
from switchyard.engine.signals import (
    LEARNING_WINDOW_SECONDS,
    STALE_SECONDS,
    WARM_SECONDS,
    YOUNG_SECONDS,
    Figures,
    Measured,
    Want,
    WorkloadKey,
    combine_terms,
    make_sample,
)

_ROSTER_SECONDS = 3600.0  # a pod that left counts as long as the longest window
_PER_SECOND = {"requestsPerSecond": 1.0, "requestsPerMinute": 1 / 60}


@dataclass
class PrometheusSource:
    """One named source. It remembers pods that left, because their requests still count in a window."""

    source: MetricSource
    presets: Mapping[str, SignalPreset]
    templates: Mapping[str, MetricTemplate] = field(default_factory=dict)
    bounds: Bounds = BOUNDS
    _roster: dict[PodKey, tuple[WorkloadKey, datetime]] = field(default_factory=dict)
    _sampled_at: dict[str, datetime] = field(default_factory=dict)  # by preset

    async def measure(self, wants: Sequence[Want], now: datetime) -> Sequence[Measured]:
        self._call_the_roll(wants, now)
        demands = _group(wants, [i for i, want in enumerate(wants) if want.is_demand], with_window=True)
        lessons = _group(wants, [i for i, want in enumerate(wants) if want.is_learning], with_window=False)
        due = [each for each in lessons if self._is_due(wants[each[0]].signal.preset, now)]
        figures: dict[int, Measured] = {}
        samples: dict[int, tuple[EngineSample, ...]] = {}
        async with open_asker(self.source, self.bounds, now) as asker:
            answers = await asyncio.gather(
                *(self._demand(asker, [wants[i] for i in each]) for each in demands)
            )
            for each, measured in zip(demands, answers, strict=True):
                figures.update(zip(each, measured, strict=True))
            taught = await asyncio.gather(*(self._learn(asker, [wants[i] for i in each]) for each in due))
            for each, found in zip(due, taught, strict=True):
                samples.update(zip(each, found, strict=True))
        return [
            replace(figures.get(index, Measured()), samples=samples.get(index, ()))
            for index in range(len(wants))
        ]

    async def _demand(self, asker: Asker, wants: Sequence[Want]) -> Sequence[Measured]:
        """Figures of workloads that share preset or template, and window."""
        signal = wants[0].signal
        if signal.template:
            return await asyncio.gather(*(self._ask_template(asker, want) for want in wants))
        preset = self.presets.get(signal.preset)
        if preset is None:
            why = f"there is no preset {signal.preset}" if signal.preset else "no preset says which metrics"
            return [Measured(problem=f"{why}: give demand.signal.preset or signals.preset")] * len(wants)
        try:
            if preset.kind == "service":
                found = await measure_services(asker, preset, wants)
            else:
                terms = [term for term in preset.terms() if term.kind in ("counter", "stock")]
                tables = await ask_pods(asker, terms, wants, signal.window_seconds)
                found = [self._add_up(preset, tables, want, asker.now) for want in wants]
        except (NoAnswer, TemplateProblem) as problem:
            found = [Measured(problem=str(problem))] * len(wants)
        return [self._name_source(each) for each in found]

    def _name_source(self, measured: Measured) -> Measured:
        if not measured.problem:
            return measured
        return Measured(problem=f"source {self.source.name}: {measured.problem}")

    def _add_up(self, preset: SignalPreset, tables: PodTables, want: Want, now: datetime) -> Measured:
        """The figures of one workload: the sum over its pods, also those that left within the window."""
        metric = " or ".join(preset.terms()[0].metric)
        if not want.pods:
            return Measured(problem="no pod of the workload runs")
        for pod in want.pods:
            seen_at = tables.seen_at.get((want.workload[0], pod.name))
            is_expected = pod.is_ready and pod.age_seconds(now) >= YOUNG_SECONDS
            if is_expected and (seen_at is None or now.timestamp() - seen_at > STALE_SECONDS):
                return Measured(problem=f"no {metric} of pod {pod.name} within {STALE_SECONDS:.0f} s")
        keys = [key for key, (workload, _) in self._roster.items() if workload == want.workload]
        rates: dict[str, float] = {}
        for name, table in tables.values.items():
            values = [table[key] for key in keys if key in table]
            if values:
                rates[name] = sum(values)
                if not is_usable(rates[name]):
                    return Measured(problem=f"the query for {name} gives {rates[name]}")
        for term in preset.terms():
            if term.name.startswith("requests.") and term.name not in rates:
                return Measured(problem=f"no rate of {' or '.join(term.metric)} over the window yet")
        return Measured(combine_terms(preset, rates, {}))

    async def _learn(self, asker: Asker, wants: Sequence[Want]) -> Sequence[tuple[EngineSample, ...]]:
        """The last minute of each replica, for workloads that share a preset."""
        preset = self.presets.get(wants[0].signal.preset)
        if preset is None or not preset.has_learning:
            return [()] * len(wants)
        try:
            tables = await ask_pods(asker, preset.terms(), wants, LEARNING_WINDOW_SECONDS, with_resets=True)
        except (NoAnswer, TemplateProblem):
            return [()] * len(wants)  # the next minute is as good
        self._sampled_at[preset.name] = asker.now
        return [_sample(preset, tables, want, asker.now) for want in wants]

    async def _ask_template(self, asker: Asker, want: Want) -> Measured:
        template = self.templates.get(want.signal.template)
        if template is None:
            known = ", ".join(sorted(self.templates)) or "none"
            return Measured(
                problem=f"the operator's settings have no template {want.signal.template}; there are: {known}"
            )
        namespace, name = want.workload
        try:
            query = fill_template(
                template.query,
                namespace=namespace,
                workload=name,
                service=name,
                window_seconds=want.signal.window_seconds,
            )
            rate = _read_rate(await asker.ask(query), asker.now)
        except (NoAnswer, TemplateProblem) as problem:
            return self._name_source(Measured(problem=f"template {template.name}: {problem}"))
        return Measured(Figures(requests_per_second=rate * _PER_SECOND[template.unit]))

    def _call_the_roll(self, wants: Sequence[Want], now: datetime) -> None:
        for want in wants:
            for pod in want.pods:
                self._roster[want.workload[0], pod.name] = (want.workload, now)
        self._roster = {
            key: (workload, seen_at)
            for key, (workload, seen_at) in self._roster.items()
            if (now - seen_at).total_seconds() <= _ROSTER_SECONDS
        }

    def _is_due(self, preset: str, now: datetime) -> bool:
        last = self._sampled_at.get(preset)
        return last is None or (now - last).total_seconds() >= LEARNING_WINDOW_SECONDS


def _sample(preset: SignalPreset, tables: PodTables, want: Want, now: datetime) -> tuple[EngineSample, ...]:
    found = []
    for pod in want.pods:
        key = (want.workload[0], pod.name)
        values = {name: table[key] for name, table in tables.values.items() if key in table}
        if not values or not all(is_usable(value) for value in values.values()):
            continue
        kinds = {term.name: term.kind for term in preset.terms()}
        rates = {name: value for name, value in values.items() if kinds[name] in ("counter", "stock")}
        levels = {name: value for name, value in values.items() if kinds[name] in ("gauge", "labels")}
        is_warm = (
            pod.age_seconds(now) >= WARM_SECONDS + LEARNING_WINDOW_SECONDS
            and tables.resets.get(key, 0.0) == 0.0
        )
        sample = make_sample(pod, combine_terms(preset, rates, levels), now, is_warm=is_warm)
        found += [sample] if sample else []
    return tuple(found)


def _read_rate(series: Sequence[Series], now: datetime) -> float:
    """The value of the only series. Raises NoAnswer when it can't be taken for the demand."""
    value = read_single(series, now)
    if value < 0:
        raise NoAnswer(f"the value {value}")
    return value


def _group(wants: Sequence[Want], indices: Sequence[int], *, with_window: bool) -> list[list[int]]:
    """Indices of wants that one set of queries answers."""
    groups: dict[tuple[str, str, float], list[int]] = {}
    for index in indices:
        signal = wants[index].signal
        window_seconds = signal.window_seconds if with_window else LEARNING_WINDOW_SECONDS
        groups.setdefault((signal.preset, signal.template, window_seconds), []).append(index)
    return list(groups.values())
