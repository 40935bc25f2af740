"""What a plan sees in one pass: planner, pods and path, put together into one observation. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from switchyard.api import Reason
from switchyard.core.cutover.orders import Carried
from switchyard.core.cutover.sighting import (
    Sides,
    cost_baseline_per_thousand,
    estimate_copies,
    estimate_share,
    find_active,
    find_workload_problem,
    view_baseline,
    view_candidate,
    view_target,
)
from switchyard.core.cutover.traffic import find_release_track
from switchyard.core.cutover.types import Observation, PlanFacts, Router, State, TargetView
from switchyard.core.cutover.watching import find_counting_gap
from switchyard.core.routing.plan import RouteState
from switchyard.core.world import Plan, Sight, Workload

_BLIND_INTERVALS = 3


@dataclass(frozen=True, slots=True)
class Outlook:
    """All that an observation is made of, beside the plan itself.

    `sides` None: the workload can't be weighed, as `problem` says; without a problem it is not there.
    """

    now: datetime
    workload: Workload | None
    sides: Sides | None
    problem: str = ""
    other_plan: str = ""
    sight: Sight | None = None
    carried: Carried | None = None


def observe(plan: Plan, facts: PlanFacts, state: State, outlook: Outlook) -> Observation:
    """The observation, without what the gates say of the samples."""
    sides, sight = outlook.sides, outlook.sight
    router = choose_router(facts, outlook.workload)
    seen = Observation(
        now=outlook.now,
        inputs_hash=hash_inputs(plan, outlook.workload, state),
        workload_problem=_find_problem(plan, outlook),
        other_plan=outlook.other_plan,
        router=router,
        uncounted=find_counting_gap(facts, router, outlook.workload.spec) if outlook.workload else "",
        route=_find_route(state, outlook),
        support=sight.support if sight is not None else None,
        is_released=_is_released(state, outlook.carried),
        is_blind=is_blind(facts, state, sight, outlook.now),
    )
    if sides is None:
        return replace(seen, target=_keep_target(state))
    active = find_active(sides)
    baseline = state.baseline or active
    share, moved = estimate_share(state, sight)
    copied_ratio = estimate_copies(state, sight) / moved if moved else 0.0
    return replace(
        seen,
        baseline=active,
        baseline_view=view_baseline(sides, baseline, share),
        candidate_view=replace(view_candidate(sides, state, moved), copied_ratio=copied_ratio),
        baseline_cost_per_thousand=cost_baseline_per_thousand(sides, baseline),
        target=view_target(sides, facts.variant, facts.pool, state),
    )


def choose_router(facts: PlanFacts, workload: Workload | None) -> Router:
    """What splits the traffic: what the plan names, or what the workload is exposed by."""
    if facts.router != "auto":
        return facts.router
    exposure = workload.spec.exposure if workload is not None else None
    if exposure is not None and exposure.gateway is not None:
        return "gatewayAPI"
    return "istio" if exposure is not None and exposure.istio is not None else "builtin"


def hash_inputs(plan: Plan, workload: Workload | None, state: State) -> str:
    """A hash of what evidence depends on: how both sides are made, and what they are held to."""
    variants: dict[str, Any] = {}
    if workload is not None:
        names = {plan.spec.target.variant, state.baseline.variant if state.baseline else ""}
        variants = {each.name: _dump(each) for each in workload.spec.variants if each.name in names}
    told = {
        "variants": variants,
        "model": _dump(workload.spec.model) if workload is not None and workload.spec.model else None,
        "target": _dump(plan.spec.target),
        "gates": [_dump(each) for each in plan.spec.gates],
    }
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_blind(facts: PlanFacts, state: State, sight: Sight | None, now: datetime) -> bool:
    """True when a stage that is under way has had no samples for more than three intervals."""
    if state.stage_since is None:
        return False
    newest = max(
        [
            state.stage_since,
            *([state.reading_at] if state.reading_at is not None else []),
            *([sight.at] if sight is not None and _has_counts(sight) else []),
        ]
    )
    return now - newest > timedelta(seconds=_BLIND_INTERVALS * facts.interval_seconds)


def _has_counts(sight: Sight) -> bool:
    return sight.samples is not None or sight.tracks is not None


def _find_problem(plan: Plan, outlook: Outlook) -> tuple[str, str] | None:
    name = plan.spec.workload_ref.name
    if outlook.problem:
        return Reason.InvalidSpec.value, f"workload {name} can't be read: {outlook.problem}"
    if outlook.sides is None:
        return Reason.WorkloadNotFound.value, f"there is no InferenceWorkload {plan.meta.namespace}/{name}"
    return find_workload_problem(outlook.sides)


def _find_route(state: State, outlook: Outlook) -> RouteState | None:
    """What the path said last, and what a newer order waits for. After a release is done nothing holds it."""
    route = outlook.sight.route if outlook.sight is not None else None
    carried = outlook.carried
    if carried is None or carried.order.plan.version != state.traffic_version:
        return route
    if _is_released(state, carried):
        return RouteState(is_engaged=False)
    held_up = carried.problem or carried.waiting_for
    if route is not None and held_up and not route.problem and not _has_version(route, state.traffic_version):
        return replace(route, waiting_for=held_up)
    return route


def _is_released(state: State, carried: Carried | None) -> bool:
    track = find_release_track(state)
    if carried is None or not track:
        return False
    order = carried.order
    return carried.is_done and order.release_to == track and order.plan.version == state.traffic_version


def _has_version(route: RouteState, version: int) -> bool:
    return route.version is not None and route.version >= version and not route.waiting_for


def _keep_target(state: State) -> TargetView:
    """The target of a workload that nobody can weigh now: its names as they were."""
    side = state.candidate
    return TargetView(pool=side.pool, track=side.track) if side is not None else TargetView()


def _dump(model: Any) -> Mapping[str, Any]:
    dumped: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped
