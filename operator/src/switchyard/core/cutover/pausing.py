"""Paused: what each reason waits for, and how the plan goes on."""

from __future__ import annotations

from dataclasses import replace

from switchyard.api import Reason
from switchyard.core.cutover.holds import find_hold, note_requests
from switchyard.core.cutover.judging import find_lack
from switchyard.core.cutover.moves import clip, is_overdue, pause, warn
from switchyard.core.cutover.moving import find_forward, find_undecided, lack_evidence, make_room
from switchyard.core.cutover.returning import begin_return
from switchyard.core.cutover.staging import resume
from switchyard.core.cutover.types import Observation, PlanFacts, State, Stepped


def hold(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """Nothing moves until the reason of the pause is gone."""
    if is_overdue(state, seen):
        message = f"paused for too long: {state.message}"
        return begin_return(state, seen, warn(Reason.DeadlineExceeded, message))
    match state.pause_reason:
        case Reason.Suspended:
            return _resume_unless(facts, state, seen, is_held=facts.is_suspended, why="spec.suspend is false")
        case Reason.GateFailed:
            return Stepped(state)
        case Reason.BaselineLost:
            is_held = seen.baseline_view.ready < 1
            return _resume_unless(facts, state, seen, is_held=is_held, why="the baseline is ready again")
        case Reason.EvidenceMissing:
            return _hold_for_evidence(facts, state, seen)
        case Reason.StageOverdue:
            is_held = bool(find_undecided(facts, state, seen))
            return _resume_unless(facts, state, seen, is_held=is_held, why="every gate passed")
        case Reason.CandidateNotReady:
            return _hold_for_room(facts, state, seen)
        case _:
            return _hold_for_person_or_clock(facts, state, seen)


def _resume_unless(facts: PlanFacts, state: State, seen: Observation, *, is_held: bool, why: str) -> Stepped:
    return Stepped(state) if is_held else resume(facts, state, seen, why)


def _hold_for_evidence(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    lack = find_lack(facts, state, seen)
    if lack:
        return lack_evidence(facts, state, seen, lack)
    return resume(facts, replace(state, inconclusive_since=None), seen, "evidence comes in again")


def _hold_for_room(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    asked, missing = make_room(state, seen, find_forward(facts, state)[0])
    if missing:
        return Stepped(replace(asked, message=clip(missing)))
    return resume(facts, asked, seen, "the candidate has the replicas of the next share")


def _hold_for_person_or_clock(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    phase = state.resume_phase or "Pending"
    held = find_hold(facts, state, seen, phase)
    if held is None:
        return resume(facts, state, seen, "what it waited for has come")
    return pause(note_requests(facts, state, seen, phase), seen, held)
