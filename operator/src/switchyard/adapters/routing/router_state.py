"""What is in force for a workload behind routers: the routers' own words against a plan. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from switchyard.adapters.routing.admin_client import Report
from switchyard.adapters.routing.objects_access import Json
from switchyard.adapters.routing.route_drift import describe_plan, describe_shares
from switchyard.adapters.routing.router_drift import (
    find_deployment_drift,
    find_document_drift,
    find_service_drift,
)
from switchyard.adapters.routing.router_pods import RouterPods, Silent
from switchyard.adapters.routing.router_scene import RouterScene
from switchyard.core.drift import differs
from switchyard.core.holding import find_holder
from switchyard.core.routing.document import RoutingDocument
from switchyard.core.routing.plan import Drift, RouteState, Share, TrafficPlan
from switchyard.core.routing.router_document import (
    Addresses,
    build_document,
    find_plan_version,
    fulfils,
    read_shares,
)
from switchyard.core.routing.router_objects import name_router


def judge_state(
    scene: RouterScene, addresses: Addresses, endpoints: frozenset[str], deployment: Json
) -> RouteState:
    """What is in force. `endpoints`: those of the stable Service. `deployment`: as it should be.

    A version and shares are given only where every ready router confirms them.
    """
    plan = scene.plan
    holder = find_holder(scene.stable)
    if holder and holder != plan.holder:
        return RouteState(problem=f"Service {plan.namespace}/{plan.workload} is held by {holder}")
    drift = _find_drift(scene, deployment)
    if not scene.is_engaged:
        wait = f"Service {plan.namespace}/{plan.workload} to be pointed to its router pods"
        return RouteState(drift=drift, waiting_for=wait)
    problem = _find_problem(scene)
    if problem:
        return RouteState(is_engaged=True, drift=drift, problem=problem)
    in_force = [report.in_force if isinstance(report, Report) else None for _, report in _list_reports(scene)]
    wanted = _build_wanted(plan, addresses)
    waits = [
        *_find_late(scene, addresses, wanted),
        *_find_unwritten(scene, deployment),
        *([] if endpoints and endpoints <= scene.routers.addresses else [say_endpoints(plan)]),
    ]
    return RouteState(
        is_engaged=True,
        version=_find_lowest(plan, in_force, wanted),
        shares=_find_agreed_shares(in_force, addresses),
        drift=drift,
        waiting_for="; ".join(waits),
    )


def say_not_ready(plan: TrafficPlan, routers: RouterPods) -> str:
    """That no router pod is ready, and why where a pod says so."""
    why = next((pod.waits for pod in routers.pods if pod.waits), "")
    name = f"Deployment {plan.namespace}/{name_router(plan.workload)}"
    return f"a ready pod of {name}: {len(routers.pods)} are there" + (f" ({why})" if why else "")


def say_endpoints(plan: TrafficPlan) -> str:
    """That the stable Service's endpoints have yet to follow its selector."""
    return f"the endpoints of Service {plan.namespace}/{plan.workload} to be its router pods"


def _list_reports(scene: RouterScene) -> Iterator[tuple[str, Report | Silent]]:
    for pod in scene.routers.ready:
        yield pod.name, scene.reports.get(pod.name, Silent("not asked"))


def _find_problem(scene: RouterScene) -> str:
    if not scene.routers.ready:
        return f"callers reach no router: {say_not_ready(scene.plan, scene.routers)} is missing"
    silent = [
        f"router pod {name}: {report.message}"
        for name, report in _list_reports(scene)
        if isinstance(report, Silent)
    ]
    return "; ".join(silent)


def _find_drift(scene: RouterScene, deployment: Json) -> tuple[Drift, ...]:
    if scene.config_map is None and scene.deployment is None and not scene.is_engaged:
        return ()
    return (
        *find_service_drift(scene.plan, scene.stable),
        *find_document_drift(scene.plan, scene.config_map),
        *find_deployment_drift(scene.plan, deployment, scene.deployment),
    )


def _find_late(scene: RouterScene, addresses: Addresses, wanted: RoutingDocument | None) -> Iterator[str]:
    plan, written = scene.plan, scene.written
    if wanted is None or written is None or not fulfils(written, wanted):
        found = "nothing" if written is None else describe_shares(read_shares(written, addresses))
        yield (
            f"version {plan.version} to be written to ConfigMap {plan.namespace}/"
            f"{name_router(plan.workload)}, which carries {found} instead of {describe_plan(plan)}"
        )
        return
    late = [
        name
        for name, report in _list_reports(scene)
        if not (isinstance(report, Report) and report.in_force and fulfils(report.in_force, wanted))
    ]
    if late:
        yield f"version {plan.version} to be in force in router pods {', '.join(late)}"


def _find_unwritten(scene: RouterScene, deployment: Json) -> Iterator[str]:
    if scene.deployment is None or differs(deployment, scene.deployment):
        name = f"{scene.plan.namespace}/{name_router(scene.plan.workload)}"
        yield f"Deployment {name} to be written again"


def _build_wanted(plan: TrafficPlan, addresses: Addresses) -> RoutingDocument | None:
    """The document of the whole plan; None while it needs a candidate that has no address."""
    if not addresses.candidate and any(
        each.candidate_percent or each.shadow_percent for each in plan.segments
    ):
        return None
    return build_document(plan, addresses)


def _find_lowest(
    plan: TrafficPlan, in_force: Sequence[RoutingDocument | None], wanted: RoutingDocument | None
) -> int | None:
    versions = [_find_version(plan, each, wanted) for each in in_force]
    known = [each for each in versions if each is not None]
    return min(known) if known and len(known) == len(versions) else None


def _find_version(
    plan: TrafficPlan, document: RoutingDocument | None, wanted: RoutingDocument | None
) -> int | None:
    if document is None:
        return None
    if wanted is not None and fulfils(document, wanted):
        return plan.version
    older = find_plan_version(document.version)
    return older if older < plan.version else None


def _find_agreed_shares(in_force: Sequence[RoutingDocument | None], addresses: Addresses) -> dict[str, Share]:
    told = [read_shares(each, addresses) if each is not None else {} for each in in_force]
    if not told:
        return {}
    return {name: share for name, share in told[0].items() if all(each.get(name) == share for each in told)}
