"""How a stage begins: its traffic under a new version, and no evidence of anything before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from switchyard.api import Reason
from switchyard.core.cutover.copies import ask_copies
from switchyard.core.cutover.judging import describe_reports, find_longest, find_stage, list_reports
from switchyard.core.cutover.moves import (
    CONFIRMATION_SECONDS,
    HOLD_SECONDS,
    RETURN_SECONDS,
    VALIDATION_SECONDS,
    enter,
    find_next_segment,
    find_segment,
    find_step,
    forget_evidence,
    is_confirmed,
    ready_seconds,
    record,
    set_traffic,
    tell,
    warn,
)
from switchyard.core.cutover.traffic import find_acting_phase
from switchyard.core.cutover.types import Observation, PlanFacts, SegmentState, State, Stepped
from switchyard.core.stability.recommend import write_duration


def begin_shadow(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """Shadowing: copies for the candidate."""
    copying = forget_evidence(set_traffic(state, seen, shadow_percent=facts.shadow.percent))
    message = f"{facts.shadow.percent}% of users' requests are copied; no user is served by the candidate"
    return enter(copying, "Shadowing", seen, tell(Reason.ShadowStarted, message), CONFIRMATION_SECONDS)


def begin_canary(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """The first step of the first segment."""
    first = find_next_segment(facts, -1)
    return begin_step(facts, state, seen, len(facts.segments) if first is None else first, 0)


def begin_step(facts: PlanFacts, state: State, seen: Observation, segment: int, step: int) -> Stepped:
    """A step of a segment: the weight is raised, and copies go on where a gate needs them.

    The caller has seen to capacity, evidence and holds.
    """
    name, weight = facts.segments[segment].name, facts.segments[segment].steps[step].weight_percent
    placed = replace(
        state,
        segment_index=segment,
        step_index=step,
        segments=tuple(_place(each, index, segment) for index, each in enumerate(state.segments)),
    )
    copied = ask_copies(facts, weight)
    raised = forget_evidence(set_traffic(placed, seen, {name: weight}, shadow_percent=copied))
    count = len(facts.segments[segment].steps)
    message = f"segment {name}: {weight}% of its requests to the candidate (step {step + 1} of {count})"
    message += f", {copied}% of the others copied" if copied else ""
    message = _add_figures(message, facts, state, seen)
    return enter(raised, "Canary", seen, tell(Reason.StepStarted, message), CONFIRMATION_SECONDS)


def begin_soak(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """Soaking: all that moves is on the candidate, and the baseline stays warm."""
    placed = replace(
        state,
        segments=tuple(
            replace(each, place="Candidate") if each.place == "Moving" else each for each in state.segments
        ),
    )
    soaking = forget_evidence(set_traffic(placed, seen, shadow_percent=0))
    kept = write_duration(facts.retain_seconds)
    message = f"all that moves is on the candidate; the baseline stays warm for {kept}"
    message = _add_figures(message, facts, state, seen)
    return enter(soaking, "Soaking", seen, tell(Reason.SoakStarted, message), CONFIRMATION_SECONDS)


def begin_completion(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """Completing: the traffic is given to the candidate. Where a segment stays, the split is the end."""
    stays = [each.name for each in facts.segments if each.stays]
    if stays:
        message = f"done; {', '.join(stays)} stays on the baseline, so both sides and the split remain"
        return enter(state, "Completed", seen, tell(Reason.CutoverCompleted, message), 0)
    message = "the service is handed to the candidate; then the baseline goes"
    why = tell(Reason.Promoting, _add_figures(message, facts, state, seen))
    return enter(forget_evidence(state), "Completing", seen, why, RETURN_SECONDS, stage_since=seen.now)


def begin_stage_again(facts: PlanFacts, state: State, seen: Observation, message: str) -> Stepped:
    """The present stage from its begin, at most the shares that it has: no edit moves users forward."""
    again = replace(state, inputs_hash=seen.inputs_hash or state.inputs_hash)
    weights, copied = {}, state.shadow_percent
    segment = find_segment(facts, state)
    if find_stage(state) == "canary" and segment is not None:
        current = state.segments[state.segment_index].weight_percent
        fitting = [index for index, each in enumerate(segment.steps) if each.weight_percent <= current]
        again = replace(again, step_index=max(fitting, default=0))
        weights[segment.name] = min(current, segment.steps[again.step_index].weight_percent)
        copied = min(copied, ask_copies(facts, weights[segment.name]))
    again = forget_evidence(set_traffic(again, seen, weights, shadow_percent=copied))
    again = replace(again, message=message)
    if state.phase != "Paused":
        again = replace(again, deadline=seen.now + timedelta(seconds=CONFIRMATION_SECONDS))
    return record(again, seen, warn(Reason.InputsChanged, message))


def confirm_stage(facts: PlanFacts, state: State, seen: Observation) -> State:
    """The state with the begin of the stage, where the path confirms its traffic by now."""
    if find_stage(state) is None or state.stage_since is not None or not is_confirmed(state, seen):
        return state
    begun = replace(state, stage_since=seen.now, restarts_before=seen.candidate_view.restarts)
    if state.phase == "Paused":
        return begun
    return replace(begun, deadline=seen.now + timedelta(seconds=find_longest(facts, state)))


def resume(facts: PlanFacts, state: State, seen: Observation, message: str) -> Stepped:
    """The plan as it was before it was held, with the time of its phase anew."""
    phase = state.resume_phase or "Pending"
    why = tell(Reason.Resumed, message)
    return enter(state, phase, seen, why, _find_time(facts, state, seen), resume_phase=None)


def is_step_lowered(facts: PlanFacts, state: State) -> bool:
    """True when the plan's steps were edited so that the present share is more than they ask for."""
    if find_stage(state) != "canary" or find_segment(facts, state) is None:
        return False
    step = find_step(facts, state)
    return step is None or step.weight_percent < state.segments[state.segment_index].weight_percent


def _add_figures(message: str, facts: PlanFacts, state: State, seen: Observation) -> str:
    """The message with the figures of all gates of the stage before; sentences would crowd some out."""
    figures = describe_reports([replace(each, message="") for each in list_reports(facts, state, seen)])
    return f"{message}; passed: {figures}" if figures else message


def _place(segment: SegmentState, index: int, moving: int) -> SegmentState:
    if index == moving:
        return replace(segment, place="Moving")
    return replace(segment, place="Candidate") if segment.place == "Moving" else segment


def _find_time(facts: PlanFacts, state: State, seen: Observation) -> float:
    phase = find_acting_phase(state)
    if find_stage(state) is not None:
        return CONFIRMATION_SECONDS if state.stage_since is None else find_longest(facts, state)
    if phase == "Provisioning":
        return ready_seconds(seen)
    return VALIDATION_SECONDS if phase == "Validating" else HOLD_SECONDS
