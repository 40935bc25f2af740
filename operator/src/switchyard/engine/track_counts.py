"""What pods have answered, read from their metrics and added up by track. Pure but for what was seen last.

    samples of a pod -> whole counts -> sum of an arm, with an epoch that names every life in it

A count is whole, or it is none: NaN, a fraction or a metric that is not there is a problem with a name, and
never zero. Differences are made elsewhere, and only between sums of the same lives.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from switchyard.catalog.signal_presets import Answers
from switchyard.core.cutover.orders import TrackCounts
from switchyard.core.cutover.types import Metric

LEAST_COVERAGE = 0.9  # of an arm's ready pods that must have answered

Bounds = Mapping[str, tuple[Metric, float]]


class CountProblem(ValueError):  # noqa: N818 - reads as what is wrong
    """These samples are no counts; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Point:
    """One sample of a metric."""

    labels: Mapping[str, str]
    value: float


Points = Mapping[str, Sequence[Point]]  # by the sample's name; a family without samples has none


@dataclass(frozen=True, slots=True)
class LifeCounts:
    """What one life has answered. `timed`, `within`: as in TrackCounts."""

    good: int = 0
    failed: int = 0
    timed: Mapping[str, int] = field(default_factory=dict)
    within: Mapping[str, int] = field(default_factory=dict)

    def has_fallen(self, before: LifeCounts) -> bool:
        """True where any count is below what it was: counting began anew."""
        return (
            self.good < before.good
            or self.failed < before.failed
            or any(count < before.within.get(key, 0) for key, count in self.within.items())
        )


@dataclass(frozen=True, slots=True)
class Member:
    """One life of an arm: a pod, or a proxy that tells of its pods. `name`: unlike that of any other life."""

    name: str
    counts: LifeCounts


@dataclass
class Lives:
    """How often the counters of each pod or proxy were seen to fall, which no sum would show."""

    _seen: dict[str, tuple[int, LifeCounts]] = field(default_factory=dict)

    def name_lives(self, found: Mapping[str, LifeCounts], expected: Iterable[str]) -> tuple[Member, ...]:
        """What was found as members, each with the number of its life; what is not expected is forgotten."""
        members = []
        for name, counts in sorted(found.items()):
            falls, before = self._seen.get(name, (0, counts))
            falls += counts.has_fallen(before)
            self._seen[name] = (falls, counts)
            members.append(Member(f"{name}#{falls}", counts))
        kept = {*expected, *found}
        self._seen = {name: each for name, each in self._seen.items() if name in kept}
        return tuple(members)


def list_metrics(answers: Answers, bounds: Bounds) -> frozenset[str]:
    """The names of all samples that counting needs."""
    texts = (*answers.counters, *answers.failures.counters)
    histograms = (name for metric, _ in bounds.values() for name in answers.find_histogram(metric))
    counters = (name for text in texts for name in text.split(" | "))
    return frozenset((*counters, *(f"{name}_bucket" for name in histograms)))


def find_edges(answers: Answers, bounds: Bounds) -> tuple[str, ...]:
    """How the edges of the bounds may be written in the label le, with that of all."""
    edges = {round(seconds / answers.scale, 9) for _, seconds in bounds.values()}
    written = {text for edge in edges for text in (f"{edge:g}", f"{edge!r}", f"{edge:.1f}")}
    return ("+Inf", *sorted(text for text in written if float(text) in edges))


def read_counts(answers: Answers, points: Points, bounds: Bounds) -> LifeCounts:
    """What the samples of one life say. Raises CountProblem.

    A bound that is no edge of the buckets is left out. Counters of failures that a label would tell are made
    with the first answer; so once answers are there, they must be too.
    """
    good, failed = _count_answers(answers, points)
    for text in answers.failures.counters:
        found = _find_first(points, text)
        if found is None:
            if good and not answers.failures.is_made_late:
                raise CountProblem(f"there is no {text.replace(' | ', ' or ')}, so failures are not told")
            continue
        rows = [each for each in found if _matches(each, answers.failures.match)]
        has_label = answers.failures.label is not None
        failed += sum(
            _read_whole(text, each) for each in rows if not has_label or answers.failures.holds(each.labels)
        )
    timed, within = {}, {}
    for key, (metric, seconds) in bounds.items():
        times = _count_times(answers, points, metric, seconds)
        if times is None and good:
            continue
        total, kept = times or (0, 0)
        timed[key], within[key] = failed + total, kept
    return LifeCounts(good, failed, timed, within)


