"""What one pass makes of a CutoverPlan: its next state, and what that asks of the traffic.

    stored state ──observe──▶ step ──▶ status, events ──▶ traffic, once the status is stored
                                └────▶ what to look at until the next pass

The finalizer stands while traffic is held: it is set before the first order, and goes after the last one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from switchyard.core.cutover.facts import read_plan
from switchyard.core.cutover.observing import Outlook, choose_router, observe
from switchyard.core.cutover.orders import TRAFFIC_FINALIZER, Carried, TrafficOrder, TrafficWatch
from switchyard.core.cutover.traffic import (
    build_traffic_plan,
    find_release_track,
    wants_release,
    wants_traffic,
)
from switchyard.core.cutover.types import (
    TERMINAL,
    Observation,
    PlanFacts,
    Side,
    State,
    Stepped,
)
from switchyard.core.cutover.watching import find_evidence_watch
from switchyard.core.decisions import EventNote, FinalizerWrite, ObjectDecision, StatusWrite
from switchyard.core.plans import PlanPass
from switchyard.core.reports import report_broken
from switchyard.core.routing.plan import RouteState, TrafficPlan
from switchyard.core.world import Plan, Sight, Workload

_KIND = "CutoverPlan"
Weigh = Callable[[PlanFacts, State, Observation, Sight | None], Observation]
Reported = tuple[StatusWrite | None, tuple[EventNote, ...]]


@dataclass(frozen=True, slots=True)
class Machine:
    """The parts that carry a plan on. `weigh` adds to an observation what the gates say of the samples."""

    weigh: Weigh
    step: Callable[[PlanFacts, State, Observation], Stepped]
    report: Callable[[Plan, PlanFacts, Stepped, Observation], Reported]


def decide_plan(plan: Plan, state: State, outlook: Outlook, machine: Machine) -> PlanPass:
    """The effects for one plan, and what to look at. `state`: what it remembers, as stored."""
    nothing = ObjectDecision(_KIND, plan.meta.namespace, plan.meta.name)
    has_finalizer = TRAFFIC_FINALIZER in plan.meta.finalizers
    if plan.meta.is_deleting and not has_finalizer:
        return PlanPass(nothing)
    facts = _read_facts(plan, outlook.workload)
    is_gone = _is_gone(outlook.workload, outlook)
    if has_finalizer and (is_gone or _is_returned(state)):
        return PlanPass(replace(nothing, finalizers=_write_finalizer(plan, is_kept=False)))
    if not has_finalizer and _holds(state) and not is_gone and not plan.meta.is_deleting:
        watch = _watch(plan, facts, state, outlook, None)
        return PlanPass(replace(nothing, finalizers=_write_finalizer(plan, is_kept=True)), watch)
    if outlook.problem and state.candidate is not None:
        return _stand_by(plan, facts, state, outlook)
    seen = machine.weigh(facts, state, observe(plan, facts, state, outlook), outlook.sight)
    stepped = machine.step(facts, state, seen)
    status, events = machine.report(plan, facts, stepped, seen)
    order = _order(facts, stepped.state, outlook) if has_finalizer else None
    if order is not None and is_in_force(order, outlook.sight, outlook.carried):
        order = None
    return PlanPass(
        replace(nothing, status=status, events=events, traffic=order),
        _watch(plan, facts, stepped.state, outlook, seen),
        stepped.recheck_at,
    )


def _stand_by(plan: Plan, facts: PlanFacts, state: State, outlook: Outlook) -> PlanPass:
    """Nothing is decided of a workload that can't be weighed; the traffic stays as it was asked for."""
    message = f"the plan stands by: workload {facts.workload} can't be read: {outlook.problem}"
    decision = report_broken(plan, _KIND, message, outlook.now)
    order = _order(facts, state, outlook) if TRAFFIC_FINALIZER in plan.meta.finalizers else None
    if order is not None and is_in_force(order, outlook.sight, outlook.carried):
        order = None
    return PlanPass(replace(decision, traffic=order), _watch(plan, facts, state, outlook, None))


def is_in_force(order: TrafficOrder, sight: Sight | None, carried: Carried | None) -> bool:
    """True when nothing of the order is left to do, by what was seen last or by what came of it."""
    if order.release_to:
        return carried is not None and carried.order == order and carried.is_done
    route: RouteState | None = sight.route if sight is not None else None
    return (
        route is not None
        and route.is_engaged
        and not route.drift
        and not route.problem
        and not route.waiting_for
        and route.version is not None
        and route.version >= order.plan.version
    )


def _read_facts(plan: Plan, workload: Workload | None) -> PlanFacts:
    meta = plan.meta
    return read_plan(
        plan.spec,
        workload.spec if workload is not None else None,
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        generation=meta.generation,
        is_deleting=meta.is_deleting,
    )


def _holds(state: State) -> bool:
    return wants_traffic(state) or wants_release(state)


def _is_returned(state: State) -> bool:
    """True once the plan has ended with nothing of the traffic in its hands."""
    return state.phase in TERMINAL and not _holds(state)


def _is_gone(workload: Workload | None, outlook: Outlook) -> bool:
    """True when there is nothing left whose traffic could be returned."""
    if workload is None:
        return not outlook.problem
    return workload.meta.is_deleting


def _write_finalizer(plan: Plan, *, is_kept: bool) -> FinalizerWrite:
    others = tuple(each for each in plan.meta.finalizers if each != TRAFFIC_FINALIZER)
    return FinalizerWrite(_KIND, plan.meta, (*others, TRAFFIC_FINALIZER) if is_kept else others)


def _order(facts: PlanFacts, state: State, outlook: Outlook) -> TrafficOrder | None:
    workload = outlook.workload
    if workload is None or state.router is None or not _holds(state):
        return None
    return TrafficOrder(state.router, _build(facts, state, workload), find_release_track(state))


def _build(facts: PlanFacts, state: State, workload: Workload) -> TrafficPlan:
    return build_traffic_plan(facts, state, workload_uid=workload.meta.uid, port=workload.spec.port)


def _watch(
    plan: Plan, facts: PlanFacts, state: State, outlook: Outlook, seen: Observation | None
) -> TrafficWatch | None:
    """What to look at: the path while it is held, and before a plan begins what the path can do."""
    workload = outlook.workload
    if workload is None:
        return None
    if _holds(state) and state.router is not None and state.baseline and state.candidate:
        needs_samples = wants_traffic(state) and state.phase not in TERMINAL
        return TrafficWatch(
            key=plan.key,
            router=state.router,
            plan=_build(facts, state, workload),
            interval_seconds=facts.interval_seconds,
            is_unsettled=state.phase not in TERMINAL and (state.stage_since is None or wants_release(state)),
            counts_from=state.stage_since,
            needs_samples=needs_samples,
            evidence=find_evidence_watch(facts, state, workload.spec) if needs_samples else None,
        )
    if seen is None or state.phase not in {"Pending", "Validating", "AwaitingApproval"}:
        return None
    if seen.baseline is None or not seen.target.track:
        return None
    target = seen.target
    sides = replace(
        state,
        baseline=seen.baseline,
        candidate=Side(facts.variant, target.pool, target.track),
        traffic_version=max(1, state.traffic_version),
    )
    return TrafficWatch(
        key=plan.key,
        router=choose_router(facts, workload),
        plan=_build(facts, sides, workload),
        interval_seconds=facts.interval_seconds,
        needs_support=True,
    )
