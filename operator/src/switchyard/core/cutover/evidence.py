"""When a window of evidence closes, and what is in it: no request counts twice, and none of another stage.

    stage confirmed ── settle, one interval ──┬── window ──┬── window ──┬─ ...
                       readings only rebase   instants: stage_since + k intervals

A window ends with the first reading at or past an instant. Its counts are what came since the reading that is
remembered; index, instant and counts are remembered in one write with the evidence made of them, so that a
restart repeats the window or goes on behind it. A window is dropped, neither pass nor fail, when lives of the
routers began or ended in it, a count fell, a router followed an older document, or nobody looked for more
than three intervals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import reduce

from switchyard.core.cutover.judging import find_stage
from switchyard.core.cutover.orders import TrackCounts
from switchyard.core.cutover.tally import (
    Reading,
    SegmentTally,
    Shape,
    encode_reading,
    find_shape,
    parse_reading,
    subtract_readings,
    tally_samples,
    tally_tracks,
)
from switchyard.core.cutover.types import GateStage, PlanFacts, State
from switchyard.core.routing.samples import Samples, add_samples

BLIND_INTERVALS = 3

Source = tuple[Samples, ...] | Mapping[str, TrackCounts]


@dataclass(frozen=True, slots=True)
class Window:
    """What happened between two readings. `longest_runs`: failures in a row on the candidate, by segment."""

    index: int
    seconds: float
    segments: Mapping[str, SegmentTally]
    longest_runs: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a look brought: a window, or None, and what to remember of it in any case.

    `gaps`: keys of latency bounds that are no bucket edge. `is_by_track`: counts are of whole tracks.
    `discarded`: why the window under way was dropped. `problem`: why there is no fresh reading.
    """

    window: Window | None = None
    reading: str = ""
    reading_at: datetime | None = None
    window_index: int = 0
    is_blind: bool = False
    is_by_track: bool = False
    gaps: frozenset[str] = frozenset()
    discarded: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Fresh:
    reading: Reading
    gaps: frozenset[str]
    at: datetime


def counts_by_track(state: State, stage: GateStage | None) -> bool:
    """True where what users get is told by metrics of the tracks, because nothing of ours sees it pass."""
    return state.router in {"gatewayAPI", "istio"} and stage in {"canary", "soak"}


def take_window(facts: PlanFacts, state: State, source: Source | None, problem: str, now: datetime) -> Taken:
    """The window that this look closes, if it does. `problem`: why `source` is None, or what is amiss.

    The same look twice gives the same; a look with nothing newer than what is remembered gives nothing.
    """
    stage, interval = find_stage(state), timedelta(seconds=facts.interval_seconds)
    kept = Taken(
        reading=state.reading,
        reading_at=state.reading_at,
        window_index=state.window_index,
        problem=problem,
        is_by_track=counts_by_track(state, stage) or state.reading.startswith('{"shape":"tracks|'),
    )
    since = state.stage_since
    if stage is None or since is None:
        return kept
    shape = find_shape(facts, state, stage)
    fresh = _read(source, shape, now)
    if fresh is None or now - fresh.at > BLIND_INTERVALS * interval:
        last = max(since, state.reading_at or since)
        return replace(
            kept,
            is_blind=now - last > BLIND_INTERVALS * interval,
            problem=problem or _say_missing(fresh, now),
        )
    kept = replace(kept, gaps=fresh.gaps, is_by_track=isinstance(source, Mapping))
    index = max(state.window_index, (fresh.at - since) // interval)
    rebased = replace(kept, reading=encode_reading(fresh.reading), reading_at=fresh.at, window_index=index)
    if _find_version(source) < state.traffic_version:
        return replace(
            rebased, discarded=f"a router has not taken version {state.traffic_version} of the traffic"
        )
    before = state.reading_at
    if before is None or not state.reading or before < since + interval:
        return rebased
    if fresh.at <= before or index <= max(state.window_index, (before - since) // interval):
        return kept
    if fresh.at - before > BLIND_INTERVALS * interval:
        seconds = (fresh.at - before).total_seconds()
        return replace(rebased, discarded=f"nothing was read for {seconds:.0f} s")
    earlier = parse_reading(state.reading)
    if earlier is None:
        return replace(rebased, discarded="the reading in the status is not one of this version")
    grown = subtract_readings(fresh.reading, earlier)
    if grown is None:
        return replace(rebased, discarded="counters began anew: a router or pod came, went or was restarted")
    window = Window(
        index=index,
        seconds=(fresh.at - before).total_seconds(),
        segments=grown.segments,
        longest_runs={name: run for name, (run, _) in grown.runs.items()},
    )
    return replace(rebased, window=window)


def _read(source: Source | None, shape: Shape, now: datetime) -> _Fresh | None:
    """The reading and its moment, that of its oldest part; None where there is none."""
    if isinstance(source, Mapping):
        if not source:
            return None
        reading, gaps = tally_tracks(source, shape)
        return _Fresh(reading, gaps, min(now, *(each.at for each in source.values())))
    total = reduce(add_samples, source or (), Samples())
    if total.at is None:
        return None
    reading, gaps = tally_samples(total, shape)
    return _Fresh(reading, gaps, min(now, total.at))


def _find_version(source: Source | None) -> float:
    """The lowest version that counts were made under; without limit where nothing says."""
    if source is None or isinstance(source, Mapping):
        return float("inf")
    return min((each.version for each in source if each.version is not None), default=float("inf"))


def _say_missing(fresh: _Fresh | None, now: datetime) -> str:
    if fresh is None:
        return "nothing has been counted yet"
    return f"the newest reading is {(now - fresh.at).total_seconds():.0f} s old"
