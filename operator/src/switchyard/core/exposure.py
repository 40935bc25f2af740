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
    VIRTUAL_SERVICE: "the operator finds no VirtualServices (networking.istio.io/v1): install Istio 1.22 or "
    "later, let the operator's role list virtualservices, or leave out spec.exposure",
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
    *,
    is_written: bool,
    problem: tuple[Reason, str] | None,
) -> Finding | None:
    """The condition Exposed; None for a workload that asks for no route.

    `is_written`: by this pass, where there is none yet; `problem`: why nothing is.
    """
    kind, exposure = find_route_kind(workload), workload.spec.exposure
    if not kind or exposure is None:
        return None
    if kind not in route_kinds:
        return Finding("Exposed", FALSE, Reason.RouteKindMissing, _MISSING[kind])
    name = workload.meta.name
    route = next((each for each in children if (each.kind, each.meta.name) == (kind, name)), None)
    if route is None and problem is not None:
        return Finding("Exposed", FALSE, *problem)
    if route is None and not is_written:
        return Finding("Exposed", UNKNOWN, Reason.RoutePending, f"{kind} {name} waits until there is a place")
    if exposure.gateway is None:
        message = f"{kind} {name} is written; Istio reports no acceptance"
        return Finding("Exposed", TRUE, Reason.RouteWritten, message)
    return _judge_parents(route, workload, exposure.gateway)


def list_addresses(workload: Workload) -> list[str]:
    """Where callers reach it: the names of its exposure, then its stable Service with the port."""
    exposure = workload.spec.exposure
    names: tuple[str, ...] = ()
    if exposure is not None and exposure.gateway is not None:
        names = exposure.gateway.hostnames
    elif exposure is not None and exposure.istio is not None:
        names = exposure.istio.hosts
    return [*names, f"{workload.meta.name}.{workload.meta.namespace}.svc:{workload.spec.port}"]


def _judge_parents(route: Child | None, workload: Workload, exposure: GatewayExposure) -> Finding:
    """What the Gateways say of an HTTPRoute, each of its newest generation."""
    here = workload.meta.namespace
    answers = [(_name(each, here), _find_answer(route, each)) for each in exposure.parent_refs]
    for name, answer in answers:
        for each in answer.values():
            if each.get("status") == FALSE:
                said = str(each.get("message") or each.get("reason") or each.get("type"))
                return Finding("Exposed", FALSE, Reason.RouteNotAccepted, f"{name}: {said}")
    silent = [name for name, answer in answers if answer.get("Accepted", {}).get("status") != TRUE]
    if silent:
        message = f"no answer yet from {', '.join(silent)}"
        return Finding("Exposed", UNKNOWN, Reason.RoutePending, message)
    message = f"taken by {answers[0][0]}" if len(answers) == 1 else f"taken by {len(answers)} parents"
    return Finding("Exposed", TRUE, Reason.RouteAccepted, message)


def _find_answer(route: Child | None, parent: ParentReference) -> dict[str, Mapping[str, Any]]:
    """Conditions by type that a parent's controller gave to this generation of the route."""
    found: dict[str, Mapping[str, Any]] = {}
    if route is None:
        return found
    here = route.meta.namespace
    wanted = (parent.namespace or here, parent.name, parent.section_name)
    for each in (route.body.get("status") or {}).get("parents") or ():
        reference = each.get("parentRef") or {}
        answering = reference.get("namespace") or here, reference.get("name"), reference.get("sectionName")
        if answering != wanted:
            continue
        for condition in each.get("conditions") or ():
            is_current = condition.get("observedGeneration", route.meta.generation) >= route.meta.generation
            if is_current and condition.get("type") in {"Accepted", "ResolvedRefs"}:
                found[str(condition["type"])] = condition
    return found


def _name(parent: ParentReference, namespace: str) -> str:
    section = f", listener {parent.section_name}" if parent.section_name else ""
    return f"Gateway {parent.namespace or namespace}/{parent.name}{section}"
