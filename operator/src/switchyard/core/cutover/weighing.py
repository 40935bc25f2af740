"""The word of the gates in an observation: the window that a sight closes, and what the gates make of it."""

from __future__ import annotations

from dataclasses import replace

from switchyard.core.cutover.bench import Surroundings
from switchyard.core.cutover.evidence import take_window
from switchyard.core.cutover.gates import judge
from switchyard.core.cutover.types import Observation, PlanFacts, State
from switchyard.core.world import Sight

_UNSEEN = "the path was not looked at yet"


def weigh(facts: PlanFacts, state: State, seen: Observation, sight: Sight | None) -> Observation:
    """The observation with the gates' reports, and the evidence to be remembered with them."""
    samples = sight.samples if sight is not None else None
    problem = sight.problem if sight is not None else _UNSEEN
    taken = take_window(facts, state, samples, problem, seen.now)
    around = Surroundings(
        baseline=seen.baseline_view,
        candidate=seen.candidate_view,
        target=seen.target,
        baseline_cost_per_thousand=seen.baseline_cost_per_thousand,
    )
    judged = judge(facts, state, taken, around)
    return replace(
        seen,
        reports=judged.reports,
        samples=judged.samples,
        evidence=judged.evidence,
        reading=taken.reading,
        reading_at=taken.reading_at,
        window_index=taken.window_index,
        is_blind=taken.is_blind,
    )
