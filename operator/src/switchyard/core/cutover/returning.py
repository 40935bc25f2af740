"""The way back: traffic first, confirmed by the path, then capacity; and what an end leaves split.

A baseline without a ready pod can't be returned to while the candidate answers: the plan halts and says so.
Where neither has one, all is sent to the baseline, the side that is kept. A path that does not say that
shares are 0 is led past: giving the traffic back sends callers to the baseline, whatever routers do.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

from switchyard.api import Reason
from switchyard.core.cutover.capacity import count_needed
from switchyard.core.cutover.moves import (
    RETURN_SECONDS,
    Why,
    clip,
    describe_route,
    enter,
    forget_evidence,
    is_confirmed,
    is_overdue,
    proceed,
    set_traffic,
    tell,
    wait,
    warn,
)
from switchyard.core.cutover.traffic import find_acting_phase, has_weight, is_split
from switchyard.core.cutover.types import Observation, Phase, PlanFacts, State, Stepped

BYPASS_SECONDS = 15.0  # routers answer within two looks, or something is wrong with them
_NO_TRAFFIC: frozenset[Phase] = frozenset({"Pending", "Validating", "AwaitingApproval", "Provisioning"})


def begin_return(
    state: State,
    seen: Observation,
    why: Why,
    *,
    is_abort: bool = False,
    segments: Collection[str] | None = None,
) -> Stepped:
    """The plan on its way back. `segments`: the ones that return; None for all."""
    ends_in: Phase = "Aborted" if is_abort else "RolledBack"
    held = replace(
        state,
        rollback_reason=why.reason,
        rollback_message=clip(why.message),
        rollback_to="Aborted" if is_abort else "RolledBack",
        rollback_scope="plan" if segments is None else "segment",
        resume_phase=None,
    )
    if find_acting_phase(state) in _NO_TRAFFIC and not is_split(state):
        return enter(forget_evidence(held), ends_in, seen, why, 0, candidate_replicas=0)
    held = replace(
        held,
        segments=tuple(
            replace(each, place="RolledBack")
            if each.place in {"Moving", "Candidate"} and (segments is None or each.name in segments)
            else each
            for each in state.segments
        ),
    )
    returned = _return_shares(forget_evidence(set_traffic(held, seen, shadow_percent=0)), seen)
    return enter(returned, "RollingBack", seen, why, RETURN_SECONDS)


def return_traffic(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """RollingBack: shares to 0, confirmed, given back, then the candidate's pods."""
    if _left_to_return(state):
        if not _may_return(seen):
            return wait(state, _say_halt(facts))
        return proceed(_return_shares(state, seen), state.rollback_message)
    if state.stage_since is None:
        if not is_confirmed(state, seen) and not _may_bypass(state, seen):
            return _await(state, seen, f"waits for confirmation: {describe_route(seen)}")
        return proceed(replace(state, stage_since=seen.now), state.rollback_message)
    if has_weight(state):
        needed = count_needed(seen, state.segments)
        kept = min(state.candidate_replicas, needed) if needed else state.candidate_replicas
        return _end(state, seen, kept)
    if seen.is_released and seen.now > state.stage_since:
        return _end(state, seen, 0)
    return _await(state, seen, "all is on the baseline; waits for the traffic to be given back")


def keep_split(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """An end with users on both sides: capacity follows demand, until somebody ends or restarts the plan."""
    if facts.is_aborted or facts.is_deleting:
        how = "deleted" if facts.is_deleting else "aborted"
        return begin_return(
            state, seen, tell(Reason.Aborted, f"{how} by its author: all returns"), is_abort=True
        )
    if facts.restart_token not in {"", state.restart_token}:
        why = tell(Reason.Restarted, f"restartToken {facts.restart_token}: all returns before it begins anew")
        return begin_return(state, seen, why)
    needed = count_needed(seen, state.segments)
    return Stepped(replace(state, candidate_replicas=max(needed, state.candidate_replicas)))


def _may_bypass(state: State, seen: Observation) -> bool:
    """True when a path that does not answer has had its time: to be led past it needs no word of it."""
    since = state.phase_since
    is_late = since is not None and seen.now - since >= timedelta(seconds=BYPASS_SECONDS)
    return is_late and not has_weight(state)


def _left_to_return(state: State) -> bool:
    return any(each.place == "RolledBack" and each.weight_percent > 0 for each in state.segments)


def _may_return(seen: Observation) -> bool:
    return seen.baseline_view.ready > 0 or seen.candidate_view.ready < 1


def _return_shares(state: State, seen: Observation) -> State:
    """The state with all that returns at 0, where the baseline can take it."""
    if not _may_return(seen) or not _left_to_return(state):
        return state
    weights = {each.name: 0 for each in state.segments if each.place == "RolledBack"}
    return set_traffic(state, seen, weights)


def _say_halt(facts: PlanFacts) -> Why:
    return warn(
        Reason.RollbackHalted,
        f"the way back of plan {facts.name} halts: the baseline has no ready pod and the candidate answers; "
        "shares stay where they are until the baseline is ready",
    )


def _await(state: State, seen: Observation, message: str) -> Stepped:
    if is_overdue(state, seen):
        return wait(state, warn(Reason.ReturnOverdue, f"{message}; it should have been done by now"))
    return proceed(state, message)


def _end(state: State, seen: Observation, candidate_replicas: int) -> Stepped:
    phase: Phase = "Aborted" if state.rollback_to == "Aborted" else "RolledBack"
    reason = Reason.Aborted if phase == "Aborted" else Reason.RolledBack
    kept = [f"{each.name} {each.weight_percent}%" for each in state.segments if each.weight_percent]
    what = f"; on the candidate stay {', '.join(kept)}" if kept else "; all traffic is on the baseline"
    why = warn(reason, f"{state.rollback_reason}: {state.rollback_message}{what}")
    return enter(state, phase, seen, why, 0, candidate_replicas=candidate_replicas)
