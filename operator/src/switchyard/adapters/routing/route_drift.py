"""What a route carries against what a plan says, and who changed it since the cutover wrote it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from switchyard.adapters.routing.ownership import (
    CUTOVER_MANAGER,
    equals,
    find_writers,
    is_written_by,
)
from switchyard.adapters.routing.route_form import Json, RouteForm
from switchyard.api.labels import TRAFFIC_HELD_BY
from switchyard.core.holding import find_holder
from switchyard.core.routing.plan import Drift, Share, TrafficPlan
from switchyard.core.routing.router_objects import TRAFFIC_VERSION


def find_version(route: Json) -> int | None:
    """The version that the cutover side wrote; what another put there is no version."""
    text = str((route["metadata"].get("annotations") or {}).get(TRAFFIC_VERSION) or "")
    is_ours = is_written_by(route, CUTOVER_MANAGER, "metadata", "annotations", TRAFFIC_VERSION)
    return int(text) if is_ours and text.isdecimal() else None


def find_lag(plan: TrafficPlan, route: Json, form: RouteForm, rules: Sequence[Json]) -> str:
    """What is still to be written until the route carries `rules`, those of the plan; empty for nothing."""
    name = name_route(plan, form)
    version = find_version(route)
    if version != plan.version:
        return f"version {plan.version} to be written to {name}, which carries {version}"
    if not is_written_by(route, CUTOVER_MANAGER, "spec", form.field):
        return f"{name} to be written again"
    if carries(route, form, rules):
        return ""
    found, wanted = describe_shares(read_shares(route, form, plan)), describe_plan(plan)
    return f"{name} carries version {version} with {found} instead of {wanted}"


def find_drift(plan: TrafficPlan, route: Json, form: RouteForm) -> tuple[Drift, ...]:
    """What another manager changed since the cutover wrote the route: its rules, or a mark of the cutover."""
    name = name_route(plan, form)
    drift = []
    if not is_written_by(route, CUTOVER_MANAGER, "spec", form.field):
        found = describe_shares(read_shares(route, form, plan))
        by = _name_writers(route, "spec", form.field)
        drift.append(Drift(f"{name} spec.{form.field}", by, found, describe_plan(plan)))
    annotations = route["metadata"].get("annotations") or {}
    for key, wanted in ((TRAFFIC_HELD_BY, plan.holder), (TRAFFIC_VERSION, str(plan.version))):
        path = ("metadata", "annotations", key)
        # where only a part of a first plan could be written, there is no version to miss
        is_missed = key in annotations or not find_holder(route)
        if is_missed and not is_written_by(route, CUTOVER_MANAGER, *path):
            by = _name_writers(route, *path)
            drift.append(Drift(f"{name} annotation {key}", by, annotations.get(key, "absent"), wanted))
    return tuple(drift)


def carries(route: Json, form: RouteForm, rules: Sequence[Json]) -> bool:
    """True when the route has these rules, written by the cutover side."""
    is_ours = is_written_by(route, CUTOVER_MANAGER, "spec", form.field)
    return is_ours and equals(read_rules(route, form), rules, form.defaulted)


def read_rules(route: Json, form: RouteForm) -> Any:
    """The rules in the object."""
    return (route.get("spec") or {}).get(form.field)


def read_shares(route: Json, form: RouteForm, plan: TrafficPlan) -> dict[str, Share]:
    """The shares that the rules in the object give to the plan's segments."""
    return form.read_shares(read_rules(route, form), plan)


def name_route(plan: TrafficPlan, form: RouteForm) -> str:
    """Kind, namespace and name, for people."""
    return f"{form.resource.kind} {plan.namespace}/{plan.workload}"


def describe_shares(shares: Mapping[str, Share]) -> str:
    """`batch 10 %, default 0 % and 5 % copied`: shares of the candidate, for people."""
    said = []
    for name, share in shares.items():
        copied = f" and {share.shadow_percent:g} % copied" if share.shadow_percent else ""
        said.append(f"{name} {share.candidate_percent:g} %{copied}")
    return ", ".join(said) or "no rule of a segment"


def describe_plan(plan: TrafficPlan) -> str:
    """The shares that a plan wants, for people."""
    return describe_shares(
        {each.name: Share(each.candidate_percent, each.shadow_percent) for each in plan.segments}
    )


def _name_writers(route: Json, *path: str) -> str:
    return ", ".join(find_writers(route, *path)) or "somebody who removed it, of whom no record is kept"
