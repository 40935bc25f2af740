"""Recommendations that become plans, and how many ended ones are kept.

    settled, stored, one place --nothing moves it, no back-off, it could begin now--> one plan, made once

What is acted on is the recommendation as status has it, so the plan's name is the same in every process. A
plan that exists is never written again. A target whose plan was rolled back or aborted is left alone for a
day, twice as long after each further time, until its variant or the model is another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from switchyard.api import GROUP, VERSION, Reason, labels
from switchyard.api.cutover import CutoverPlanSpec
from switchyard.api.cutover_status import CutoverPlanStatus
from switchyard.core.cutover.economics import find_saving
from switchyard.core.cutover.errand import is_under_way
from switchyard.core.cutover.facts import read_plan
from switchyard.core.cutover.observing import hash_inputs, observe
from switchyard.core.cutover.orders import TRAFFIC_FINALIZER
from switchyard.core.cutover.proposing import KIND, Pair, build_plan
from switchyard.core.cutover.types import Observation, PlanFacts, State
from switchyard.core.cutover.validation import Refusal, find_refusal
from switchyard.core.decisions import Apply, Delete, EventNote, ObjectDecision
from switchyard.core.naming import label_value
from switchyard.core.plans import PlanTable, look_out
from switchyard.core.routing.plan import Feature, Support
from switchyard.core.seats import Key, Seat
from switchyard.core.stability.recommend import RecommendationPlan
from switchyard.core.world import Child, Meta, Plan, Workload

BACK_OFF = timedelta(hours=24)
MOST_DOUBLINGS = 5
KEPT_PLANS = 3  # of those that have ended, by workload

_ANY_ROUTER = Support(frozenset(Feature))  # what the path can do is seen when there is a plan


@dataclass(frozen=True, slots=True)
class Proposal:
    """The plan to make, or why a settled recommendation has none yet; neither where none is asked for."""

    plan: ObjectDecision | None = None
    waits_for: str = ""
    recheck_at: datetime | None = None


def propose(seat: Seat, recommended: RecommendationPlan, table: PlanTable) -> Proposal:
    """What comes of a workload's recommendation in this pass."""
    workload = seat.workload
    since, target = _find_target(workload, recommended)
    if not since or seat.errand is not None or workload.meta.is_deleting:
        return Proposal()
    blocked = _find_rival(workload, table)
    if blocked is not None:
        return Proposal(waits_for=_keep_words(workload, *blocked))
    until = find_back_off(workload, target, table)
    if until is not None and until > table.world.now:
        message = f"an earlier plan for it came to nothing; it is left alone until {until:%Y-%m-%d %H:%M} UTC"
        return Proposal(waits_for=f"{Reason.TargetBackOff.value}: {message}", recheck_at=until)
    body, refusal = _draft(workload, target, since, table)
    if refusal is not None:
        return Proposal(waits_for=_keep_words(workload, *refusal))
    return Proposal(_make(workload, body, recommended, table))


def note_wait(recommended: RecommendationPlan, proposal: Proposal) -> RecommendationPlan:
    """The recommendation as status shows it, with what its plan waits for."""
    shown = recommended.recommendation
    if shown is None:
        return recommended
    told = shown.model_copy(update={"waits_for": proposal.waits_for[:1024] or None})
    return replace(recommended, recommendation=told)


def find_back_off(workload: Workload, target: Pair, table: PlanTable) -> datetime | None:
    """Until when a target is left alone whose plans came to nothing; None where none did."""
    failed = [
        state.completed_at
        for plan, state in _list_plans(workload, table)
        if state.phase in {"RolledBack", "Aborted"}
        and state.completed_at is not None
        and _is_aimed_at(plan, state, target)
        and state.inputs_hash in {"", hash_inputs(plan, workload, state)}
    ]
    if not failed:
        return None
    doublings: int = min(len(failed) - 1, MOST_DOUBLINGS)
    return max(failed) + BACK_OFF * (1 << doublings)


def find_surplus(table: PlanTable) -> dict[Key, ObjectDecision]:
    """Plans of ours that have ended and are to go: the newest of each workload stay, and what backs off."""
    found = {}
    moved = {plan.workload_key for plan in table.world.plans}  # few of all workloads
    for workload in (each for each in table.world.workloads if each.key in moved):
        ended = [
            (state.completed_at, plan, state)
            for plan, state in _list_plans(workload, table)
            if _is_ours(plan, workload) and not is_under_way(state) and state.completed_at is not None
        ]
        ended.sort(key=lambda each: (each[0], each[1].key), reverse=True)
        for _, plan, state in ended[KEPT_PLANS:]:
            is_held = plan.meta.is_deleting or TRAFFIC_FINALIZER in plan.meta.finalizers
            if not is_held and not _is_remembered(plan, state, workload, table):
                found[plan.key] = _delete(plan)
    return found


def _find_target(workload: Workload, recommended: RecommendationPlan) -> tuple[str, Pair]:
    """Since when which place has been recommended, where it may be acted on; an empty moment where not."""
    nothing = "", ("", "")
    placement = workload.spec.placement
    stored, shown = workload.status.recommendation, recommended.recommendation
    if placement.migration != "auto" or placement.mode != "single" or stored is None or shown is None:
        return nothing
    if not (stored.settled and shown.settled) or not stored.since or stored.since != shown.since:
        return nothing
    places = [(each.variant, each.pool) for each in shown.placements]
    if len(places) != 1 or places != [(each.variant, each.pool) for each in stored.placements]:
        return nothing
    return stored.since, places[0]


