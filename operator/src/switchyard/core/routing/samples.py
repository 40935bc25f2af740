"""The samples of a router: what it has counted since its life began, as the tests of a cutover read it.

Everything is cumulative, so that any two readings of one life give a window: `subtract_samples`. The readings
of several workers and pods add up to one: `add_samples`. A life is named by its epoch; where a life ends or
another begins, so does the sum of the epochs, and no window mixes two of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Annotated, Any, Self, TypeVar, dataclass_transform

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError, with_config
from pydantic.alias_generators import to_camel

from switchyard.core.errors import SamplesError
from switchyard.core.routing.cumulative import CountFell, Cumulative, add, subtract

NOISE = "noise"  # the shadow arm on which the baseline answers the same request again

Count = Annotated[int, Field(ge=0)]
Epoch = Annotated[str, Field(pattern=r"^([0-9a-f]{16})?$")]
Hundredths = Annotated[int, Field(ge=0, le=100)]
SignedHundredths = Annotated[int, Field(ge=-100, le=100)]

_EPOCHS = 1 << 64

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def _part(kind: type[T]) -> type[T]:
    """The class as a frozen dataclass with a JSON form. Made without checks: snapshots are taken often."""
    return with_config(alias_generator=to_camel, extra="forbid")(dataclass(frozen=True, slots=True)(kind))


@_part
class Histogram(Cumulative):
    """Counts per bucket: `counts[i]` of values in (edges[i-1], edges[i]], the last of those above all edges.

    Without values it has no edges. The sum is kept in whole microseconds, so that adding is exact.
    """

    edges: tuple[float, ...] = ()
    counts: tuple[Count, ...] = (0,)
    sum_microseconds: Count = 0

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError(
                f"{len(self.edges)} edges and {len(self.counts)} counts; give one count more than edges"
            )

    @property
    def total(self) -> int:
        """All values."""
        return sum(self.counts)

    @property
    def sum_seconds(self) -> float:
        """The sum of all values."""
        return self.sum_microseconds / 1e6

    def count_within(self, seconds: float) -> int:
        """The values of at most this many seconds. Raises KeyError where that is no edge: nobody can tell."""
        if seconds not in self.edges:
            if self.total == 0:
                return 0
            raise KeyError(seconds)
        return sum(self.counts[: self.edges.index(seconds) + 1])

    def plus(self, other: Self) -> Self:
        """Both together, over the edges that both have."""
        if not self.total or not other.total:
            return self if self.total else other
        shared = tuple(edge for edge in self.edges if edge in other.edges)
        counts = map(sum, zip(_regroup(self, shared), _regroup(other, shared), strict=True))
        return type(self)(shared, tuple(counts), self.sum_microseconds + other.sum_microseconds)

    def minus(self, earlier: Self) -> Self:
        """What came since then. Raises CountFell."""
        if not earlier.total:
            return self
        if self.edges != earlier.edges:
            raise CountFell
        counts = tuple(map(subtract, self.counts, earlier.counts))
        if not any(counts):
            return type(self)()
        return type(self)(self.edges, counts, subtract(self.sum_microseconds, earlier.sum_microseconds))


@_part
class Counts:
    """Requests that came to an end, of one arm and stratum.

    `requests`: answered or failed. `failures`: those of them that failed, by class. `cancelled`: the caller
    left first; in no other count. The histograms hold good answers only, so that the share of requests that
    were good within a bound is `latency.count_within(bound) / requests`. A stream that has no time per token
    (one token, or none) is not in `tpot`.
    """

    requests: Count = 0
    failures: Mapping[str, Count] = field(default_factory=dict)
    cancelled: Count = 0
    latency: Histogram = Histogram()
    ttft: Histogram = Histogram()
    tpot: Histogram = Histogram()

    @property
    def failed(self) -> int:
        """Requests that failed, of any class."""
        return sum(self.failures.values())


@_part
class ArmSamples(Cumulative):
    """What one arm did. `strata` is keyed by buckets of prompt and output length: p0o1.

    `failure_run`: failures in a row up to now; `longest_failure_run`: the most there ever were. Of several
    workers, the longest of any: a run is seen by one worker at a time.
    """

    strata: Mapping[str, Counts] = field(default_factory=dict)
    failure_run: Count = 0
    longest_failure_run: Count = 0

    @property
    def ended(self) -> int:
        """Requests that came to any end."""
        return sum(counts.requests + counts.cancelled for counts in self.strata.values())

    def pool(self) -> Counts:
        """The counts of all strata together."""
        return reduce(add, self.strata.values(), Counts())

    def plus(self, other: Self) -> Self:
        """Both together."""
        return type(self)(
            add(self.strata, other.strata),
            max(self.failure_run, other.failure_run),
            max(self.longest_failure_run, other.longest_failure_run),
        )

    def minus(self, earlier: Self) -> Self:
        """What came since then. Raises CountFell."""
        has_grown = subtract(self.longest_failure_run, earlier.longest_failure_run) > 0
        return type(self)(
            subtract(self.strata, earlier.strata),
            self.failure_run,
            self.longest_failure_run if has_grown else self.failure_run,
        )


@_part
class ShadowCounts:
    """What became of the requests drawn for shadowing.

    `sampled`: drawn. `dropped`: not copied after all, by reason. `sent`, `completed`: copies to either
    backend that were begun and that came to an end, good or not.
    """

    sampled: Count = 0
    sent: Count = 0
    completed: Count = 0
    dropped: Mapping[str, Count] = field(default_factory=dict)

    @property
    def in_flight(self) -> int:
        """Copies under way."""
        return self.sent - self.completed


@_part
class Table:
    """The same request on both arms, told apart by which of them did well (McNemar's table)."""

    both_good: Count = 0
    baseline_only_good: Count = 0
    candidate_only_good: Count = 0
    none_good: Count = 0

    @property
    def pairs(self) -> int:
        """All pairs."""
        return self.both_good + self.baseline_only_good + self.candidate_only_good + self.none_good


@_part
class Comparisons:
    """How like the baseline's answer other answers were.

    `scores`: how many had a score of so many hundredths. `mismatches`: compared and judged to differ.
    `incomparable`: could not be compared, so in no other count.
    """

    compared: Count = 0
    incomparable: Count = 0
    mismatches: Count = 0
    scores: Mapping[Hundredths, Count] = field(default_factory=dict)


@_part
class ScoreCounts:
    """What one comparator said of the candidate's answers, and of the baseline's second answers.

    Scores are rounded to hundredths towards the side that is harder on the candidate: its own down, those of
    the noise and the differences up. `differences`: noise score less candidate score, of requests where both
    could be compared; `matches`: of the same requests, which answers matched, the noise run on the baseline's
    side.
    """

    candidate: Comparisons = Comparisons()
    noise: Comparisons = Comparisons()
    differences: Mapping[SignedHundredths, Count] = field(default_factory=dict)
    matches: Table = Table()


@_part
class PairCounts:
    """Requests that both arms answered.

    `failures`: good is an answer without failure. `thresholds`, keyed by metric and seconds (latency:0.25):
    good is an answer without failure and within the bound; pairs where an arm answered well but has no such
    time are left out.
    """

    pairs: Count = 0
    failures: Table = Table()
    thresholds: Mapping[str, Table] = field(default_factory=dict)
    scores: Mapping[str, ScoreCounts] = field(default_factory=dict)


@_part
class SegmentSamples:
    """What happened in one segment.

    `started`: users' requests taken, by arm. `arms`: what became of them. `tunnels`: those that became a
    connection of another protocol (WebSocket) and have ended; in no other count. `shadows`: copies, under
    candidate, noise and, where the users' answers pass elsewhere, baseline. `pairs` is keyed by stratum, that
    of the baseline's answer.
    """

    started: Mapping[str, Count] = field(default_factory=dict)
    arms: Mapping[str, ArmSamples] = field(default_factory=dict)
    tunnels: Mapping[str, Count] = field(default_factory=dict)
    shadows: Mapping[str, ArmSamples] = field(default_factory=dict)
    shadow: ShadowCounts = ShadowCounts()
    pairs: Mapping[str, PairCounts] = field(default_factory=dict)

    def in_flight(self, arm: str) -> int:
        """Users' requests under way on an arm, in a reading since the life began."""
        ended = self.arms[arm].ended if arm in self.arms else 0
        return self.started.get(arm, 0) - ended - self.tunnels.get(arm, 0)

    def pool_pairs(self) -> PairCounts:
        """The pairs of all strata together."""
        return reduce(add, self.pairs.values(), PairCounts())


@_part
class Samples:
    """A reading.

    `version`: the lowest of the routing documents in force. `at`: when the oldest part was read.
    `epoch`: names the life, or the sum of lives, that was counted; empty where nothing was. `refused`:
    requests that the router answered itself, before they had a segment, by status.
    """

    epoch: Epoch = ""
    version: Count | None = None
    at: AwareDatetime | None = None
    segments: Mapping[str, SegmentSamples] = field(default_factory=dict)
    refused: Mapping[int, Count] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The reading in its JSON form, equal for equal readings. Histograms name their edges by index."""
        plain = _ADAPTER.dump_python(self, mode="json", by_alias=True, exclude_defaults=True)
        table: dict[tuple[float, ...], int] = {}
        for histogram in _histograms(plain):
            if "edges" in histogram:
                histogram["edges"] = table.setdefault(tuple(histogram["edges"]), len(table))
        return json.dumps({**plain, "edges": list(table)}, sort_keys=True, separators=(",", ":")).encode()


_ADAPTER: TypeAdapter[Samples] = TypeAdapter(Samples)


def name_threshold(metric: str, seconds: float) -> str:
    """The key of a threshold's table: latency:0.25."""
    return f"{metric}:{float(seconds)!r}".removesuffix(".0")


def parse_samples(text: bytes | str) -> Samples:
    """The reading in a JSON text. Raises SamplesError with one line per problem."""
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SamplesError(f"not JSON: {error}") from None
    if not isinstance(plain, dict):
        raise SamplesError("the reading must be an object")
    try:
        table = plain.pop("edges", [])
        for histogram in _histograms(plain):
            if "edges" in histogram:
                histogram["edges"] = table[histogram["edges"]]
    except (AttributeError, IndexError, KeyError, TypeError):
        raise SamplesError(
            "edges: must be a list of lists, and each histogram's edges an index in it"
        ) from None
    try:
        return _ADAPTER.validate_python(plain)
    except ValidationError as error:
        lines = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise SamplesError("\n".join(lines)) from None


def _histograms(plain: Any) -> list[dict[str, Any]]:
    arms = [
        arm
        for segment in _values(plain, "segments")
        for group in ("arms", "shadows")
        for arm in _values(segment, group)
    ]
    return [
        counts[metric]
        for arm in arms
        for counts in _values(arm, "strata")
        for metric in ("latency", "ttft", "tpot")
        if metric in counts
    ]


def _values(plain: Any, name: str) -> list[Any]:
    return [value for _, value in sorted(plain.get(name, {}).items())]


def add_samples(one: Samples, other: Samples) -> Samples:
    """The readings of two lives as one. Associative and commutative; an empty reading changes nothing.

    Histograms with different edges keep those that both have, where both counts are exact.
    """
    return Samples(
        epoch=_add_epochs(one.epoch, other.epoch),
        version=_lowest(one.version, other.version),
        at=_lowest(one.at, other.at),
        segments=add(one.segments, other.segments),
        refused=add(one.refused, other.refused),
    )


def subtract_samples(later: Samples, earlier: Samples) -> Samples | None:
    """What happened between two readings of one life. None where the lives differ, or a count fell.

    Runs of failures are states and not counts: `failure_run` is that of the later reading,
    `longest_failure_run` the longest that the window is known to have seen.
    """
    if later.epoch != earlier.epoch:
        return None
    try:
        segments = subtract(later.segments, earlier.segments)
        refused = subtract(later.refused, earlier.refused)
    except CountFell:
        return None
    return Samples(later.epoch, later.version, later.at, segments, refused)


def _regroup(histogram: Histogram, edges: tuple[float, ...]) -> tuple[int, ...]:
    if edges == histogram.edges:
        return histogram.counts
    within = [histogram.count_within(edge) for edge in edges]
    return tuple(upper - lower for lower, upper in zip([0, *within], [*within, histogram.total], strict=True))


def _add_epochs(one: str, other: str) -> str:
    if not one or not other:
        return one or other
    return f"{(int(one, 16) + int(other, 16)) % _EPOCHS:016x}"


def _lowest(one: Any, other: Any) -> Any:
    given = [each for each in (one, other) if each is not None]
    return min(given) if given else None
