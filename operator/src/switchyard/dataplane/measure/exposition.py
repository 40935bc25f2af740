"""The router's samples in the Prometheus text format 0.0.4."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Literal

from switchyard.core.routing.document import BASELINE, CANDIDATE, Measure
from switchyard.core.routing.samples import (
    NOISE,
    ArmSamples,
    Counts,
    Histogram,
    Samples,
    SegmentSamples,
    Table,
)
from switchyard.dataplane.exchange import FAILURES
from switchyard.dataplane.measure import families
from switchyard.dataplane.measure.families import ROUTER_FAMILIES, Family

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_BOUNDS = 20
SCORE_BOUNDS_HUNDREDTHS = (0, 25, 50, 75, 80, 85, 90, 95, 97, 98, 99, 100)

Labels = tuple[str, ...]
Line = tuple[str, Labels, float]  # suffix of the name, values of the labels, value
_Bounds = tuple[tuple[float, int], ...]  # upper bound of a bucket, count up to it

_Metric = Literal["latency", "ttft", "tpot"]
_READERS: Mapping[_Metric, Callable[[Counts], Histogram]] = {
    "latency": lambda counts: counts.latency,
    "ttft": lambda counts: counts.ttft,
    "tpot": lambda counts: counts.tpot,
}


def render_metrics(samples: Samples, measure: Measure) -> str:
    """The text to be scraped. `measure`: that of the document in force, whose thresholds become buckets."""
    lines: dict[Family, list[Line]] = {family: [] for family in ROUTER_FAMILIES}
    lines[families.CONFIG_VERSION].append(("", (), -1 if samples.version is None else samples.version))
    if samples.epoch:
        lines[families.EPOCH].append(("", (samples.epoch,), 1))
    for status, count in sorted(samples.refused.items()):
        lines[families.REFUSED].append(("", (str(status),), count))
    for name, segment in samples.segments.items():
        _describe_users(lines, name, segment, measure)
        _describe_shadow(lines, name, segment, measure)
        _describe_pairs(lines, name, segment)
    return "".join(write_family(family, lines[family]) for family in ROUTER_FAMILIES)


def choose_bounds(edges: tuple[float, ...], thresholds: Iterable[float]) -> tuple[float, ...]:
    """At most MAX_BOUNDS of the edges, every threshold among them and the last edge.

    Depends on its arguments alone, never on what was counted: a series keeps its buckets for a life.
    """
    kept = {each for each in thresholds if each in edges}
    others = [edge for edge in edges if edge not in kept]
    room = MAX_BOUNDS - len(kept)
    if others and room > 0:
        kept.update(others[:: -math.ceil(len(others) / room)])
    return tuple(sorted(kept))


def _describe_users(
    lines: dict[Family, list[Line]], name: str, segment: SegmentSamples, measure: Measure
) -> None:
    for arm in (BASELINE, CANDIDATE):
        arm_samples = segment.arms.get(arm, ArmSamples())
        pooled = arm_samples.pool()
        lines[families.REQUESTS] += _outcomes((name, arm), pooled)
        lines[families.IN_FLIGHT].append(("", (name, arm), segment.in_flight(arm)))
        lines[families.TUNNELS].append(("", (name, arm), segment.tunnels.get(arm, 0)))
        lines[families.FAILURE_RUN].append(("", (name, arm), arm_samples.failure_run))
        metrics: tuple[tuple[Family, _Metric], ...] = (
            (families.DURATION, "latency"),
            (families.FIRST_TOKEN, "ttft"),
            (families.OUTPUT_TOKEN, "tpot"),
        )
        for family, metric in metrics:
            lines[family] += _times((name, arm), pooled, metric, measure)


def _describe_shadow(
    lines: dict[Family, list[Line]], name: str, segment: SegmentSamples, measure: Measure
) -> None:
    shadow = segment.shadow
    lines[families.SHADOW_SAMPLED].append(("", (name,), shadow.sampled))
    lines[families.SHADOW_IN_FLIGHT].append(("", (name,), shadow.in_flight))
    for reason, count in sorted(shadow.dropped.items()):
        lines[families.SHADOW_DROPPED].append(("", (name, reason), count))
    for arm, arm_samples in segment.shadows.items():
        pooled = arm_samples.pool()
        lines[families.SHADOW_REQUESTS] += _outcomes((name, arm), pooled)
        lines[families.SHADOW_DURATION] += _times((name, arm), pooled, "latency", measure)


def _describe_pairs(lines: dict[Family, list[Line]], name: str, segment: SegmentSamples) -> None:
    pooled = segment.pool_pairs()
    lines[families.PAIRS] += _results((name,), pooled.failures)
    for threshold, table in pooled.thresholds.items():
        lines[families.THRESHOLD_PAIRS] += _results((name, threshold), table)
    for comparator, scores in pooled.scores.items():
        for arm, comparisons in ((CANDIDATE, scores.candidate), (NOISE, scores.noise)):
            labels = (name, comparator, arm)
            matches = comparisons.compared - comparisons.mismatches
            lines[families.COMPARISONS] += [
                ("", (*labels, "match"), matches),
                ("", (*labels, "mismatch"), comparisons.mismatches),
                ("", (*labels, "incomparable"), comparisons.incomparable),
            ]
            bounds = tuple(
                (bound / 100, sum(count for score, count in comparisons.scores.items() if score <= bound))
                for bound in SCORE_BOUNDS_HUNDREDTHS
            )
            total = sum(score * count for score, count in comparisons.scores.items()) / 100
            lines[families.SCORES] += _buckets(labels, bounds, comparisons.compared, total)


def _outcomes(labels: Labels, counts: Counts) -> list[Line]:
    outcomes: dict[str, int] = {
        "good": counts.requests - counts.failed,
        "cancelled": counts.cancelled,
        **dict.fromkeys(FAILURES, 0),
        **counts.failures,
    }
    return [("", (*labels, outcome), count) for outcome, count in outcomes.items()]


def _results(labels: Labels, table: Table) -> list[Line]:
    return [
        ("", (*labels, result), getattr(table, result))
        for result in ("both_good", "baseline_only_good", "candidate_only_good", "none_good")
    ]


def _times(labels: Labels, counts: Counts, metric: _Metric, measure: Measure) -> list[Line]:
    histogram = _READERS[metric](counts)
    thresholds = [each.seconds for each in measure.thresholds if each.metric == metric]
    within = dict(zip(histogram.edges, accumulate(histogram.counts), strict=False))
    chosen = choose_bounds(histogram.edges or measure.edges(metric), thresholds)
    bounds = tuple((bound, within.get(bound, 0)) for bound in chosen)
    return _buckets(labels, bounds, histogram.total, histogram.sum_seconds)


def _buckets(labels: Labels, bounds: _Bounds, total: int, sum_of_all: float) -> list[Line]:
    buckets: list[Line] = [("_bucket", (*labels, _show(bound)), count) for bound, count in bounds]
    return [
        *buckets,
        ("_bucket", (*labels, "+Inf"), total),
        ("_sum", labels, sum_of_all),
        ("_count", labels, total),
    ]


def write_family(family: Family, lines: Iterable[Line]) -> str:
    """A family and its lines as text."""
    text = [f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.type}\n"]
    for suffix, values, value in lines:
        names = (*family.labels, "le") if suffix == "_bucket" else family.labels
        labels = ",".join(f'{name}="{_escape(each)}"' for name, each in zip(names, values, strict=True))
        text.append(f"{family.name}{suffix}{{{labels}}} {_show(value)}\n")
    return "".join(text)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _show(value: float) -> str:
    return repr(value).removesuffix(".0")
