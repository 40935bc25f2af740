"""VirtualServices of Istio read: the shares of segments, and what istiod says where it says anything. Pure.

Source: networking.istio.io/v1 VirtualService; istio.io, "Configuration Status Field": status is off by
default, so its absence says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from switchyard.adapters.resources import VIRTUAL_SERVICES, Resource
from switchyard.adapters.routing.route_form import Confirmation, Json
from switchyard.api.exposure import Exposure
from switchyard.core.routing.objects import Backends, build_virtual_service_http
from switchyard.core.routing.plan import Share, Target, TrafficPlan

RECONCILED = "Reconciled"  # the share of proxies that have the configuration, where istiod tracks it


@dataclass(frozen=True, slots=True)
class VirtualServiceForm:
    """A split as the routes of a VirtualService."""

    resource: Resource = VIRTUAL_SERVICES
    field: str = "http"
    exposure: str = "istio"
    defaulted: frozenset[str] = frozenset()
    least_release: str = "install the CRDs of a later release of Istio"

    def build(self, plan: TrafficPlan, exposure: Exposure, mirror: Target | None) -> list[dict[str, Any]]:
        """The routes of a plan; hosts and gateways are no part of them."""
        if exposure.istio is None:
            raise ValueError("an exposure without istio has no VirtualService")
        return build_virtual_service_http(Backends(plan.baseline, plan.candidate, mirror), plan.segments)

    def read_shares(self, entries: Any, plan: TrafficPlan) -> dict[str, Share]:
        """The shares of the routes that bear the name of a segment."""
        routes = {each["name"]: each for each in _listed(entries) if "name" in each}
        candidate = plan.candidate.service if plan.candidate is not None else ""
        return {
            segment.name: Share(
                _find_candidate_percent(routes[segment.name], candidate, plan.namespace),
                _find_mirror_percent(routes[segment.name]),
            )
            for segment in plan.segments
            if segment.name in routes
        }

    def read_confirmation(self, route: Json) -> Confirmation:
        """Errors of this generation, and proxies that lack it; empty where istiod reports nothing."""
        status = route.get("status") or {}
        generation = route["metadata"].get("generation", 0)
        name = f"VirtualService {route['metadata']['namespace']}/{route['metadata']['name']}"
        if _is_stale(status, generation):
            return Confirmation(waiting_for=f"istiod to look at generation {generation} of {name}")
        errors = [
            str(each.get("message") or (each.get("type") or {}).get("code") or "no reason given")
            for each in _listed(status.get("validationMessages"))
            if str(each.get("level", "")).upper() == "ERROR"
        ]
        if errors:
            return Confirmation(problem=f"istiod says of {name}: {'; '.join(errors)}")
        reconciled = find_reconciled(route)
        if reconciled is not None and reconciled.get("status") != "True":
            said = reconciled.get("message") or reconciled.get("reason") or "no number given"
            return Confirmation(waiting_for=f"all proxies to have {name}: {said}")
        return Confirmation()


def find_reconciled(route: Json) -> Json | None:
    """What istiod says of the proxies that have the route, None where it doesn't track them."""
    conditions = _listed((route.get("status") or {}).get("conditions"))
    return next((each for each in conditions if each.get("type") == RECONCILED), None)


def _is_stale(status: Json, generation: int) -> bool:
    """True when all that is said was said of an older generation."""
    stated = [status.get("observedGeneration")]
    stated += [each.get("observedGeneration") for each in _listed(status.get("conditions"))]
    known = [int(text) for each in stated if (text := str(each)).isdecimal()]  # number or text: int64 in JSON
    return bool(known) and max(known) < generation


def _find_candidate_percent(route: Json, candidate: str, namespace: str) -> float:
    # of a single destination the weight says nothing: it gets all (HTTPRouteDestination.weight)
    destinations = _listed(route.get("route"))
    weights = [
        (str((each.get("destination") or {}).get("host")), int(each.get("weight", 0)))
        for each in destinations
    ]
    if len(weights) == 1:
        weights = [(weights[0][0], 1)]
    names = {candidate, f"{candidate}.{namespace}.svc.cluster.local"} if candidate else set()
    total = sum(weight for _, weight in weights)
    share = sum(weight for host, weight in weights if host in names)
    return 100 * share / total if total else 0.0


def _find_mirror_percent(route: Json) -> float:
    # without a percentage all requests are copied (HTTPRoute.mirror_percentage)
    percents = [
        float((each.get("percentage") or {}).get("value", 0.0) if "percentage" in each else 100.0)
        for each in _listed(route.get("mirrors"))
    ]
    if route.get("mirror"):
        stated = route.get("mirrorPercentage")
        percents.append(float(stated.get("value", 0.0)) if isinstance(stated, Mapping) else 100.0)
    return max(percents, default=0.0)


def _listed(value: Any) -> Sequence[Json]:
    return [each for each in value or () if isinstance(each, Mapping)]
