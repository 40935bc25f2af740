"""The state machine of a cutover: `step(facts, state, seen) -> Stepped`, pure.

    Pending -> Validating -> (AwaitingApproval) -> Provisioning -> Shadowing -> Canary -> Soaking
                                                                -> Completing -> Completed
    each of these <-> Paused      suspended, out of a window, approval, no evidence, no baseline
    each of these -> RollingBack -> RolledBack | Aborted

A step is repeated until it changes nothing, so the same observation a second time changes nothing either.
What comes of an observation is written to the status first; effects follow from what is written, never from
the observation. The order of the rules below is their rank.

An end is left by one way only: a new restartToken starts again from Pending. Where an end left users on both
sides, an abort, a deletion, a restart and the loss of the candidate first return them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from switchyard.api import Reason
from switchyard.core.cutover.beginning import await_approval, provision, start, validate
from switchyard.core.cutover.calendar import next_opening
from switchyard.core.cutover.drifting import note_drift
from switchyard.core.cutover.economics import accrue
from switchyard.core.cutover.holds import note_approvals
from switchyard.core.cutover.judging import (
    adopt_evidence,
    describe_reports,
    find_failures,
    find_stage,
    settles_at,
)
from switchyard.core.cutover.moves import Why, pause, proceed, record, set_traffic, tell, wait, warn
from switchyard.core.cutover.moving import canary, complete, judge, shadow
from switchyard.core.cutover.pausing import hold
from switchyard.core.cutover.returning import begin_return, keep_split, return_traffic
from switchyard.core.cutover.staging import begin_stage_again, confirm_stage, is_step_lowered
from switchyard.core.cutover.traffic import find_acting_phase, has_weight, is_split
from switchyard.core.cutover.types import TERMINAL, Note, Observation, Phase, PlanFacts, State, Stepped
from switchyard.core.placement.cost import format_money

Rule = Callable[[PlanFacts, State, Observation], Stepped | None]

_MOST_TURNS = 16
_GONE = frozenset({Reason.VariantNotFound.value, Reason.PoolNotFound.value})


def step(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """What is remembered after a look, the events of it, and when to look again."""
    notes: tuple[Note, ...] = ()
    for _ in range(_MOST_TURNS):
        turned = _turn(facts, state, seen)
        notes += turned.notes
        if turned.state == state:
            return Stepped(state, notes, _find_recheck(facts, state, seen))
        state = turned.state
    raise AssertionError(f"plan {facts.namespace}/{facts.name} does not come to rest in phase {state.phase}")


def _turn(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """One change at most, beside what is merely noted."""
    noted = _take_notes(facts, state, seen)
    for rule in _RULES:
        turned = rule(facts, noted.state, seen)
        if turned is not None:
            return replace(turned, notes=noted.notes + turned.notes)
    turned = _PHASES[noted.state.phase](facts, noted.state, seen)
    return replace(turned, notes=noted.notes + turned.notes)


def _take_notes(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """The state with what needs no decision: cost, approvals, evidence, the confirmation of traffic."""
    cost, cost_at = accrue(state, seen, facts.interval_seconds)
    noted = replace(state, generation=facts.generation, dual_run_cost=cost, cost_at=cost_at)
    drifted = note_drift(noted, seen)
    if state.phase in TERMINAL:
        return drifted
    approved = note_approvals(facts, drifted.state, seen)
    confirmed = confirm_stage(facts, approved.state, seen)
    return Stepped(adopt_evidence(facts, confirmed, seen), drifted.notes + approved.notes)


# -- rules: in order of rank; None where one has nothing to say


def _leave_lost_candidate(facts: PlanFacts, state: State, seen: Observation) -> Stepped | None:
    """Users on a candidate without a ready pod go back at once, in whatever phase."""
    if not has_weight(state) or seen.candidate_view.ready > 0 or _is_unreadable(seen):
        return None
    if find_acting_phase(state) == "Completing" and seen.baseline_view.ready < 1:
        return None  # nothing is left to go back to
    if state.phase in TERMINAL and not is_split(state):
        return None
    if state.phase == "RollingBack" and state.rollback_scope == "plan":
        return None
    told = seen.candidate_view.waiting_for or "all lost"
    message = f"the candidate of plan {facts.name} has no ready pod: {told}"
    is_abort = state.rollback_to == "Aborted" and state.phase == "RollingBack"
    return begin_return(state, seen, warn(Reason.CandidateLost, message), is_abort=is_abort)


def _leave_deleted_workload(facts: PlanFacts, state: State, seen: Observation) -> Stepped | None:
    """Without the workload there is no traffic to return: its objects go with it."""
    problem = seen.workload_problem
    if problem is None or problem[0] != Reason.WorkloadNotFound or state.phase in {"Pending", "Validating"}:
        return None
    if state.phase in TERMINAL and not is_split(state):
        return None
    why = warn(Reason.WorkloadNotFound, f"workload {facts.workload} is gone, and its traffic with it")
    nothing = replace(
        state,
        segments=tuple(replace(each, weight_percent=0) for each in state.segments),
        shadow_percent=0,
        phase="Pending",
    )
    return begin_return(nothing, seen, why, is_abort=True)


def _abort(facts: PlanFacts, state: State, seen: Observation) -> Stepped | None:
    """An abort and a deletion return everything."""
    if not (facts.is_aborted or facts.is_deleting) or state.phase in TERMINAL:
        return None
    if state.phase == "RollingBack" and (state.rollback_to, state.rollback_scope) == ("Aborted", "plan"):
        return None
    how = "deleted" if facts.is_deleting else "aborted"
    why = tell(Reason.Aborted, f"{how} by its author in phase {find_acting_phase(state)}")
    return begin_return(state, seen, why, is_abort=True)


def _leave_lost_target(_facts: PlanFacts, state: State, seen: Observation) -> Stepped | None:
    """A variant or a pool that is taken away takes its pods with it."""
    refusal = seen.target.refusal
    if not _is_going_forward(state) or refusal is None or refusal[0] not in _GONE:
        return None
    return begin_return(state, seen, warn(Reason.TargetGone, refusal[1]))


def _keep_budget(facts: PlanFacts, state: State, seen: Observation) -> Stepped | None:
    if not _is_going_forward(state):
        return None
    limit = facts.max_dual_run_cost
    if limit is not None and state.dual_run_cost > limit:
        spent = format_money(state.dual_run_cost)
        message = f"running both sides has cost {spent}; budget.maxDualRunCost is {format_money(limit)}"
        return begin_return(state, seen, warn(Reason.DualRunBudgetExceeded, message))
    if facts.deadline_seconds is not None and state.started_at is not None:
        deadline = state.started_at + timedelta(seconds=facts.deadline_seconds)
        if seen.now >= deadline:
            message = f"not done by {deadline:%Y-%m-%d %H:%M:%S} UTC, the end of budget.deadline"
            return begin_return(state, seen, warn(Reason.DeadlineExceeded, message))
    return None


def _act_on_failures(facts: PlanFacts, state: State, seen: Observation) -> Stepped | None:
    """A gate that failed returns what it speaks of, also from a pause."""
    failures = find_failures(facts, state, seen)
    if not failures:
        return None
    why = warn(Reason.GateFailed, describe_reports(failures))
    if not facts.is_automatic:
        return None if state.phase == "Paused" else pause(state, seen, why)
    rules = {each.name: each for each in facts.segments}
    moved = {each.name for each in state.segments if each.weight_percent > 0}
    named = {each.segment for each in failures}
    is_partial = named <= moved and not any(rules[each].rolls_back_plan for each in named & set(rules))
    return begin_return(state, seen, why, segments=named if is_partial else None)


def _wait_for_sight(_facts: PlanFacts, state: State, seen: Observation) -> Stepped | None:
    """A workload that can't be read tells nothing of its sides: everything stays as it is."""
    if not _is_unreadable(seen) or not _is_going_forward(state):
        return None
    problem = seen.workload_problem or ("", "")
    return Stepped(state) if state.phase == "Paused" else wait(state, Why(*problem, "Warning"))


