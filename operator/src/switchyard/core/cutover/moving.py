"""From the first copy to the end: Shadowing, Canary, Soaking, Completing.

A step forward needs, in this order: the traffic confirmed, evidence, a Pass of every gate of the stage, the
shortest time and the fewest samples, no hold, and the candidate ready for the next share. While one is
missing, users and copies stay where they are, and gates are still judged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from switchyard.api import Reason
from switchyard.core.cutover.capacity import (
    HEADROOM_RATIO,
    count_needed,
    describe_readiness,
    find_own_load,
    has_room,
)
from switchyard.core.cutover.copies import ask_copies, ask_load
from switchyard.core.cutover.holds import find_hold, note_requests
from switchyard.core.cutover.judging import (
    GRACE_INTERVALS,
    describe_reports,
    find_lack,
    find_shortfall,
    has_passed,
    is_judged,
    list_reports,
)
from switchyard.core.cutover.moves import (
    CONFIRMATION_SECONDS,
    Why,
    describe_route,
    enter,
    find_next_segment,
    find_segment,
    find_step,
    forget_evidence,
    is_overdue,
    pause,
    proceed,
    set_traffic,
    tell,
    wait,
    warn,
)
from switchyard.core.cutover.returning import begin_return
from switchyard.core.cutover.staging import (
    begin_canary,
    begin_completion,
    begin_shadow,
    begin_soak,
    begin_step,
)
from switchyard.core.cutover.traffic import find_acting_phase
from switchyard.core.cutover.types import Observation, PlanFacts, State, Stepped
from switchyard.core.stability.recommend import write_duration

Forward = Callable[[PlanFacts, State, Observation], Stepped]

_SPARE_RATIO = 0.45  # of the cap, below which twice as many copies still fit


def shadow(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """Shadowing: compare the copies; fewer of them while the candidate is too busy."""
    if state.shadow_percent == 0:
        return begin_shadow(facts, state, seen)  # after the baseline was lost
    percent = _fit_copies(facts, state, seen)
    if percent != state.shadow_percent:
        return _change_copies(state, seen, percent, _tell_fitted(facts, seen, percent))
    return judge(facts, state, seen)


def canary(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """Canary: compare both sides; beside users' requests copies, where a gate needs them, never more again.

    Within a step more copies would cost the evidence of users' requests, which begins anew with each change.
    """
    weight = state.segments[state.segment_index].weight_percent
    asked = ask_copies(facts, weight)
    if not asked:
        return judge(facts, state, seen)
    if state.shadow_percent == 0:  # the gate is new, or the baseline was lost
        state, missing = make_room(state, seen, ask_load(facts, weight))
        if missing:
            return _go_on_looking(facts, state, seen, missing, warn(Reason.CandidateNotReady, missing))
        message = f"{asked}% of the requests that the baseline answers are copied"
        return _change_copies(state, seen, asked, tell(Reason.ShadowStarted, message))
    percent = _fit_copies(facts, state, seen)
    if percent < state.shadow_percent:
        return _change_copies(state, seen, percent, _tell_fitted(facts, seen, percent))
    return judge(facts, state, seen)


def complete(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """Completing: the traffic is given back with all of it on the candidate, which then is the service."""
    is_active = seen.baseline is not None and seen.baseline == state.candidate
    if seen.is_released and is_active and state.stage_since is not None and seen.now > state.stage_since:
        message = f"variant {facts.variant} serves workload {facts.workload}; the baseline is gone"
        why = tell(Reason.CutoverCompleted, message)
        return enter(state, "Completed", seen, why, 0, candidate_replicas=0)
    message = (
        "waits for the workload to serve from the candidate" if seen.is_released else describe_route(seen)
    )
    if is_overdue(state, seen):
        return wait(state, warn(Reason.CompletionOverdue, f"{message}; it should have been done by now"))
    return proceed(state, message)


def judge(facts: PlanFacts, state: State, seen: Observation) -> Stepped:
    """One look at a stage; also the whole of Canary and Soaking."""
    if state.stage_since is None:
        return _await_confirmation(state, seen)
    lack = find_lack(facts, state, seen)
    if lack:
        return lack_evidence(facts, state, seen, lack)
    state = replace(state, inconclusive_since=None)
    undecided = find_undecided(facts, state, seen)
    if undecided:
        why = warn(Reason.StageOverdue, f"not decided in the stage's longest time: {undecided}")
        return _go_on_looking(facts, state, seen, undecided, why)
    held = find_hold(facts, state, seen, state.phase)
    if held is not None:
        return pause(note_requests(facts, state, seen, state.phase), seen, held)
    percent, forward = find_forward(facts, state)
    state, missing = make_room(state, seen, percent)
    if missing:
        return _go_on_looking(facts, state, seen, missing, warn(Reason.CandidateNotReady, missing))
    return forward(facts, state, seen)


def find_forward(facts: PlanFacts, state: State) -> tuple[int, Forward]:
    """The share that the candidate answers after the present stage, copies included, and what begins it."""
    phase = find_acting_phase(state)
    segment, step = find_segment(facts, state), find_step(facts, state)
    if phase == "Soaking":
        return 100, begin_completion
    if phase == "Shadowing":
        first = find_next_segment(facts, -1)
        return _find_first_load(facts, first), begin_canary
    if segment is None or step is None:
        return 100, begin_soak
    index = state.segment_index
    if state.segments[index].weight_percent < step.weight_percent:  # the steps were edited
        return ask_load(facts, step.weight_percent), _to_step(index, state.step_index)
    if state.step_index + 1 < len(segment.steps):
        following_step = segment.steps[state.step_index + 1]
        return ask_load(facts, following_step.weight_percent), _to_step(index, state.step_index + 1)
    following = find_next_segment(facts, index)
    if following is None:
        return 100, begin_soak
    return _find_first_load(facts, following), _to_step(following, 0)


def find_undecided(facts: PlanFacts, state: State, seen: Observation) -> str:
    """What the evidence lacks for a step forward, in words; empty when nothing."""
    if not has_passed(facts, state, seen):
        return _describe_progress(facts, state, seen)
    return find_shortfall(facts, state, seen)


def make_room(state: State, seen: Observation, percent: int) -> tuple[State, str]:
    """The state that asks for the replicas of the next share, and what is missing of them."""
    needed = count_needed(seen, state.segments, percent)
    if not needed:
        return state, "the planner does not say how many replicas the next share needs"
    state = replace(state, candidate_replicas=max(state.candidate_replicas, needed))
    if not has_room(state, seen, needed):
        return state, f"the next share needs {needed} replicas: {describe_readiness(state, seen)}"
    return state, "" if seen.baseline_view.ready > 0 else "the baseline has no ready pod"


def _go_on_looking(facts: PlanFacts, state: State, seen: Observation, message: str, late: Why) -> Stepped:
    """The same stage until its longest time is over; then what the author wants."""
    if not is_overdue(state, seen):
        return proceed(state, message)
    return (
        begin_return(state, seen, late) if facts.on_inconclusive == "rollback" else pause(state, seen, late)
    )


def _await_confirmation(state: State, seen: Observation) -> Stepped:
    message = f"waits for the path: {describe_route(seen)}"
    if is_overdue(state, seen):
        return begin_return(state, seen, warn(Reason.RouteNotEffective, message))
    return proceed(state, message)


def lack_evidence(facts: PlanFacts, state: State, seen: Observation, lack: str) -> Stepped:
    """Never a Pass and never a Fail: first patience, then a pause, at last what the author wants."""
    since = state.inconclusive_since or seen.now
    state = replace(state, inconclusive_since=since)
    waited = (seen.now - since).total_seconds()
    is_late = waited >= facts.inconclusive_seconds or is_overdue(state, seen)
    why = warn(Reason.EvidenceMissing, f"no evidence: {lack}")
    if is_late and facts.on_inconclusive == "rollback":
        return begin_return(state, seen, why)
    if is_late or seen.is_blind or waited >= GRACE_INTERVALS * facts.interval_seconds:
        return pause(state, seen, why)
    return proceed(state, why.message)


def _change_copies(state: State, seen: Observation, percent: int, why: Why) -> Stepped:
    """The same stage with another share of copies: its evidence begins anew."""
    changed = forget_evidence(set_traffic(state, seen, shadow_percent=percent))
    return wait(replace(changed, deadline=seen.now + timedelta(seconds=CONFIRMATION_SECONDS)), why)


def _tell_fitted(facts: PlanFacts, seen: Observation, percent: int) -> Why:
    load = f"{100 * (seen.candidate_view.utilisation_ratio or 0):.0f}%"
    cap = f"{100 * facts.shadow.max_utilisation_ratio:.0f}%"
    message = f"the candidate is {load} busy (cap {cap}): {percent}% of requests are copied"
    return tell(Reason.ShadowFitted, message)


def _fit_copies(facts: PlanFacts, state: State, seen: Observation) -> int:
    """The share to copy: less while the candidate is above its cap, more again when there is room."""
    load, cap, now = (
        seen.candidate_view.utilisation_ratio,
        facts.shadow.max_utilisation_ratio,
        state.shadow_percent,
    )
    if load is None or not is_judged(state, seen):
        return now
    if load > cap:
        own = find_own_load(state, seen.candidate_view)
        spare = max(0.0, HEADROOM_RATIO * cap - own)
        return max(1, min(now - 1, int(now * spare / (load - own)))) if own < load else now
    if load < _SPARE_RATIO * cap:
        return max(now, min(facts.shadow.percent, 2 * now))
    return now


def _describe_progress(facts: PlanFacts, state: State, seen: Observation) -> str:
    open_ones = [each for each in list_reports(facts, state, seen) if each.verdict != "Pass"]
    needed = [each for each in open_ones if each.needed]
    if needed:
        most = max(needed, key=lambda each: each.needed or 0)
        eta = f", about {write_duration(most.eta_seconds)}" if most.eta_seconds is not None else ""
        return f"gate {most.name} needs {most.needed} more requests{eta}"
    return describe_reports(open_ones[:3]) or "waits for the first window of evidence"


def _find_first_load(facts: PlanFacts, segment: int | None) -> int:
    return 100 if segment is None else ask_load(facts, facts.segments[segment].steps[0].weight_percent)


def _to_step(segment: int, step: int) -> Forward:
    return lambda facts, state, seen: begin_step(facts, state, seen, segment, step)