def _find_rival(workload: Workload, table: PlanTable) -> Refusal | None:
    """A plan that nobody can read and that may move the workload, as the reason to make no other."""
    namespace = workload.meta.namespace
    unread = [each.meta for each in table.world.unreadable if each.kind == KIND]
    unread += [
        each.meta
        for each in table.world.plans
        if each.workload_key == workload.key and each.key not in table.states
    ]
    found = next((meta.name for meta in unread if meta.namespace == namespace), "")
    if not found:
        return None
    message = f"CutoverPlan {found} can't be read, and may move the workload: mend or delete it"
    return Reason.WaitingForPlan.value, message


def _keep_words(workload: Workload, reason: str, message: str) -> str:
    """What a plan waits for; while the reason is the same the words stay, whatever their figures."""
    stored = workload.status.recommendation
    before = (stored.waits_for or "") if stored is not None else ""
    return before if before.startswith(f"{reason}: ") else f"{reason}: {message}"


def _draft(
    workload: Workload, target: Pair, since: str, table: PlanTable
) -> tuple[dict[str, Any], Refusal | None]:
    """The plan, and why it would only wait as things are."""
    bare = build_plan(workload, target, since, must_repay=False, must_be_cheaper=False)
    _, seen = _look_at(bare, workload, table)
    body = build_plan(
        workload,
        target,
        since,
        must_repay=find_saving(seen) > 0,
        must_be_cheaper=_is_cheaper(seen),
    )
    key = workload.meta.namespace, body["metadata"]["name"]
    if any(each.key == key for each in table.world.plans):
        return body, (Reason.NameConflict.value, f"there is a CutoverPlan {key[1]} already")
    facts, seen = _look_at(body, workload, table)
    return body, find_refusal(facts, replace(seen, support=_ANY_ROUTER))


def _look_at(body: Mapping[str, Any], workload: Workload, table: PlanTable) -> tuple[PlanFacts, Observation]:
    """The plan as its first look would find it."""
    metadata = body["metadata"]
    meta = Meta(metadata["name"], metadata["namespace"], "", "", 1)
    plan = Plan(meta, CutoverPlanSpec.model_validate(body["spec"]), CutoverPlanStatus())
    facts = read_plan(
        plan.spec, workload.spec, namespace=meta.namespace, name=meta.name, uid="", generation=1
    )
    fresh = State()
    outlook = look_out(plan, replace(table, states={plan.key: fresh}))
    return facts, observe(plan, facts, fresh, outlook)


def _is_cheaper(seen: Observation) -> bool:
    """True where a request costs no more there by the price that gates go by, devices' share included.

    Placement goes by what is added to the bill: a place on devices that are paid for may save and fail this.
    """
    before, then = seen.baseline_cost_per_thousand, seen.target.cost_per_thousand
    return before is not None and then is not None and 0 < then <= before


def _make(
    workload: Workload, body: dict[str, Any], recommended: RecommendationPlan, table: PlanTable
) -> ObjectDecision:
    namespace, name = workload.meta.namespace, body["metadata"]["name"]
    refusal = table.world.refusals.get((KIND, namespace, name))
    why = recommended.recommendation.message if recommended.recommendation is not None else ""
    note = EventNote(
        "InferenceWorkload",
        workload.meta,
        "Normal",
        Reason.CutoverProposed.value,
        f"plan {name} is made to move it to {why}",
    )
    if refusal is not None:
        told = f"plan {name} can't be made: {refusal.message}"
        note = replace(note, type="Warning", reason=Reason.ChildRefused.value, message=told)
    apply = Apply((KIND, namespace, name), body, is_new=True)
    return ObjectDecision(KIND, namespace, name, applies=(apply,), events=(note,))


def _delete(plan: Plan) -> ObjectDecision:
    namespace, name = plan.key
    child = Child(f"{GROUP}/{VERSION}", KIND, plan.meta, "", {})
    return ObjectDecision(KIND, namespace, name, deletes=(Delete((KIND, namespace, name), child),))


def _list_plans(workload: Workload, table: PlanTable) -> list[tuple[Plan, State]]:
    """The plans of a workload that can be read, with what they remember."""
    return [
        (plan, table.states[plan.key])
        for plan in table.world.plans
        if plan.workload_key == workload.key and plan.key in table.states
    ]


def _is_aimed_at(plan: Plan, state: State, target: Pair) -> bool:
    if state.candidate is not None:
        return (state.candidate.variant, state.candidate.pool) == target
    return plan.spec.target.variant == target[0] and plan.spec.target.pool in {None, target[1]}


def _is_ours(plan: Plan, workload: Workload) -> bool:
    """True for a plan that was made here; who takes the label off keeps it."""
    marks = plan.meta.labels
    return (marks.get(labels.MANAGED_BY), marks.get(labels.WORKLOAD)) == (
        labels.MANAGER,
        label_value(workload.meta.name),
    )


def _is_remembered(plan: Plan, state: State, workload: Workload, table: PlanTable) -> bool:
    """True while it tells why its target is left alone."""
    if state.phase not in {"RolledBack", "Aborted"}:
        return False
    target = plan.spec.target.variant, plan.spec.target.pool or ""
    if state.candidate is not None:
        target = state.candidate.variant, state.candidate.pool
    until = find_back_off(workload, target, table)
    return until is not None and until > table.world.now