def _act_on_edits(facts: PlanFacts, state: State, seen: Observation) -> Stepped | None:
    """A change of what the evidence depends on begins the stage again; one of the segments returns all."""
    if not _is_going_forward(state) or not state.segments:
        return None
    if [each.name for each in state.segments] != [each.name for each in facts.segments]:
        message = (
            "spec.segments were changed under way, so shares mean something else; restart with the new ones"
        )
        return begin_return(state, seen, warn(Reason.InputsChanged, message))
    is_other = seen.inputs_hash not in {"", state.inputs_hash}
    if find_stage(state) is None:
        return proceed(replace(state, inputs_hash=seen.inputs_hash), state.message) if is_other else None
    if not is_other and not is_step_lowered(facts, state):
        return None
    message = "the workload, the target or the plan was changed: the stage begins again, without its evidence"
    return begin_stage_again(facts, state, seen, message)


def _mind_baseline(_facts: PlanFacts, state: State, seen: Observation) -> Stepped | None:
    """Without a baseline nothing is compared, copied or moved: hold, and no copies."""
    if find_stage(state) is None or seen.baseline_view.ready > 0:
        return None
    quiet = set_traffic(state, seen, shadow_percent=0) if state.shadow_percent else state
    if state.phase == "Paused":
        return Stepped(quiet) if quiet is not state else None
    message = f"the baseline has no ready pod: {seen.baseline_view.waiting_for or 'all lost'}; nothing moves"
    return pause(quiet, seen, warn(Reason.BaselineLost, message))


