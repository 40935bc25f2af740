"""The word of the gates in an observation: the window that a sight closes, and what the gates make of it."""

from __future__ import annotations

from dataclasses import replace

from switchyard.core.cutover.bench import Surroundings
from switchyard.core.cutover.evidence import Source, counts_by_track, take_window
from switchyard.core.cutover.judging import find_stage
from switchyard.core.cutover.types import Observation, PlanFacts, State
from switchyard.core.world import Sight

_UNSEEN = "the path was not looked at yet"


def weigh(facts: PlanFacts, state: State, seen: Observation, sight: Sight | None) -> Observation:
    """The observation with the gates' reports, and the evidence to be remembered with them."""
    # it brings scipy.special, which a start without plans need not wait for
    from switchyard.core.cutover.gates import judge  # noqa: PLC0415  (see above)

    source, problem = _find_source(state, sight)
    taken = take_window(facts, state, source, problem, seen.now)
    around = Surroundings(
        baseline=seen.baseline_view,
        candidate=seen.candidate_view,
        target=seen.target,
        baseline_cost_per_thousand=seen.baseline_cost_per_thousand,
        signals=sight.signals if sight is not None else {},
    )
    judged = judge(facts, state, taken, around)
    return replace(
        seen,
        reports=judged.reports,
        samples=judged.samples,
        observed_per_thousand=judged.observed_per_thousand,
        evidence=judged.evidence,
        reading=taken.reading,
        reading_at=taken.reading_at,
        window_index=taken.window_index,
        is_blind=taken.is_blind,
    )


def _find_source(state: State, sight: Sight | None) -> tuple[Source | None, str]:
    """What the gates count by, and what is amiss with it.

    Copies pass a router or the comparator on every path, which know both answers to one request; so pairs
    are the evidence of the shadow stage. What users get is seen by a router in their path alone.
    """
    if sight is None:
        return None, _UNSEEN
    if counts_by_track(state, find_stage(state)):
        return sight.tracks, sight.tracks_problem or sight.problem
    return sight.samples, sight.problem
