"""What the gates of a stage need of a reading: few integers, small enough to be remembered in a status.

Everything is cumulative, as in the samples that it is made of: two readings of one life give a window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

from pydantic import TypeAdapter, ValidationError

from switchyard.core.cutover.copies import list_gates
from switchyard.core.cutover.orders import TrackCounts
from switchyard.core.cutover.types import GateStage, Metric, PlanFacts, State
from switchyard.core.routing.cumulative import CountFell, add, subtract
from switchyard.core.routing.document import BASELINE, CANDIDATE
from switchyard.core.routing.samples import (
    ArmSamples,
    Comparisons,
    Counts,
    PairCounts,
    Samples,
    ScoreCounts,
    SegmentSamples,
    ShadowCounts,
    name_threshold,
)

WHOLE = (
    ""  # stands for the segment where counts are of whole tracks, and for the stratum where all are pooled
)

# Beyond these products strata are pooled, and scores kept in steps of a tenth: a status has an end.
_MOST_BOUNDS = 24
_MOST_SCORES = 12


@dataclass(frozen=True, slots=True)
class Cell:
    """Requests of one arm and stratum. `timed`: with a time, or failed; `within`: good within a bound."""

    requests: int = 0
    failed: int = 0
    timed: Mapping[str, int] = field(default_factory=dict)
    within: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SegmentTally:
    """One segment: cells by arm and stratum, matched pairs of all strata, and what became of copies."""

    started: Mapping[str, int] = field(default_factory=dict)
    arms: Mapping[str, Mapping[str, Cell]] = field(default_factory=dict)
    pairs: PairCounts = field(default_factory=PairCounts)
    copies: ShadowCounts = field(default_factory=ShadowCounts)

    def pool(self, arm: str) -> Cell:
        """The cells of an arm together."""
        return reduce(add, self.arms.get(arm, {}).values(), Cell())


@dataclass(frozen=True, slots=True)
class Shape:
    """What is kept of samples: `bounds` by key of threshold, `comparators` by name."""

    stage: GateStage
    segments: tuple[str, ...]
    bounds: Mapping[str, tuple[Metric, float]]
    comparators: tuple[str, ...]
    has_noise: bool
    is_stratified: bool
    score_step: int

    @property
    def name(self) -> str:
        """Equal for shapes whose readings can be told from one another."""
        kept = (self.stage, *self.segments, "", *sorted(self.bounds), *self.comparators)
        return "|".join((*kept, f"{self.has_noise:d}{self.is_stratified:d}{self.score_step}"))


@dataclass(frozen=True, slots=True)
class Reading:
    """The counts at one moment. `runs`: failures in a row on the candidate, now and the most ever."""

    shape: str = ""
    epoch: str = ""
    segments: Mapping[str, SegmentTally] = field(default_factory=dict)
    runs: Mapping[str, tuple[int, int]] = field(default_factory=dict)


_ADAPTER: TypeAdapter[Reading] = TypeAdapter(Reading)


def list_moving(facts: PlanFacts, state: State, stage: GateStage) -> tuple[str, ...]:
    """The segments that a stage judges: in a canary the one that moves, while soaking those that moved."""
    if stage == "canary":
        return tuple(
            each.name
            for index, each in enumerate(facts.segments)
            if index == state.segment_index and not each.stays
        )
    out = {"Stays", "RolledBack"} if stage == "shadow" else {"Stays", "RolledBack", "Baseline"}
    excluded = {each.name for each in state.segments if each.place in out}
    return tuple(each.name for each in facts.segments if not each.stays and each.name not in excluded)


def find_shape(facts: PlanFacts, state: State, stage: GateStage) -> Shape:
    """What the gates of this stage need of its segments."""
    bounds = find_bounds(facts, stage)
    gates = list_gates(facts, state, stage)
    comparators = tuple(gate.comparator_name for gate in gates if gate.kind == "parity")
    segments = list_moving(facts, state, stage)
    return Shape(
        stage=stage,
        segments=segments,
        bounds=bounds,
        comparators=comparators,
        has_noise=facts.shadow.noise_percent > 0,
        is_stratified=len(bounds) * len(segments) <= _MOST_BOUNDS,
        score_step=1 if len(comparators) * len(segments) <= _MOST_SCORES else 10,
    )


def find_bounds(facts: PlanFacts, stage: GateStage) -> dict[str, tuple[Metric, float]]:
    """Metric and seconds of what the latency gates of a stage ask for, by key."""
    return {
        name_threshold(gate.metric, gate.threshold_seconds): (gate.metric, gate.threshold_seconds)
        for gate in facts.gates
        if gate.kind == "latency" and stage in gate.stages
    }


def tally_samples(samples: Samples, shape: Shape) -> tuple[Reading, frozenset[str]]:
    """What is needed of a router's reading, and the keys of bounds that are no bucket edge there."""
    gaps: set[str] = set()
    tallies = {name: _tally_segment(samples.segments.get(name), shape, gaps) for name in shape.segments}
    arms = {
        name: samples.segments[name].shadows if shape.stage == "shadow" else samples.segments[name].arms
        for name in shape.segments
        if name in samples.segments
    }
    runs = {name: _read_run(each.get(CANDIDATE)) for name, each in arms.items()}
    return Reading(shape.name, samples.epoch, tallies, runs), frozenset(gaps)


