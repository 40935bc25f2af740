"""What a plan under way asks of its workload's roll-out, read from what the plan remembers. Pure.

before Provisioning            nothing but quiet: no recommendation meanwhile
Provisioning to Soaking        the baseline serves; the candidate has its replicas beside it
Completing                     the candidate serves; the baseline goes once the traffic was released
RollingBack                    the baseline serves; the candidate goes when the plan wants it no longer
RolledBack with shares left    as in Canary: segments that passed stay on the candidate
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from switchyard.core.cutover.traffic import HELD, find_acting_phase, is_split
from switchyard.core.cutover.types import TERMINAL, Phase, Side, State
from switchyard.core.world import Plan

Key = tuple[str, str]
Recall = Callable[[Plan], State]  # what a plan remembers

_BEGUN: frozenset[Phase] = frozenset({"Provisioning", *HELD, "Completing", "RollingBack"})


@dataclass(frozen=True, slots=True)
class Errand:
    """Of one workload. `host`: the side that it is bound to, None where the plan does not say yet.

    `guest_replicas` of `guest` run beside it. `is_idle`: no request reaches the guest, which on the way back
    is known at its end only.
    """

    plan: Key
    host: Side | None = None
    guest: Side | None = None
    guest_replicas: int = 0
    is_idle: bool = True


def recall_nothing(_plan: Plan) -> State:
    """The state of a plan of which nothing is known: it does nothing and keeps nobody quiet."""
    return State(phase="Completed")


def find_leading(plans: Iterable[Plan], states: Mapping[Key, State]) -> dict[Key, tuple[Plan, State]]:
    """By workload, the plan under way that acts on it: the one that has begun, of several the oldest."""
    found: dict[Key, tuple[Plan, State]] = {}
    known = ((plan, states[plan.key]) for plan in plans if plan.key in states)
    for plan, state in sorted(known, key=lambda each: _precedence(*each)):
        if is_under_way(state):
            found.setdefault(plan.workload_key, (plan, state))
    return found


def read_errand(plan: Plan, state: State) -> Errand:
    """What this plan asks."""
    if state.baseline is None or state.candidate is None or not _has_begun(state):
        return Errand(plan.key)
    if find_acting_phase(state) == "Completing":
        return Errand(plan.key, host=state.candidate)
    return Errand(
        plan.key,
        host=state.baseline,
        guest=state.candidate,
        guest_replicas=state.candidate_replicas,
        is_idle=not carries_traffic(state) and find_acting_phase(state) != "RollingBack",
    )


def is_under_way(state: State) -> bool:
    """True until the plan has ended with nothing of the candidate left to keep."""
    return state.phase not in TERMINAL or is_split(state)


def carries_traffic(state: State) -> bool:
    """True while requests, or copies of them, go to the candidate by the plan's word."""
    return state.shadow_percent > 0 or any(each.weight_percent > 0 for each in state.segments)


def _has_begun(state: State) -> bool:
    return is_split(state) or (
        state.phase not in TERMINAL and (find_acting_phase(state) in _BEGUN or state.candidate_replicas > 0)
    )


def _precedence(plan: Plan, state: State) -> tuple[bool, datetime, Key]:
    never = datetime.max.replace(tzinfo=UTC)
    return (not _has_begun(state), plan.meta.created_at or never, plan.key)
