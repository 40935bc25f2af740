"""What pods have answered, by the pages of metrics that they serve themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from switchyard.adapters.signals.bounded_http import Bounds, NoAnswer, fetch_text, open_session
from switchyard.adapters.signals.exposition import read_samples
from switchyard.adapters.signals.scrape import build_page_url
from switchyard.catalog.signal_presets import Answers, SignalPreset
from switchyard.core.cutover.orders import TrackWatch
from switchyard.engine.signals import PodRef
from switchyard.engine.track_counts import CountProblem, LifeCounts, Point, list_metrics, read_counts

_SUFFIXES = ("_total", "_bucket", "_count")
_CONNECTIONS = 32

Told = dict[str, LifeCounts | str]  # by uid of the pod: its counts, or why there are none


async def count_pages(
    pods: Sequence[PodRef],
    preset: SignalPreset,
    answers: Answers,
    watch: TrackWatch,
    *,
    now: datetime,
    bounds: Bounds,
) -> Told:
    """What each pod's page says, all of them asked at once."""
    free = asyncio.Semaphore(_CONNECTIONS)
    async with open_session(bounds, connections=_CONNECTIONS) as session:

        async def ask(pod: PodRef) -> LifeCounts | str:
            try:
                async with free:
                    page = await fetch_text(session, build_page_url(pod, preset), bounds)
                return read_counts(answers, _read_page(page, answers, watch, now), watch.bounds)
            except (NoAnswer, CountProblem) as problem:
                return str(problem)

        found = await asyncio.gather(*(ask(pod) for pod in pods))
    return {pod.uid: each for pod, each in zip(pods, found, strict=True)}


def _read_page(page: str, answers: Answers, watch: TrackWatch, now: datetime) -> Mapping[str, list[Point]]:
    """The samples of a page; a family that it declares without any has none. Raises NoAnswer."""
    names = list_metrics(answers, watch.bounds)
    samples, families = read_samples(page, names)
    points: dict[str, list[Point]] = {}
    for name in names:
        if name in samples:
            points[name] = [Point(each.labels, each.value) for each in samples[name]]
        elif name in families or any(name.removesuffix(suffix) in families for suffix in _SUFFIXES):
            points[name] = []
        for each in samples.get(name, ()):
            age = now.timestamp() - float(each.timestamp) if each.timestamp is not None else 0.0
            if age > watch.stale_seconds:
                raise NoAnswer(f"{name} is {age:.0f} s old")
    return points
