"""Whether a plan may begin: a list of checks, the first that fails says why. Nothing is spent before."""

from __future__ import annotations

from collections.abc import Callable

from switchyard.api import Reason
from switchyard.core.cutover.calendar import find_unknown_zones
from switchyard.core.cutover.economics import expect_dual_run, find_payback, find_saving
from switchyard.core.cutover.facts import find_gaps
from switchyard.core.cutover.types import Observation, PlanFacts
from switchyard.core.placement.cost import format_money
from switchyard.core.routing.plan import Feature
from switchyard.core.stability.recommend import write_duration

Refusal = tuple[str, str]  # reason and message
Check = Callable[[PlanFacts, Observation], Refusal | None]


def find_refusal(facts: PlanFacts, seen: Observation) -> Refusal | None:
    """Why the plan may not begin as things are; None when it may."""
    return next((refusal for check in _CHECKS if (refusal := check(facts, seen)) is not None), None)


def list_features(facts: PlanFacts) -> frozenset[Feature]:
    """What the way of routing must be able to do for this plan."""
    needed = {Feature.WEIGHTS}
    matches = [each.match for each in facts.segments if each.match is not None]
    if any(match.headers or match.path_prefix is not None for match in matches):
        needed.add(Feature.SEGMENTS)
    if any(match.tier is not None for match in matches):
        needed.add(Feature.TIERS)
    if any(each.sticky is not None for each in facts.segments):
        needed.add(Feature.STICKINESS)
    if facts.shadow.percent:
        needed.add(Feature.MIRROR)
        if facts.shadow.percent < 100:
            needed.add(Feature.MIRROR_PERCENT)
        if any(gate.kind == "parity" for gate in facts.gates):
            needed.add(Feature.COMPARISON)
    return frozenset(needed)


def _workload_can_move(_facts: PlanFacts, seen: Observation) -> Refusal | None:
    return seen.workload_problem


def _target_is_elsewhere(facts: PlanFacts, seen: Observation) -> Refusal | None:
    if seen.baseline is None:
        return Reason.NotServing.value, f"workload {facts.workload} has no track that serves yet"
    if seen.target.track and seen.target.track == seen.baseline.track:
        message = f"variant {facts.variant} on pool {seen.target.pool} serves already"
        return Reason.AlreadyServing.value, f"{message}; name another target"
    return None


def _target_can_be_placed(facts: PlanFacts, seen: Observation) -> Refusal | None:
    if seen.target.refusal is not None:
        return seen.target.refusal
    if not seen.target.pool or not seen.target.track or seen.target.replicas < 1:
        return Reason.ProfileMissing.value, f"the planner has no place for variant {facts.variant} yet"
    return None


def _gates_are_whole(facts: PlanFacts, _seen: Observation) -> Refusal | None:
    gaps = find_gaps(facts)
    return (Reason.InvalidSpec.value, "; ".join(gaps)) if gaps else None


def _something_moves(facts: PlanFacts, _seen: Observation) -> Refusal | None:
    if any(each.steps and not each.stays for each in facts.segments):
        return None
    return Reason.InvalidSpec.value, "segments: none has steps, so nothing would move"


def _time_zones_exist(facts: PlanFacts, _seen: Observation) -> Refusal | None:
    unknown = find_unknown_zones(facts.windows)
    if not unknown:
        return None
    message = f"windows: no time zone has the name {', '.join(unknown)}; give one such as Europe/Berlin"
    return Reason.InvalidSpec.value, message


def _pairs_are_seen(facts: PlanFacts, seen: Observation) -> Refusal | None:
    """Whether answers can be compared in a canary: only a router in the users' path knows what they got."""
    names = [gate.name for gate in facts.gates if gate.kind == "parity" and "canary" in gate.stages]
    if seen.router == "builtin" or not names:
        return None
    message = (
        f"gate {', '.join(names)}: router {seen.router} can't compare answers in canary, where metrics of "
        "the tracks are the evidence; judge parity in stages: [shadow], or let router builtin move it"
    )
    return Reason.RouterUnsupported.value, message


def _router_can_do_it(facts: PlanFacts, seen: Observation) -> Refusal | None:
    if seen.support is None:
        return Reason.RouterUnknown.value, f"what router {seen.router} can do here is not known yet"
    missing = sorted(list_features(facts) - seen.support.features)
    if not missing:
        return None
    told = [f"{each.value} ({seen.support.reasons.get(each, 'not supported')})" for each in missing]
    message = f"router {seen.router} can't do what the plan asks: {'; '.join(told)}"
    return Reason.RouterUnsupported.value, message


def _requests_are_counted(_facts: PlanFacts, seen: Observation) -> Refusal | None:
    return (Reason.EvidenceMissing.value, seen.uncounted) if seen.uncounted else None


def _baseline_is_ready(_facts: PlanFacts, seen: Observation) -> Refusal | None:
    if seen.baseline_view.ready > 0:
        return None
    return (
        Reason.BaselineLost.value,
        "the baseline has no ready pod: nothing could be compared, or returned to",
    )


def _move_pays(facts: PlanFacts, seen: Observation) -> Refusal | None:
    if facts.payback_seconds is None:
        return None
    wanted = f"wanted is payback within {write_duration(facts.payback_seconds)}"
    payback = find_payback(facts, seen)
    if payback is None:
        extra = format_money(-find_saving(seen))
        message = f"the target saves nothing (it costs {extra} per hour more); {wanted}"
        return Reason.PaybackTooLong.value, message
    if payback > facts.payback_seconds:
        saving = format_money(find_saving(seen))
        message = f"payback takes {write_duration(payback)} at a saving of {saving} per hour; {wanted}"
        return Reason.PaybackTooLong.value, message
    return None


def _budget_suffices(facts: PlanFacts, seen: Observation) -> Refusal | None:
    if facts.max_dual_run_cost is None:
        return None
    expected = expect_dual_run(facts, seen)
    if expected <= facts.max_dual_run_cost:
        return None
    message = (
        f"running both sides costs {format_money(expected)} at least; "
        f"budget.maxDualRunCost is {format_money(facts.max_dual_run_cost)}"
    )
    return Reason.DualRunBudgetExceeded.value, message


_CHECKS: tuple[Check, ...] = (
    _workload_can_move,
    _something_moves,
    _time_zones_exist,
    _gates_are_whole,
    _target_is_elsewhere,  # before the planner's refusal: where it serves it needs no room
    _target_can_be_placed,
    _baseline_is_ready,
    _pairs_are_seen,
    _router_can_do_it,
    _requests_are_counted,
    _move_pays,
    _budget_suffices,
)
