"""What keeps a plan from its next step although nothing is wrong: a person, or the clock. Pure."""

from __future__ import annotations

from dataclasses import replace

from switchyard.api import Reason
from switchyard.core.cutover.calendar import is_open, next_opening
from switchyard.core.cutover.moves import Why, clip, find_next_segment, find_segment, tell
from switchyard.core.cutover.types import Note, Observation, Phase, PlanFacts, State, Stepped


def find_hold(facts: PlanFacts, state: State, seen: Observation, phase: Phase) -> Why | None:
    """What holds back the step that ends `phase`, or the begin of its traffic; None when nothing does."""
    missing = [stage for stage in list_stages(facts, state, phase) if not _is_approved(facts, state, stage)]
    if missing:
        names = ", ".join(missing)
        return tell(
            Reason.AwaitingApproval,
            f"waits for approval of {names}: add it to spec.approved, or "
            f"`kubectl switchyard cutover approve {facts.name}`",
        )
    if phase != "Validating" and not is_open(facts.windows, seen.now):
        opening = next_opening(facts.windows, seen.now)
        when = (
            f"the next opens at {opening:%Y-%m-%d %H:%M} UTC"
            if opening
            else "none will open: see spec.windows"
        )
        return tell(Reason.OutsideWindow, f"outside of all windows; {when}")
    return None


def list_stages(facts: PlanFacts, state: State, phase: Phase) -> tuple[str, ...]:
    """The stages that begin when `phase` ends, by their names in spec.approvals."""
    if phase == "Validating":
        return ("shadow",) if facts.shadow.percent else _first_of_canary(facts)
    if phase == "Shadowing":
        return _first_of_canary(facts)
    if phase == "Soaking":
        return ("promote",)
    segment = find_segment(facts, state)
    if phase == "Canary" and segment is not None and state.step_index >= len(segment.steps) - 1:
        return _name_segment(facts, find_next_segment(facts, state.segment_index))
    return ()


def note_requests(facts: PlanFacts, state: State, seen: Observation, phase: Phase) -> State:
    """The state, remembering since when it waits for approvals."""
    asked = {
        stage: seen.now
        for stage in list_stages(facts, state, phase)
        if not _is_approved(facts, state, stage) and stage not in state.requested
    }
    return replace(state, requested={**state.requested, **asked}) if asked else state


def note_approvals(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """The state, remembering approvals given: what a person released stays so."""
    fresh = sorted(stage for stage in facts.approved & facts.approvals if stage not in state.approved)
    if not fresh:
        return Stepped(state)
    approved = {**state.approved, **dict.fromkeys(fresh, seen.now)}
    note = Note("Normal", Reason.Approved.value, clip(f"approved: {', '.join(fresh)}"))
    return Stepped(replace(state, approved=approved), (note,))


def _is_approved(facts: PlanFacts, state: State, stage: str) -> bool:
    return stage not in facts.approvals or stage in state.approved


def _first_of_canary(facts: PlanFacts) -> tuple[str, ...]:
    return ("canary", *_name_segment(facts, find_next_segment(facts, -1)))


def _name_segment(facts: PlanFacts, index: int | None) -> tuple[str, ...]:
    return () if index is None else (f"segment:{facts.segments[index].name}",)
