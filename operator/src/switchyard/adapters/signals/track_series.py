"""What tracks have answered, by the series that a Prometheus keeps of their pods or of proxies before them.

Raw counters as of one moment, never a rate: differences are made where evidence is weighed. How old they are
is asked as well, since a query shows the last sample for minutes after the last scrape.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from switchyard.adapters.signals.bounded_http import NoAnswer
from switchyard.adapters.signals.instant_query import Asker, Series
from switchyard.catalog.signal_presets import Answers, ServiceLabels
from switchyard.core.cutover.orders import TrackWatch
from switchyard.engine.query_templates import escape_pattern, judge_name, select_series
from switchyard.engine.signals import PodRef
from switchyard.engine.track_counts import (
    CountProblem,
    LifeCounts,
    Point,
    Points,
    find_edges,
    list_metrics,
    read_counts,
)

_TARGET = ("job", "instance")  # what tells one scraped place from another


@dataclass(frozen=True, slots=True)
class Aged:
    """Counts as of when they were sampled."""

    counts: LifeCounts
    at: datetime


@dataclass(frozen=True, slots=True)
class _Table:
    """The series of every metric, and when those of the first counter were sampled (Unix seconds)."""

    rows: Mapping[str, Sequence[Series]]
    sampled_at: Sequence[Series]


async def count_pod_series(
    asker: Asker, pods: Sequence[PodRef], answers: Answers, watch: TrackWatch
) -> dict[str, Aged | str]:
    """By uid of the pod what it answered, or why that is not known. Raises NoAnswer and TemplateProblem."""
    prefixes = "|".join(f"{escape_pattern(track)}-.*" for track in sorted(set(watch.tracks.values())))
    table = await _ask(asker, answers, watch, {"namespace": [watch.workload[0]]}, {"pod": prefixes})
    found: dict[str, Aged | str] = {}
    for pod in pods:
        own = _keep(table, {"pod": pod.name})
        targets = {tuple(row.labels.get(each, "") for each in _TARGET) for row in own.sampled_at}
        if len(targets) > 1:
            jobs = ", ".join(sorted(job for job, _ in targets))
            found[pod.uid] = f"{len(targets)} targets tell of it (job {jobs}) where one is wanted"
        else:
            found[pod.uid] = _read(own, answers, watch, asker.now)
    return found


async def count_proxy_series(
    asker: Asker, track: str, identity: ServiceLabels, answers: Answers, watch: TrackWatch
) -> dict[str, Aged | str]:
    """What each proxy says that a track answered, or why that is not known. Raises like the other."""
    match = {str(identity.namespace): [watch.workload[0]], str(identity.name): [track]}
    table = await _ask(asker, answers, watch, match, {})
    proxies = {tuple(row.labels.get(each, "") for each in _TARGET) for row in table.sampled_at}
    return {
        "/".join(proxy): _read(
            _keep(table, dict(zip(_TARGET, proxy, strict=True))), answers, watch, asker.now
        )
        for proxy in sorted(proxies)
    }


async def _ask(
    asker: Asker,
    answers: Answers,
    watch: TrackWatch,
    match: Mapping[str, Sequence[str]],
    patterns: Mapping[str, str],
) -> _Table:
    for names in match.values():
        for name in names:
            judge_name(name)
    metrics = sorted(list_metrics(answers, watch.bounds))
    edges = find_edges(answers, watch.bounds)
    first = answers.counters[0].split(" | ")

    def select(metric: str) -> str:
        is_bucket = metric.endswith("_bucket")
        return select_series(metric, {**match, **({"le": edges} if is_bucket else {})}, patterns)

    async def query(what: str, text: str) -> list[Series]:
        try:
            return await asker.ask(text)
        except NoAnswer as problem:
            raise NoAnswer(f"the query for {what} failed: {problem}") from problem

    jobs = [query(metric, select(metric)) for metric in metrics]
    ages = [query("the age of samples", f"timestamp({select(metric)})") for metric in first]
    found = await asyncio.gather(*jobs, *ages)
    # of the names that a counter had in different versions, the first that is there counts
    sampled_at = next((rows for rows in found[len(jobs) :] if rows), [])
    return _Table(dict(zip(metrics, found[: len(jobs)], strict=True)), sampled_at)


def _keep(table: _Table, labels: Mapping[str, str]) -> _Table:
    def of(rows: Iterable[Series]) -> list[Series]:
        return [row for row in rows if all(row.labels.get(key, "") == each for key, each in labels.items())]

    return _Table({metric: of(rows) for metric, rows in table.rows.items()}, of(table.sampled_at))


def _read(table: _Table, answers: Answers, watch: TrackWatch, now: datetime) -> Aged | str:
    if not table.sampled_at:
        return f"there is no {answers.counters[0].replace(' | ', ' or ')}"
    seconds = min(row.value for row in table.sampled_at)
    age = now.timestamp() - seconds
    if not age <= watch.stale_seconds:  # NaN is stale too
        return f"its newest sample is {age:.0f} s old"
    points: Points = {
        metric: [Point(row.labels, row.value) for row in rows] for metric, rows in table.rows.items() if rows
    }
    try:
        counts = read_counts(answers, points, watch.bounds)
    except CountProblem as problem:
        return str(problem)
    return Aged(counts, datetime.fromtimestamp(min(seconds, now.timestamp()), UTC))