def add_up(members: Sequence[Member], at: datetime) -> TrackCounts:
    """The members as one arm; a bound that one of them can't tell is left out."""
    counts = [each.counts for each in members]
    keys = set.intersection(*(set(each.within) for each in counts)) if counts else set()
    lives = "\n".join(sorted(each.name for each in members))
    good, failed = sum(each.good for each in counts), sum(each.failed for each in counts)
    return TrackCounts(
        requests=good + failed,
        failures=failed,
        timed={key: sum(each.timed[key] for each in counts) for key in sorted(keys)},
        within={key: sum(each.within[key] for each in counts) for key in sorted(keys)},
        at=at,
        epoch=hashlib.blake2b(lives.encode(), digest_size=8).hexdigest(),
    )


def find_uncovered(arm: str, problems: Mapping[str, str], ready: int) -> str:
    """Why too few of an arm's ready pods answered to stand for it; empty where enough did.

    `problems`: by name of the pod that did not.
    """
    if ready - len(problems) >= LEAST_COVERAGE * ready:
        return ""
    name, problem = min(problems.items())
    return f"{len(problems)} of {ready} ready pods of the {arm} can't be counted: pod {name}: {problem}"


def lower_moment(counts: Mapping[str, TrackCounts]) -> dict[str, TrackCounts]:
    """Both arms as of the older moment: they were read together, and count as one reading."""
    at = min((each.at for each in counts.values()), default=None)
    return {arm: replace(each, at=at) for arm, each in counts.items()} if at is not None else {}


def _count_answers(answers: Answers, points: Points) -> tuple[int, int]:
    good = failed = 0
    for text in answers.counters:
        found = _find_first(points, text)
        if found is None:
            raise CountProblem(f"there is no {text.replace(' | ', ' or ')}")
        for each in found:
            if not _matches(each, answers.match):
                continue
            count = _read_whole(text, each)
            if answers.failures.holds(each.labels):
                failed += count
            else:
                good += count
    return good, failed


def _count_times(answers: Answers, points: Points, metric: Metric, seconds: float) -> tuple[int, int] | None:
    """Good answers with a time, and those within the bound; None where no bucket ends there."""
    names = answers.find_histogram(metric)
    found = next((points[name] for each in names if (name := f"{each}_bucket") in points), None)
    if not found:
        return None
    series: dict[tuple[tuple[str, str], ...], dict[float, int]] = {}
    for each in found:
        if answers.failures.holds(each.labels) or not _matches_where_told(each, answers.match):
            continue
        labels = tuple(sorted((label, value) for label, value in each.labels.items() if label != "le"))
        buckets = series.setdefault(labels, {})
        buckets[_read_edge(each) * answers.scale] = _read_whole(f"{names[0]}_bucket", each)
    total = kept = 0
    for buckets in series.values():
        if math.inf not in buckets:
            raise CountProblem(f"{names[0]}_bucket has no bucket for all, +Inf")
        total += buckets[math.inf]
        edge = next((each for each in buckets if math.isclose(each, seconds, rel_tol=1e-9)), None)
        if edge is None and buckets[math.inf]:
            return None
        kept += buckets[edge] if edge is not None else 0
    return total, kept


def _find_first(points: Points, text: str) -> Sequence[Point] | None:
    return next((points[name] for name in text.split(" | ") if name in points), None)


def _matches(point: Point, match: Mapping[str, Sequence[str]]) -> bool:
    return all(point.labels.get(label) in values for label, values in match.items())


def _matches_where_told(point: Point, match: Mapping[str, Sequence[str]]) -> bool:
    """Histograms have fewer labels than the counters beside them."""
    return all(point.labels[label] in values for label, values in match.items() if label in point.labels)


def _read_edge(point: Point) -> float:
    try:
        return float(point.labels["le"])
    except (KeyError, ValueError):
        raise CountProblem("a bucket has no edge") from None


def _read_whole(text: str, point: Point) -> int:
    value = point.value
    if not math.isfinite(value) or value < 0 or not float(value).is_integer():
        raise CountProblem(f"{text.replace(' | ', ' or ')} is {value}, which is no count")
    return int(value)