def _suspend(facts: PlanFacts, state: State, seen: Observation) -> Stepped | None:
    """A person holds the plan. Holding one with a failed gate, and letting go, tries the stage again."""
    if not facts.is_suspended or state.phase in TERMINAL | {"RollingBack", "Completing"}:
        return None
    if state.phase == "Paused" and state.pause_reason == Reason.Suspended:
        return None
    why = tell(Reason.Suspended, "spec.suspend is true: the plan stays where it is")
    if state.pause_reason == Reason.GateFailed:
        again = begin_stage_again(facts, state, seen, "held after a failed gate: the stage begins again")
        paused = pause(again.state, seen, why)
        return replace(paused, notes=again.notes + paused.notes)
    return pause(state, seen, why)


def _is_unreadable(seen: Observation) -> bool:
    return seen.workload_problem is not None and seen.workload_problem[0] == Reason.InvalidSpec


def _is_going_forward(state: State) -> bool:
    return find_acting_phase(state) not in TERMINAL | {"Pending", "Validating", "RollingBack", "Completing"}


_RULES: tuple[Rule, ...] = (
    _leave_lost_candidate,
    _leave_deleted_workload,
    _abort,
    _leave_lost_target,
    _keep_budget,
    _act_on_failures,
    _wait_for_sight,
    _act_on_edits,
    _mind_baseline,
    _suspend,
)


# -- phases


def _end(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """Completed, RolledBack, Aborted: stay, unless users are on both sides or a new start is asked for."""
    if is_split(state):
        return keep_split(facts, state, seen)
    if facts.restart_token in {"", state.restart_token} or facts.is_aborted or facts.is_deleting:
        return Stepped(state)
    fresh = State(
        attempt=state.attempt + 1,
        restart_token=facts.restart_token,
        generation=facts.generation,
        traffic_version=state.traffic_version,
        history=state.history,
        phase_since=seen.now,
    )
    message = f"restartToken {facts.restart_token}: attempt {fresh.attempt} begins"
    return record(fresh, seen, tell(Reason.Restarted, message))


_PHASES: dict[Phase, Callable[[PlanFacts, State, Observation], Stepped]] = {
    "Pending": start,
    "Validating": validate,
    "AwaitingApproval": await_approval,
    "Provisioning": provision,
    "Shadowing": shadow,
    "Canary": canary,
    "Soaking": judge,
    "Completing": complete,
    "Paused": hold,
    "RollingBack": return_traffic,
    "Completed": _end,
    "RolledBack": _end,
    "Aborted": _end,
}


def _find_recheck(facts: PlanFacts, state: State, seen: Observation) -> datetime | None:
    """When something may be due without anybody telling; None for an end."""
    if state.phase in TERMINAL:
        return None
    moments = [state.deadline, settles_at(facts, state), seen.now + timedelta(seconds=facts.interval_seconds)]
    if state.pause_reason == Reason.OutsideWindow:
        moments.append(next_opening(facts.windows, seen.now))
    return min(each for each in moments if each is not None and each > seen.now)
