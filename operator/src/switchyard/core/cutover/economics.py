"""What a move costs and when it pays: before it begins, and while both sides run. Pure.

dual-run cost   of the side that would not be there without the move: the candidate until all is on it, then
                the baseline that is kept warm
payback         (people's work + expected dual-run cost) / saving per hour
break-even      the demand at which one replica of the candidate, the fewest there can be, costs what the
                baseline costs for the same requests
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from switchyard.core.cutover.capacity import count_replicas
from switchyard.core.cutover.copies import ask_load
from switchyard.core.cutover.types import TERMINAL, Observation, PlanFacts, State

_ACCRUAL_SECONDS = 60.0  # at most, so that a plan which waits does not write its status at every look
_NANO = Decimal("1e-9")
_HOUR = Decimal(3600)


def accrue(
    state: State, seen: Observation, interval_seconds: float = _ACCRUAL_SECONDS
) -> tuple[Decimal, datetime | None]:
    """The dual-run cost so far, and up to when it has been added: once an interval, or a minute."""
    if state.phase in TERMINAL or not state.candidate_replicas:
        return state.dual_run_cost, None
    if state.cost_at is None:
        return state.dual_run_cost, seen.now
    seconds = (seen.now - state.cost_at).total_seconds()
    if seconds < min(interval_seconds, _ACCRUAL_SECONDS):
        return state.dual_run_cost, state.cost_at
    spent = find_dual_run_rate(state, seen) * Decimal(str(seconds)) / _HOUR
    return (state.dual_run_cost + spent).quantize(_NANO), seen.now


def find_dual_run_rate(state: State, seen: Observation) -> Decimal:
    """Cost per hour of the second side now."""
    phase = state.resume_phase if state.phase == "Paused" else state.phase
    if state.phase in TERMINAL or not state.candidate_replicas:
        return Decimal(0)
    view = seen.baseline_view if phase in {"Soaking", "Completing"} else seen.candidate_view
    return view.cost_per_hour


def find_saving(seen: Observation) -> Decimal:
    """Saving per hour once it is done; below 0 where the target costs more."""
    return seen.baseline_view.cost_per_hour - seen.target.cost_per_hour


def expect_dual_run(facts: PlanFacts, seen: Observation) -> Decimal:
    """The dual-run cost of a move that takes the shortest time it may."""
    target = seen.target
    if target.replicas < 1:
        return Decimal(0)
    steps = [step for segment in facts.segments for step in segment.steps]
    copies = facts.shadow.percent
    first = copies or (steps[0].weight_percent if steps else 0)
    spans = [(first, target.provisioning_seconds), (copies, facts.shadow.min_seconds)]
    peak = 0
    for step in steps:
        peak = max(peak, ask_load(facts, step.weight_percent))
        spans.append((peak, step.min_seconds))
    spent = Decimal(0)
    for percent, seconds in spans:
        share = Decimal(count_replicas(target.replicas, percent)) / target.replicas
        spent += target.cost_per_hour * share * Decimal(str(seconds)) / _HOUR
    retained = seen.baseline_view.cost_per_hour * Decimal(str(facts.retain_seconds)) / _HOUR
    return (spent + retained).quantize(_NANO)


def find_payback(facts: PlanFacts, seen: Observation) -> float | None:
    """Seconds in which the saving repays the move; None where there is no saving."""
    saving = find_saving(seen)
    if saving <= 0:
        return None
    return float((facts.engineering_cost + expect_dual_run(facts, seen)) / saving * _HOUR)


def find_break_even(seen: Observation) -> Decimal | None:
    """Requests per second from which on the candidate costs less; None where it never does."""
    target, baseline = seen.target, seen.baseline_cost_per_thousand
    if baseline is None or target.cost_per_thousand is None or target.replicas < 1:
        return None
    if target.cost_per_thousand >= baseline:
        return None
    one_replica = target.cost_per_hour / target.replicas
    return (one_replica * 1000 / (baseline * _HOUR)).quantize(Decimal("0.0001"))
