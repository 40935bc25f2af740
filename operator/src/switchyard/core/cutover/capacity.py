"""How many replicas of the candidate a share of the traffic needs. Pure.

How requests divide among segments moves through the day, so the largest weight of any segment counts for all
of them: it is at least the weighted mean, whatever the mix.
"""

from __future__ import annotations

from collections.abc import Iterable

from switchyard.core.cutover.traffic import has_weight
from switchyard.core.cutover.types import Observation, SegmentState, SideView, State

HEADROOM_RATIO = 0.9  # of the cap on the candidate's load, that fewer copies aim at


def count_replicas(full: int, percent: int) -> int:
    """Replicas for a percentage of the demand that `full` of them carry: 0 for none, else at least 1."""
    if percent <= 0:
        return 0
    return max(1, -(-full * percent // 100))


def find_peak_percent(segments: Iterable[SegmentState], shadow_percent: int = 0) -> int:
    """An upper bound for the share of all requests that the candidate has to answer."""
    return max([shadow_percent, *(each.weight_percent for each in segments)], default=0)


def count_needed(seen: Observation, segments: Iterable[SegmentState], shadow_percent: int = 0) -> int:
    """Replicas that these shares need; 0 while the planner does not say what the whole demand needs."""
    return count_replicas(seen.target.replicas, find_peak_percent(segments, shadow_percent))


def has_room(state: State, seen: Observation, needed: int) -> bool:
    """True when that many replicas are asked for and ready."""
    return 0 < needed <= state.candidate_replicas and seen.candidate_view.ready >= needed


def find_own_load(state: State, candidate: SideView) -> float:
    """The candidate's utilisation by users' requests alone, as a ratio; 0 where its load is not known."""
    if candidate.utilisation_ratio is None or not has_weight(state):
        return 0.0
    return candidate.utilisation_ratio * (1 - candidate.copied_ratio)


def describe_readiness(state: State, seen: Observation) -> str:
    """How many pods of the candidate are ready, and what the others wait for."""
    view = seen.candidate_view
    message = f"{view.ready} of {state.candidate_replicas} replicas of the candidate ready"
    return f"{message}: {view.waiting_for}" if view.waiting_for else message
