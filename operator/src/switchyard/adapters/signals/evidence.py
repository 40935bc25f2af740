"""What the gates of cutovers know by metrics: both tracks counted together, and the values of signal gates.

    the world as the watches have it -> ready pods of both tracks -> pages or series -> counts with an epoch

A side of which less than nine tenths of the ready pods can be counted makes the reading none: what the others
say would be taken for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from switchyard.adapters.signals.bounded_http import Bounds, NoAnswer
from switchyard.adapters.signals.gate_queries import ask_gate
from switchyard.adapters.signals.instant_query import open_asker
from switchyard.adapters.signals.track_pages import count_pages
from switchyard.adapters.signals.track_series import Aged, count_pod_series, count_proxy_series
from switchyard.catalog.signal_presets import Answers, SignalPreset, load_signal_presets
from switchyard.core.cutover.orders import SignalQuery, SignalValue, TrackCounts, TrackWatch
from switchyard.core.world import World
from switchyard.engine.ports import Clock, Failed, NotSynced
from switchyard.engine.query_templates import TemplateProblem
from switchyard.engine.settings import MetricSource, OperatorSettings
from switchyard.engine.signals import PodRef, find_pods
from switchyard.engine.track_counts import Lives, add_up, find_uncovered, lower_moment

_QUERY_BOUNDS = Bounds(timeout_seconds=6.0, most_bytes=16 * 1024 * 1024)
_PAGE_BOUNDS = Bounds(timeout_seconds=4.0)


@dataclass(frozen=True, slots=True)
class _Counted:
    """What was found of one arm, by name of the life, and why of others nothing was, by name of the pod."""

    lives: Mapping[str, Aged]
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass
class EvidenceReader:
    """Reads what gates need. One per process: it remembers which counters fell."""

    snapshot: Callable[[datetime], World | NotSynced]
    settings: OperatorSettings
    clock: Clock
    presets: Mapping[str, SignalPreset] = field(default_factory=load_signal_presets)
    page_bounds: Bounds = _PAGE_BOUNDS
    query_bounds: Bounds = _QUERY_BOUNDS
    _lives: dict[tuple[tuple[str, str], str], Lives] = field(default_factory=dict)

    async def count_tracks(self, watch: TrackWatch) -> Mapping[str, TrackCounts] | Failed:
        """What both arms have answered, read together; an arm without a ready pod is left out."""
        now = self.clock.now()
        world = self.snapshot(now)
        if isinstance(world, NotSynced):
            return Failed(f"waiting for {', '.join(world.missing)}")
        workload = next((each for each in world.workloads if each.key == watch.workload), None)
        if workload is None:
            return Failed(f"there is no InferenceWorkload {'/'.join(watch.workload)}")
        preset = self.presets.get(watch.preset)
        if preset is None or preset.answers is None:
            return Failed(self._refuse(watch.preset))
        ready = {
            arm: tuple(
                pod for pod in find_pods(workload, world, preset) if pod.is_ready and pod.track == track
            )
            for arm, track in sorted(watch.tracks.items())
        }
        ready = {arm: pods for arm, pods in ready.items() if pods}
        if not ready:
            return Failed("no pod of either side is ready")
        self._forget_others(world)
        try:
            found = await self._count(ready, preset, preset.answers, watch, now)
        except (NoAnswer, TemplateProblem) as problem:
            return Failed(f"source {watch.source}: {problem}")
        if isinstance(found, Failed):
            return found
        for arm, each in found.items():
            lack = find_uncovered(arm, each.problems, len(each.lives) + len(each.problems))
            if lack:
                return Failed(f"source {watch.source}: {lack}" if watch.source else lack)
        return self._add_up(watch, found)

    async def ask_signals(self, queries: Mapping[str, SignalQuery]) -> Mapping[str, SignalValue]:
        """The value of each query, or why there is none."""
        templates = {each.name: each for each in self.settings.metric_templates}
        now = self.clock.now()

        async def ask(query: SignalQuery) -> SignalValue:
            source = self._find_source(query.source)
            if isinstance(source, Failed):
                return SignalValue(None, source.message)
            async with open_asker(source, self.query_bounds, now) as asker:
                return await ask_gate(asker, query, templates)

        values = await asyncio.gather(*(ask(query) for query in queries.values()))
        return dict(zip(queries, values, strict=True))

    async def _count(
        self,
        ready: Mapping[str, Sequence[PodRef]],
        preset: SignalPreset,
        answers: Answers,
        watch: TrackWatch,
        now: datetime,
    ) -> Mapping[str, _Counted] | Failed:
        pods = [pod for each in ready.values() for pod in each]
        if not watch.source:
            if preset.kind == "service":
                return Failed(
                    f"preset {preset.name} is about a proxy, not about pods: name a metric source of type "
                    "prometheus"
                )
            told = await count_pages(pods, preset, answers, watch, now=now, bounds=self.page_bounds)
            pages = {uid: each if isinstance(each, str) else Aged(each, now) for uid, each in told.items()}
            return {arm: _sort_out(each, pages) for arm, each in ready.items()}
        source = self._find_source(watch.source)
        if isinstance(source, Failed):
            return source
        async with open_asker(source, self.query_bounds, now) as asker:
            if preset.track is None:
                series = await count_pod_series(asker, pods, answers, watch)
                return {arm: _sort_out(each, series) for arm, each in ready.items()}
            found = {}
            for arm in ready:
                track = watch.tracks[arm]
                proxies = await count_proxy_series(asker, track, preset.track, answers, watch)
                problem = next((each for each in proxies.values() if isinstance(each, str)), "")
                if problem or not proxies:
                    told_why = problem or f"there is no {answers.counters[0]}"
                    return Failed(f"source {source.name}: the {arm}, track {track}: {told_why}")
                found[arm] = _Counted(
                    {name: each for name, each in proxies.items() if isinstance(each, Aged)}
                )
            return found

    def _add_up(self, watch: TrackWatch, found: Mapping[str, _Counted]) -> dict[str, TrackCounts]:
        counts = {}
        for arm, each in found.items():
            lives = self._lives.setdefault((watch.workload, arm), Lives())
            by_name = {name: aged.counts for name, aged in each.lives.items()}
            members = lives.name_lives(by_name, (*each.lives, *each.problems))
            counts[arm] = add_up(members, min(aged.at for aged in each.lives.values()))
        return lower_moment(counts)

    def _find_source(self, name: str) -> MetricSource | Failed:
        known = {each.name: each for each in self.settings.metric_sources if each.type == "prometheus"}
        if name in known:
            return known[name]
        names = ", ".join(sorted(known)) or "none"
        return Failed(
            f"the operator's settings have no metric source {name} of type prometheus; there are: {names}"
        )

    def _refuse(self, name: str) -> str:
        telling = ", ".join(sorted(each.name for each in self.presets.values() if each.answers is not None))
        if name in self.presets:
            return f"preset {name} does not tell failed answers from good ones; these do: {telling}"
        if name:
            return f"there is no preset {name}; these tell answers: {telling}"
        return (
            f"no preset says which metrics tell answers: give the workload signals.preset, one of {telling}"
        )

    def _forget_others(self, world: World) -> None:
        known = {each.key for each in world.workloads}
        self._lives = {key: each for key, each in self._lives.items() if key[0] in known}


def _sort_out(pods: Sequence[PodRef], told: Mapping[str, Aged | str]) -> _Counted:
    """One arm's pods: those that were counted, a life each, and those that were not."""
    lives, problems = {}, {}
    for pod in pods:
        each = told[pod.uid]
        if isinstance(each, str):
            problems[pod.name] = each
        else:
            lives[f"{pod.uid}/{pod.restarts}"] = each
    return _Counted(lives, problems)