def tally_tracks(tracks: Mapping[str, TrackCounts], shape: Shape) -> tuple[Reading, frozenset[str]]:
    """What is needed of the counts of whole tracks, and the bounds that a track has no bucket edge for."""
    gaps = {
        key
        for key in shape.bounds
        for each in tracks.values()
        if key not in each.within or key not in each.timed
    }
    kept = sorted(shape.bounds.keys() - gaps)
    cells = {
        arm: {
            WHOLE: Cell(
                each.requests,
                each.failures,
                {key: each.timed[key] for key in kept},
                {key: each.within[key] for key in kept},
            )
        }
        for arm, each in sorted(tracks.items())
    }
    started = {arm: each.requests for arm, each in sorted(tracks.items())}
    epoch = "+".join(f"{arm}={each.epoch}" for arm, each in sorted(tracks.items()))
    whole = {WHOLE: SegmentTally(started=started, arms=cells)}
    return Reading(f"tracks|{shape.name}", epoch, whole), frozenset(gaps)


def subtract_readings(later: Reading, earlier: Reading) -> Reading | None:
    """What happened between two readings; None where lives or shapes differ, or a count fell.

    `runs` has the longest run that the window is known to have seen, twice.
    """
    if (later.shape, later.epoch) != (earlier.shape, earlier.epoch):
        return None
    try:
        segments = subtract(later.segments, earlier.segments)
    except CountFell:
        return None
    runs = {}
    for name, (now, longest) in later.runs.items():
        seen = longest if longest > earlier.runs.get(name, (0, 0))[1] else now
        runs[name] = (seen, seen)
    return replace(later, segments=segments, runs=runs)


def encode_reading(reading: Reading) -> str:
    """The reading as JSON."""
    return _ADAPTER.dump_json(reading, exclude_defaults=True, by_alias=True).decode()


def parse_reading(text: str) -> Reading | None:
    """The reading in a JSON text; None where no such reading can have been written."""
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError:
        return None


def _tally_segment(segment: SegmentSamples | None, shape: Shape, gaps: set[str]) -> SegmentTally:
    if segment is None:
        return SegmentTally()
    arms = {
        arm: _tally_strata(segment.arms[arm].strata, shape, gaps)
        for arm in (BASELINE, CANDIDATE)
        if arm in segment.arms
    }
    needs_pairs = shape.stage == "shadow" or shape.comparators
    return SegmentTally(
        started={arm: count for arm, count in segment.started.items() if arm in (BASELINE, CANDIDATE)},
        arms=arms,
        pairs=_tally_pairs(segment.pool_pairs(), shape) if needs_pairs else PairCounts(),
        copies=segment.shadow if needs_pairs else ShadowCounts(),
    )


def _tally_strata(strata: Mapping[str, Counts], shape: Shape, gaps: set[str]) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for name, counts in sorted(strata.items()):
        cell = _tally_cell(counts, shape.bounds, gaps)
        kept = name if shape.is_stratified else WHOLE
        cells[kept] = add(cells[kept], cell) if kept in cells else cell
    return cells


def _tally_cell(counts: Counts, bounds: Mapping[str, tuple[Metric, float]], gaps: set[str]) -> Cell:
    timed, within = {}, {}
    for key, (metric, seconds) in bounds.items():
        histogram = getattr(counts, metric)
        try:
            within[key] = histogram.count_within(seconds)
        except KeyError:
            gaps.add(key)
            continue
        timed[key] = counts.failed + histogram.total
    return Cell(counts.requests, counts.failed, timed, within)


def _tally_pairs(pairs: PairCounts, shape: Shape) -> PairCounts:
    return PairCounts(
        pairs.pairs,
        pairs.failures,
        {key: table for key, table in pairs.thresholds.items() if key in shape.bounds},
        {
            name: _tally_scores(scores, shape)
            for name, scores in pairs.scores.items()
            if name in shape.comparators
        },
    )


def _tally_scores(scores: ScoreCounts, shape: Shape) -> ScoreCounts:
    candidate, noise = scores.candidate, scores.noise
    return ScoreCounts(
        candidate=Comparisons(
            candidate.compared,
            candidate.incomparable,
            scores={} if shape.has_noise else _regroup(candidate.scores.items(), -shape.score_step),
        ),
        noise=Comparisons(noise.compared, noise.incomparable),
        differences=_regroup(scores.differences.items(), shape.score_step) if shape.has_noise else {},
    )


def _regroup(counts: Iterable[tuple[int, int]], step: int) -> dict[int, int]:
    """The counts in steps of that many hundredths, rounded up; down where the step is below 0."""
    found: dict[int, int] = {}
    for hundredths, count in counts:
        kept = -(-hundredths // step) * step
        found[kept] = found.get(kept, 0) + count
    return found


def _read_run(arm: ArmSamples | None) -> tuple[int, int]:
    return (0, 0) if arm is None else (arm.failure_run, arm.longest_failure_run)
