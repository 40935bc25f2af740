"""Which listeners a route attaches to, and what its status says about it: pure.

Source: gateway.networking.k8s.io/v1 CommonRouteSpec, Listener, RouteStatus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from switchyard.sandbox.client import Json
from switchyard.sandbox.cluster.informer import Key, key_of
from switchyard.sandbox.cluster.selectors import matches_selector
from switchyard.sandbox.gateway.conditions import Condition, Problem, judge
from switchyard.sandbox.gateway.http_routes import RouteReading
from switchyard.sandbox.gateway.kinds import GATEWAYS, HTTP_ROUTES
from switchyard.sandbox.gateway.table import Entry, intersect

_ROUTE_KIND = {"group": HTTP_ROUTES.group, "kind": HTTP_ROUTES.kind}


@dataclass(slots=True)
class ListenerState:
    """A listener of a Gateway, and what was attached to it."""

    gateway: Key
    spec: Json
    problem: Problem | None = None  # why it takes no traffic
    unresolved: Problem | None = None
    entries: list[Entry] = field(default_factory=list)
    routes: set[Key] = field(default_factory=set)

    @property
    def takes_http_routes(self) -> bool:
        """Whether its allowed kinds include HTTPRoute."""
        kinds = (self.spec.get("allowedRoutes") or {}).get("kinds") or [_ROUTE_KIND]
        return any(
            kind["kind"] == HTTP_ROUTES.kind and kind.get("group", HTTP_ROUTES.group) == HTTP_ROUTES.group
            for kind in kinds
        )


@dataclass(frozen=True, slots=True)
class ParentReading:
    """What one parentRef of a route came to."""

    parent: Json
    conditions: tuple[Condition, Condition]


def attach(
    route: Json,
    gateways: Mapping[Key, Sequence[ListenerState]],
    read: Callable[[Key], RouteReading],
    labels_of: Callable[[str], Mapping[str, str]],
) -> Iterator[ParentReading]:
    """The readings of all parentRefs that mean one of these gateways; its entries go to their listeners.

    `read` gives the route as the class of a gateway reads it, `labels_of` the labels of a namespace.
    """
    namespace = route["metadata"]["namespace"]
    for parent in route["spec"].get("parentRefs") or []:
        if (
            parent.get("group", GATEWAYS.group) != GATEWAYS.group
            or parent.get("kind", "Gateway") != "Gateway"
        ):
            continue
        key = (parent.get("namespace") or namespace, parent["name"])
        if key not in gateways:
            continue
        reading = read(key)
        problem = reading.unsupported
        if problem is None:
            places, problem = _find_places(route, parent, gateways[key], labels_of)
            for listener, hostnames in places:
                listener.routes.add(key_of(route))
                listener.entries += build_entries(route, reading, hostnames)
        yield ParentReading(
            parent,
            (
                judge("Accepted", problem),
                judge("ResolvedRefs", reading.unresolved),
            ),
        )


def build_entries(route: Json, reading: RouteReading, hostnames: Sequence[str]) -> list[Entry]:
    """The entries of a route for these hosts: among equals older routes go first, then names, then rules."""
    age = (route["metadata"].get("creationTimestamp", ""), "/".join(key_of(route)))
    return [
        Entry(hostname, match.test, match.rule, (match.rank, *age, match.rule_index))
        for hostname in hostnames
        for match in reading.matches
    ]


def _find_places(
    route: Json,
    parent: Json,
    listeners: Sequence[ListenerState],
    labels_of: Callable[[str], Mapping[str, str]],
) -> tuple[list[tuple[ListenerState, list[str]]], Problem | None]:
    """The listeners that take the route with the hosts that it has there, or why none does."""
    name = parent["name"]
    named = [
        listener
        for listener in listeners
        if parent.get("sectionName") in (None, listener.spec["name"])
        and parent.get("port") in (None, listener.spec["port"])
    ]
    if not named:
        asked = ", ".join(f"{field} {parent[field]}" for field in ("sectionName", "port") if field in parent)
        return [], Problem("NoMatchingParent", f"Gateway {name} has no listener with {asked}")
    allowed = [listener for listener in named if _is_allowed(listener, route, labels_of)]
    if not allowed:
        return [], Problem("NotAllowedByListeners", f"no listener of Gateway {name} allows this route")
    hostnames = [str(hostname) for hostname in route["spec"].get("hostnames") or [""]]
    places = []
    for listener in allowed:
        shared = [
            host
            for hostname in hostnames
            if (host := intersect(listener.spec.get("hostname", ""), hostname)) is not None
        ]
        if shared:
            places.append((listener, shared))
    if not places:
        text = f"no listener of Gateway {name} has a hostname in common with {', '.join(hostnames)}"
        return [], Problem("NoMatchingListenerHostname", text)
    return places, None


def _is_allowed(listener: ListenerState, route: Json, labels_of: Callable[[str], Mapping[str, str]]) -> bool:
    if listener.problem is not None or not listener.takes_http_routes:
        return False
    rule = (listener.spec.get("allowedRoutes") or {}).get("namespaces") or {}
    namespace = route["metadata"]["namespace"]
    source = rule.get("from", "Same")
    if source == "Selector":
        return matches_selector(rule.get("selector"), dict(labels_of(namespace)))
    return bool(source == "All" or namespace == listener.gateway[0])
