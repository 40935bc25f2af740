"""From Pending to a candidate that is ready: nothing of the traffic is touched here."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from switchyard.api import Reason
from switchyard.core.cutover.capacity import count_replicas, describe_readiness, has_room
from switchyard.core.cutover.holds import find_hold, note_requests
from switchyard.core.cutover.moves import (
    HOLD_SECONDS,
    VALIDATION_SECONDS,
    Why,
    enter,
    find_next_segment,
    is_overdue,
    pause,
    proceed,
    ready_seconds,
    tell,
    wait,
    warn,
)
from switchyard.core.cutover.returning import begin_return
from switchyard.core.cutover.staging import begin_canary, begin_shadow
from switchyard.core.cutover.types import Observation, PlanFacts, SegmentState, Side, State, Stepped
from switchyard.core.cutover.validation import find_refusal


def start(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """Pending: one plan of a workload at a time."""
    if state.attempt > 1 and state.phase_since is not None and seen.now <= state.phase_since:
        return Stepped(state)  # what is seen is still of the attempt before
    if state.deadline is None:
        state = replace(state, phase_since=seen.now, deadline=seen.now + timedelta(seconds=HOLD_SECONDS))
    if seen.other_plan:
        message = f"plan {seen.other_plan} moves workload {facts.workload}; this one begins when it has ended"
        return _wait_or_give_up(state, seen, tell(Reason.WaitingForPlan, message))
    why = tell(Reason.CutoverStarted, f"moves workload {facts.workload} to variant {facts.variant}")
    begun = replace(state, started_at=seen.now, restart_token=facts.restart_token)
    return enter(begun, "Validating", seen, why, VALIDATION_SECONDS)


def validate(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """Validating: every check passes, and both sides are chosen for good."""
    if seen.other_plan:
        message = f"plan {seen.other_plan} moves workload {facts.workload}; this one waits until it has ended"
        return _wait_or_give_up(state, seen, tell(Reason.WaitingForPlan, message))
    refusal = find_refusal(facts, seen)
    if refusal is not None:
        if refusal[0] == Reason.RouterUnknown and not is_overdue(state, seen):
            return proceed(state, refusal[1])  # the first look is under way: nothing to tell anybody of
        return _wait_or_give_up(state, seen, Why(*refusal, "Warning"))
    chosen = replace(
        state,
        router=seen.router,
        baseline=seen.baseline,
        candidate=Side(facts.variant, seen.target.pool, seen.target.track),
        inputs_hash=seen.inputs_hash,
        segments=tuple(
            SegmentState(each.name, "Stays" if each.stays else "Baseline", 0) for each in facts.segments
        ),
    )
    hold = find_hold(facts, state, seen, "Validating")
    if hold is not None:
        asked = note_requests(facts, chosen, seen, "Validating")
        entered = enter(asked, "AwaitingApproval", seen, hold, HOLD_SECONDS)
        return replace(entered, state=replace(entered.state, pause_reason=hold.reason))
    return _provision(facts, chosen, seen)


def await_approval(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """AwaitingApproval: before anything is spent."""
    hold = find_hold(facts, state, seen, "Validating")
    if hold is not None:
        asked = note_requests(facts, state, seen, "Validating")
        return _wait_or_give_up(asked, seen, hold)
    refusal = find_refusal(facts, seen)  # things may have changed while it waited
    if refusal is not None:
        why = Why(*refusal, "Warning")
        return enter(state, "Validating", seen, why, VALIDATION_SECONDS, pause_reason=why.reason)
    return _provision(facts, state, seen)


def provision(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """Provisioning: as many pods of the candidate as the first stage needs."""
    needed = count_replicas(seen.target.replicas, _first_percent(facts))
    if state.candidate_replicas < needed:
        return proceed(replace(state, candidate_replicas=needed), f"the first stage needs {needed} replicas")
    if not has_room(state, seen, needed) or seen.baseline_view.ready < 1:
        message = describe_readiness(state, seen)
        if is_overdue(state, seen):
            return begin_return(state, seen, warn(Reason.CandidateNotReady, f"too late: {message}"))
        return proceed(state, message)
    hold = find_hold(facts, state, seen, "Provisioning")
    if hold is not None:
        return pause(state, seen, hold)
    return begin_shadow(facts, state, seen) if facts.shadow.percent else begin_canary(facts, state, seen)


def _provision(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    needed = count_replicas(seen.target.replicas, _first_percent(facts))
    why = tell(
        Reason.Provisioning,
        f"{needed} of {seen.target.replicas} replicas of {facts.variant} start on pool {seen.target.pool}",
    )
    return enter(state, "Provisioning", seen, why, ready_seconds(seen), candidate_replicas=needed)


def _first_percent(facts: PlanFacts) -> int:
    if facts.shadow.percent:
        return facts.shadow.percent
    first = find_next_segment(facts, -1)
    return facts.segments[first].steps[0].weight_percent if first is not None else 0


def _wait_or_give_up(state: State, seen: Observation, why: Why) -> Stepped:
    if is_overdue(state, seen):
        late = warn(Reason.DeadlineExceeded, f"given up, nothing was touched; the last reason: {why.message}")
        return begin_return(state, seen, late, is_abort=True)
    return wait(state, why)
