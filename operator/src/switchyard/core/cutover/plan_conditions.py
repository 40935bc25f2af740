"""The conditions of a plan, by the contract with GitOps tools (kstatus).

    under way               Ready Unknown, Reconciling
    refused, or stuck       Ready False, Stalled with the reason
    rolled back, aborted    Ready False, Stalled with RolledBack or Aborted
    completed               Ready True, Succeeded True

Reconciling and Stalled are given only while True.
"""

from __future__ import annotations

from switchyard.api import Reason
from switchyard.core.conditions import FALSE, TRUE, UNKNOWN, Finding
from switchyard.core.cutover.types import TERMINAL, PlanFacts, State

_NEEDS_A_PERSON = frozenset(
    {
        Reason.GateFailed,
        Reason.StageOverdue,
        Reason.RollbackHalted,
        Reason.ReturnOverdue,
        Reason.CompletionOverdue,
    }
)
_IN_ORDER = frozenset({Reason.WaitingForPlan, Reason.RouterUnknown})


def find_plan_conditions(facts: PlanFacts, state: State) -> list[Finding]:
    """All findings, the abnormal ones only while they hold."""
    reason, message = _find_reason(state), state.message or f"plan {facts.name} has not begun"
    is_end, is_held = state.phase in TERMINAL, state.phase in {"Paused", "AwaitingApproval"}
    is_waiting = state.phase in {"Pending", "Validating"} and bool(state.pause_reason)
    is_stalled = is_stuck(state)
    found = [
        Finding("Ready", _judge_ready(state, is_stalled=is_stalled), reason, message),
        Finding("Progressing", _say(not (is_end or is_held or is_waiting or is_stalled)), reason, message),
        Finding("Paused", _say(is_held), reason, message),
        Finding("Succeeded", _say(state.phase == "Completed"), reason, message),
        Finding("RolledBack", _say(state.phase == "RolledBack"), reason, message),
    ]
    if is_stalled:
        found.append(Finding("Stalled", TRUE, reason, message))
    elif not is_end:
        found.append(Finding("Reconciling", TRUE, reason, message))
    return found


def is_stuck(state: State) -> bool:
    """True when nothing more will come without somebody's doing."""
    if state.phase in {"RolledBack", "Aborted"}:
        return True
    reason = _find_reason(state)
    if state.phase == "Validating" and state.pause_reason:
        return reason not in _IN_ORDER
    return bool(state.pause_reason) and reason in _NEEDS_A_PERSON


def _judge_ready(state: State, *, is_stalled: bool) -> str:
    if state.phase == "Completed":
        return TRUE
    return FALSE if is_stalled else UNKNOWN


def _find_reason(state: State) -> Reason:
    """Why it waits, or why it came to be where it is; of an end without success only which it is."""
    if state.phase in {"RolledBack", "Aborted"}:
        return Reason[state.phase]
    word = state.pause_reason or (state.history[-1].reason if state.history else "")
    if word in Reason.__members__:
        return Reason[word]
    return Reason.InvalidSpec if word else Reason.CutoverStarted


def _say(holds: bool) -> str:  # noqa: FBT001  (its only argument)
    return TRUE if holds else FALSE
