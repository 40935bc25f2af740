"""How a workload is reached beside its stable Service: the route it asks for, and what became of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from switchyard.api import Reason
from switchyard.api.exposure import GatewayExposure, ParentReference
from switchyard.core.conditions import FALSE, TRUE, UNKNOWN, Finding
from switchyard.core.desired import build_http_route, build_virtual_service
from switchyard.core.world import Child, Workload

HTTP_ROUTE, VIRTUAL_SERVICE = "HTTPRoute", "VirtualService"
ROUTE_KINDS = frozenset({HTTP_ROUTE, VIRTUAL_SERVICE})

_MISSING = {
    HTTP_ROUTE: "the operator finds no HTTPRoutes (gateway.networking.k8s.io/v1): install the CRDs of the "
    "Gateway API, let the operator's role list httproutes, or leave out spec.exposure",
    VIRTUAL_SERVICE: "the operator finds no VirtualServices (networking.istio.io/v1): install Istio, let the "
    "operator's role list virtualservices, or leave out spec.exposure",
}


def find_route_kind(workload: Workload) -> str:
    """The kind of route that the workload asks for; empty when it is reached by its Service alone."""
    exposure = workload.spec.exposure
    if exposure is None:
        return ""
    return HTTP_ROUTE if exposure.gateway is not None else VIRTUAL_SERVICE


def build_routes(workload: Workload, *, is_held: bool) -> list[dict[str, Any]]:
    """The routes that the workload asks for: one, or none."""
    exposure = workload.spec.exposure
    if exposure is None:
        return []
    built = [build_http_route(workload, exposure.gateway, is_held=is_held)] if exposure.gateway else []
    built += [build_virtual_service(workload, exposure.istio, is_held=is_held)] if exposure.istio else []
    return built


def find_unwanted_routes(
    workload: Workload, children: Sequence[Child], route_kinds: frozenset[str]
) -> tuple[Child, ...]:
    """Routes of another exposure than today's; the last one stays while its successor can't be written."""
    wanted = find_route_kind(workload)
    if wanted and wanted not in route_kinds:
        return ()
    return tuple(each for each in children if each.kind in ROUTE_KINDS and each.kind != wanted)


def judge_exposure(
    workload: Workload,
    children: Sequence[Child],
    route_kinds: frozenset[str],
    problem: tuple[Reason, str] | None,
) -> Finding | None:
    """The condition Exposed; None for a workload that asks for no route. `problem`: why none is written."""
    kind = find_route_kind(workload)
    if not kind:
        return None
    if kind not in route_kinds:
        return Finding("Exposed", FALSE, Reason.RouteKindMissing, _MISSING[kind])
    name = workload.meta.name
    route = next((each for each in children if (each.kind, each.meta.name) == (kind, name)), None)
    if route is None:
        if problem is not None:
            return Finding("Exposed", FALSE, *problem)
        return Finding("Exposed", UNKNOWN, Reason.RoutePending, f"{kind} {name} is not written yet")
    exposure = workload.spec.exposure
    if exposure is None or exposure.gateway is None:
        message = f"{kind} {name} is written; Istio reports no acceptance"
        return Finding("Exposed", TRUE, Reason.RouteWritten, message)
    return _judge_parents(route, exposure.gateway)


def list_addresses(workload: Workload) -> list[str]:
    """Where callers reach it: the names of its exposure, then its stable Service with the port."""
    exposure = workload.spec.exposure
    names: tuple[str, ...] = ()
    if exposure is not None and exposure.gateway is not None:
        names = exposure.gateway.hostnames
    elif exposure is not None and exposure.istio is not None:
        names = exposure.istio.hosts
    return [*names, f"{workload.meta.name}.{workload.meta.namespace}.svc:{workload.spec.port}"]


def _judge_parents(route: Child, exposure: GatewayExposure) -> Finding:
    """What the Gateways say of an HTTPRoute, each of its newest generation."""
    answers = [(each, _find_answer(route, each)) for each in exposure.parent_refs]
    for parent, answer in answers:
        for each in answer.values():
            if each.get("status") == FALSE:
                said = str(each.get("message") or each.get("reason") or each.get("type"))
                message = f"{_name(parent, route)}: {said}"
                return Finding("Exposed", FALSE, Reason.RouteNotAccepted, message)
    silent = [
        _name(parent, route) for parent, answer in answers if answer.get("Accepted", {}).get("status") != TRUE
    ]
    if silent:
        message = f"no answer yet from {', '.join(silent)}"
        return Finding("Exposed", UNKNOWN, Reason.RoutePending, message)
    count = len(answers)
    message = f"taken by {_name(answers[0][0], route)}" if count == 1 else f"taken by {count} parents"
    return Finding("Exposed", TRUE, Reason.RouteAccepted, message)


def _find_answer(route: Child, parent: ParentReference) -> dict[str, Mapping[str, Any]]:
    """Conditions by type that a parent's controller gave to this generation of the route."""
    wanted = (parent.namespace or route.meta.namespace, parent.name, parent.section_name)
    found: dict[str, Mapping[str, Any]] = {}
    for each in (route.body.get("status") or {}).get("parents") or ():
        reference = each.get("parentRef") or {}
        namespace = reference.get("namespace") or route.meta.namespace
        if (namespace, reference.get("name"), reference.get("sectionName")) != wanted:
            continue
        for condition in each.get("conditions") or ():
            is_current = condition.get("observedGeneration", route.meta.generation) >= route.meta.generation
            if is_current and condition.get("type") in {"Accepted", "ResolvedRefs"}:
                found[str(condition["type"])] = condition
    return found


def _name(parent: ParentReference, route: Child) -> str:
    section = f", listener {parent.section_name}" if parent.section_name else ""
    return f"Gateway {parent.namespace or route.meta.namespace}/{parent.name}{section}"
