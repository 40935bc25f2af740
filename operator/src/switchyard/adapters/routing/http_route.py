"""HTTPRoutes of the Gateway API read: the shares of segments, and what the parents say of a route. Pure.

Source: gateway.networking.k8s.io/v1 HTTPRoute and RouteStatus.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from switchyard.adapters.resources import HTTP_ROUTES, Resource
from switchyard.adapters.routing.route_form import Confirmation, Json
from switchyard.api.exposure import Exposure
from switchyard.core.routing.objects import Backends, build_http_route_rules
from switchyard.core.routing.plan import Share, Target, TrafficPlan

# a condition of this type is a problem when it has this status (RouteConditionType)
_BAD = {"Accepted": "False", "ResolvedRefs": "False", "PartiallyInvalid": "True"}
_REFERENCE_FIELDS = ("group", "kind", "namespace", "name", "sectionName", "port")


@dataclass(frozen=True, slots=True)
class HttpRouteForm:
    """A split as the rules of an HTTPRoute."""

    resource: Resource = HTTP_ROUTES
    field: str = "rules"
    exposure: str = "gateway"
    defaulted: frozenset[str] = frozenset({"group", "kind"})
    least_release: str = "install release 1.4 of the Gateway API or a later one"  # names of rules

    def build(self, plan: TrafficPlan, exposure: Exposure, mirror: Target | None) -> list[dict[str, Any]]:
        """The rules of a plan."""
        if exposure.gateway is None:
            raise ValueError("an exposure without a gateway has no HTTPRoute")
        return build_http_route_rules(
            exposure.gateway, Backends(plan.baseline, plan.candidate, mirror), plan.segments
        )

    def read_shares(self, entries: Any, plan: TrafficPlan) -> dict[str, Share]:
        """The shares of the rules that bear the name of a segment."""
        rules = {rule["name"]: rule for rule in entries or () if isinstance(rule, Mapping) and "name" in rule}
        candidate = plan.candidate.service if plan.candidate is not None else None
        return {
            segment.name: Share(
                _find_candidate_percent(rules[segment.name], candidate),
                _find_mirror_percent(rules[segment.name]),
            )
            for segment in plan.segments
            if segment.name in rules
        }

    def read_confirmation(self, route: Json) -> Confirmation:
        """What the parents say of this generation; all of them must have taken it."""
        waits, problems = [], []
        for parent in (route.get("spec") or {}).get("parentRefs") or ():
            name = name_parent(parent, str(route["metadata"]["namespace"]))
            conditions = {str(each.get("type")): each for each in _find_conditions(route, parent)}
            bad = [
                f"{kind} {status}: {_quote(conditions[kind])}"
                for kind, status in _BAD.items()
                if conditions.get(kind, {}).get("status") == status
            ]
            if bad:
                problems.append(f"{name} says {', '.join(bad)}")
            elif conditions.get("Accepted", {}).get("status") != "True":
                waits.append(f"{name} to take generation {route['metadata'].get('generation')} of the route")
        return Confirmation("; ".join(waits), "; ".join(problems))


def _quote(condition: Json) -> str:
    return str(condition.get("message") or condition.get("reason") or "no reason given")


def name_parent(parent: Json, namespace: str) -> str:
    """Kind, namespace and name of a parent, and its section, for people."""
    kind, name = parent.get("kind", "Gateway"), parent.get("name")
    section = f" ({parent['sectionName']})" if parent.get("sectionName") else ""
    return f"{kind} {parent.get('namespace') or namespace}/{name}{section}"


def _find_conditions(route: Json, parent: Json) -> Iterator[Json]:
    """The conditions that any controller gave for this parent, of the route as it is now."""
    metadata = route["metadata"]
    for answer in (route.get("status") or {}).get("parents") or ():
        if _identify(answer.get("parentRef") or {}, metadata) != _identify(parent, metadata):
            continue
        for condition in answer.get("conditions") or ():
            # one that names no generation is taken for the present one, as the API convention has it
            generation = condition.get("observedGeneration", metadata.get("generation", 0))
            if generation >= metadata.get("generation", 0):
                yield condition


def _identify(parent: Json, metadata: Json) -> tuple[Any, ...]:
    defaults = {"group": HTTP_ROUTES.group, "kind": "Gateway", "namespace": metadata["namespace"]}
    return tuple(parent.get(key) or defaults.get(key) for key in _REFERENCE_FIELDS)


def _find_candidate_percent(rule: Json, candidate: str | None) -> float:
    weights = [
        (str(each.get("name")), int(each.get("weight", 1))) for each in _listed(rule.get("backendRefs"))
    ]
    total = sum(weight for _, weight in weights)
    share = sum(weight for name, weight in weights if name == candidate)
    return 100 * share / total if total else 0.0


def _find_mirror_percent(rule: Json) -> float:
    mirrors = [
        each.get("requestMirror") or {}
        for each in _listed(rule.get("filters"))
        if each.get("type") == "RequestMirror"
    ]
    return max((_read_percent(each) for each in mirrors), default=0.0)


def _read_percent(mirror: Json) -> float:
    if "fraction" in mirror:
        fraction = mirror["fraction"]
        return float(100 * fraction["numerator"] / fraction.get("denominator", 100))
    # neither of the two: all requests (HTTPRequestMirrorFilter.percent)
    return float(mirror.get("percent", 100))


def _listed(value: Any) -> Sequence[Json]:
    return [each for each in value or () if isinstance(each, Mapping)]
