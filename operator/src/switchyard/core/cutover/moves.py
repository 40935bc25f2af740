"""The moves that a plan can make: each returns what is remembered after it, and the event of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

from switchyard.api import Reason
from switchyard.core.cutover.references import keep_references
from switchyard.core.cutover.types import (
    TERMINAL,
    Note,
    Observation,
    Phase,
    PlanFacts,
    SegmentFacts,
    State,
    StepFacts,
    Stepped,
    Transition,
)

HISTORY_LENGTH = 30
LONGEST_MESSAGE = 1024

# the longest that a plan stays where nothing moves; cost and evidence of both sides are stale by then
HOLD_SECONDS = 30 * 86_400.0
VALIDATION_SECONDS = 86_400.0
READY_SECONDS = 1_800.0  # beside the pool's own provisioning time
CONFIRMATION_SECONDS = 900.0
RETURN_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Why:
    """The reason of a move, as a word and for a person."""

    reason: str
    message: str
    type: Literal["Normal", "Warning"] = "Normal"


def enter(state: State, phase: Phase, seen: Observation, why: Why, seconds: float, **changes: Any) -> Stepped:
    """The state in another phase (or in the same one anew), which must have ended after that many seconds."""
    is_end = phase in TERMINAL
    entered = replace(
        state,
        phase=phase,
        phase_since=seen.now,
        deadline=None if is_end else seen.now + timedelta(seconds=seconds),
        completed_at=seen.now if is_end else None,
        pause_reason="",
        message=clip(why.message),
    )
    entered = replace(entered, **changes)
    return record(entered, seen, why)


def record(state: State, seen: Observation, why: Why) -> Stepped:
    """The state with a line more in its history, and the event."""
    moving = state.segments[state.segment_index] if state.segment_index < len(state.segments) else None
    line = Transition(
        at=seen.now,
        phase=state.phase,
        reason=why.reason,
        message=clip(why.message),
        segment=moving.name if moving is not None else "",
        weight_percent=moving.weight_percent if moving is not None else 0,
    )
    history = (*state.history, line)[-HISTORY_LENGTH:]
    return Stepped(replace(state, history=history), (Note(why.type, why.reason, clip(why.message)),))


def wait(state: State, why: Why) -> Stepped:
    """The same phase, saying what it waits for; an event when the reason is another one than before."""
    notes = (Note(why.type, why.reason, clip(why.message)),) if why.reason != state.pause_reason else ()
    return Stepped(replace(state, pause_reason=why.reason, message=clip(why.message)), notes)


def proceed(state: State, message: str) -> Stepped:
    """The same phase, waiting for nothing in particular."""
    return Stepped(replace(state, pause_reason="", message=clip(message)))


def pause(state: State, seen: Observation, why: Why) -> Stepped:
    """The plan held where it is, to go on from there; a plan on hold gets another reason only."""
    if state.phase != "Paused":
        paused = enter(state, "Paused", seen, why, HOLD_SECONDS, resume_phase=state.phase)
        return replace(paused, state=replace(paused.state, pause_reason=why.reason))
    return wait(state, why)


def set_traffic(
    state: State,
    seen: Observation,
    weights: Mapping[str, int] | None = None,
    shadow_percent: int | None = None,
) -> State:
    """The state with other shares, under a version that nothing on the path has yet."""
    weights = weights or {}
    known = seen.route.version if seen.route is not None and seen.route.version is not None else 0
    return replace(
        state,
        segments=tuple(
            replace(each, weight_percent=weights.get(each.name, each.weight_percent))
            for each in state.segments
        ),
        shadow_percent=state.shadow_percent if shadow_percent is None else shadow_percent,
        traffic_version=max(state.traffic_version, known) + 1,
        stage_since=None,
    )


def forget_evidence(state: State) -> State:
    """The state as at the begin of a stage: nothing seen of it, but what the baseline did before."""
    return replace(
        state,
        stage_since=None,
        inconclusive_since=None,
        window_index=0,
        reading_at=None,
        reading="",
        evidence=keep_references(state.evidence),
    )


def is_confirmed(state: State, seen: Observation) -> bool:
    """True when every part of the path says that the traffic asked for is in force."""
    route = seen.route
    return (
        route is not None
        and route.is_engaged
        and not route.problem
        and not route.waiting_for
        and route.version is not None
        and route.version >= state.traffic_version
    )


def describe_route(seen: Observation) -> str:
    """What the path waits for, in words."""
    if seen.route is None:
        return "what is in force on the path can't be read"
    return seen.route.problem or seen.route.waiting_for or "the path has not confirmed the traffic asked for"


def ready_seconds(seen: Observation) -> float:
    """The longest that the candidate's pods may take."""
    return READY_SECONDS + seen.target.provisioning_seconds


def find_segment(facts: PlanFacts, state: State) -> SegmentFacts | None:
    """The segment that moves; None when none is left, or it is no longer in the plan."""
    if not 0 <= state.segment_index < len(facts.segments):
        return None
    found = facts.segments[state.segment_index]
    return None if found.stays or not found.steps else found


def find_step(facts: PlanFacts, state: State) -> StepFacts | None:
    """The step of the segment that moves."""
    segment = find_segment(facts, state)
    if segment is None or not 0 <= state.step_index < len(segment.steps):
        return None
    return segment.steps[state.step_index]


def find_next_segment(facts: PlanFacts, after: int) -> int | None:
    """The index of the first segment behind `after` that moves."""
    return next(
        (
            index
            for index, each in enumerate(facts.segments)
            if index > after and not each.stays and each.steps
        ),
        None,
    )


def is_overdue(state: State, seen: Observation) -> bool:
    """True when the phase should have ended."""
    return state.deadline is not None and seen.now >= state.deadline


def clip(text: str) -> str:
    """The text, cut where the status has no room for more."""
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 1]}…"


def warn(reason: Reason, message: str) -> Why:
    """A reason that somebody should look at."""
    return Why(reason.value, message, "Warning")


def tell(reason: Reason, message: str) -> Why:
    """A reason that is in order."""
    return Why(reason.value, message)
