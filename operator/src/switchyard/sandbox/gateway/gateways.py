"""GatewayClasses and Gateways read: which are ours, what their listeners take, what their status says. Pure.

A class that lacks features, for tests of what a plan does without them, is one with the annotation
`sandbox.switchyard.dev/without-features`: names separated by commas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from switchyard.sandbox.client import Json
from switchyard.sandbox.cluster.informer import Key, key_of
from switchyard.sandbox.gateway.attaching import ListenerState
from switchyard.sandbox.gateway.conditions import Condition, Problem, judge, merge_conditions
from switchyard.sandbox.gateway.http_routes import FEATURES
from switchyard.sandbox.gateway.kinds import CONTROLLER_NAME, HTTP_ROUTES

WITHOUT_FEATURES = "sandbox.switchyard.dev/without-features"


def select_classes(classes: Sequence[Json]) -> dict[str, frozenset[str]]:
    """The features of every class that is this controller's, by name."""
    return {
        body["metadata"]["name"]: read_features(body)
        for body in classes
        if body["spec"]["controllerName"] == CONTROLLER_NAME
    }


def read_features(gateway_class: Json) -> frozenset[str]:
    """The features of a class: all that there are without those that its annotation takes away."""
    text = (gateway_class["metadata"].get("annotations") or {}).get(WITHOUT_FEATURES, "")
    return FEATURES - {name.strip() for name in text.split(",")}


def class_status(gateway_class: Json, now: str) -> Json:
    """The status of a class of this controller."""
    status = gateway_class.get("status") or {}
    return {
        **status,
        "conditions": merge_conditions(
            status.get("conditions") or [],
            [Condition("Accepted", is_true=True, reason="Accepted")],
            generation=gateway_class["metadata"].get("generation", 1),
            now=now,
        ),
        # In ascending order of names, as the API asks for.
        "supportedFeatures": [{"name": name} for name in sorted(read_features(gateway_class))],
    }


def read_listeners(gateway: Json) -> list[ListenerState]:
    """The listeners of a Gateway with what keeps them from taking traffic."""
    states = []
    for spec in gateway["spec"]["listeners"]:
        state = ListenerState(key_of(gateway), spec)
        if spec["protocol"] != "HTTP":
            text = f"protocol {spec['protocol']} is not served here; HTTP is"
            state.problem = Problem("UnsupportedProtocol", text)
        if not state.takes_http_routes:
            text = "allowedRoutes.kinds names no kind that is served here; HTTPRoute is"
            state.unresolved = Problem("InvalidRouteKinds", text)
        states.append(state)
    return states


def gateway_status(
    gateway: Json, listeners: Sequence[ListenerState], address: str, errors: Mapping[int, str], now: str
) -> Json:
    """The status of a Gateway at an address. `errors`: why a port could not be listened on."""
    generation = gateway["metadata"].get("generation", 1)
    status = gateway.get("status") or {}
    present = {entry["name"]: entry for entry in status.get("listeners") or []}
    bad = [state.spec["name"] for state in listeners if state.problem]
    unusable = Problem("AddressNotUsable", "; ".join(errors[port] for port in sorted(errors)))
    invalid = Problem("ListenersNotValid", f"these listeners take no traffic: {', '.join(bad)}")
    has_good = len(bad) < len(listeners)
    accepted = judge("Accepted", invalid if bad else None)
    stuck = Problem("Invalid", invalid.message)
    conditions = [
        replace(
            accepted, is_true=has_good
        ),  # with some listeners good it is accepted, and says which are not
        judge("Programmed", unusable if errors else None if has_good else stuck),
    ]
    return {
        **status,
        "addresses": [{"type": "IPAddress", "value": address}] if address else [],
        "conditions": merge_conditions(
            status.get("conditions") or [], conditions, generation=generation, now=now
        ),
        "listeners": [
            _listener_status(state, present.get(state.spec["name"], {}), errors, generation, now)
            for state in listeners
        ],
    }


def _listener_status(
    state: ListenerState, present: Json, errors: Mapping[int, str], generation: int, now: str
) -> Json:
    error = errors.get(state.spec["port"], "")
    problem = state.problem or (Problem("PortUnavailable", error) if error else None)
    stuck = Problem("Invalid", problem.message) if problem else None
    return {
        "name": state.spec["name"],
        "supportedKinds": (
            [{"group": HTTP_ROUTES.group, "kind": HTTP_ROUTES.kind}] if state.takes_http_routes else []
        ),
        "attachedRoutes": len(state.routes),
        "conditions": merge_conditions(
            present.get("conditions") or [],
            [
                judge("Accepted", problem),
                judge("Programmed", stuck),
                judge("ResolvedRefs", state.unresolved),
            ],
            generation=generation,
            now=now,
        ),
    }


def route_parents(route: Json, wanted: Sequence[tuple[Json, Sequence[Condition]]], now: str) -> list[Json]:
    """`status.parents` with this controller's entries as wanted; those of other controllers stay.

    Every entry keeps its place: the list is one atomic value, and controllers that each put their own first
    would write without end.
    """
    generation = route["metadata"].get("generation", 1)

    def build(parent: Json, conditions: Sequence[Condition], present: Sequence[Json]) -> Json:
        merged = merge_conditions(present, conditions, generation=generation, now=now)
        return {"parentRef": parent, "controllerName": CONTROLLER_NAME, "conditions": merged}

    parents: list[Json] = []
    left = list(wanted)
    for entry in (route.get("status") or {}).get("parents") or []:
        if entry["controllerName"] != CONTROLLER_NAME:
            parents.append(entry)
            continue
        match = next((pair for pair in left if pair[0] == entry["parentRef"]), None)
        if match is not None:
            left.remove(match)
            parents.append(build(*match, entry.get("conditions") or []))
    return parents + [build(parent, conditions, []) for parent, conditions in left]


def is_granted(grants: Sequence[Json], source: str, namespace: str, service: str) -> bool:
    """Whether a ReferenceGrant lets HTTPRoutes of a namespace use a Service of another."""
    return any(
        grant["metadata"]["namespace"] == namespace
        and any(
            entry["group"] == HTTP_ROUTES.group
            and entry["kind"] == HTTP_ROUTES.kind
            and entry["namespace"] == source
            for entry in grant["spec"]["from"]
        )
        and any(
            entry["group"] == "" and entry["kind"] == "Service" and entry.get("name", service) == service
            for entry in grant["spec"]["to"]
        )
        for grant in grants
    )


def listener_ports(listeners: Mapping[Key, Sequence[ListenerState]]) -> set[tuple[Key, int]]:
    """(Gateway, port) for every listener that takes traffic."""
    return {
        (key, int(state.spec["port"]))
        for key, states in listeners.items()
        for state in states
        if state.problem is None
    }


def find_url(gateway: Json, listener: str = "") -> str:
    """Where a Gateway's listener (the first one without a name) takes requests; empty until it does."""
    status = gateway.get("status") or {}
    conditions = status.get("conditions") or []
    addresses = status.get("addresses") or []
    is_programmed = any(
        entry["type"] == "Programmed"
        and entry["status"] == "True"
        and entry.get("observedGeneration") == gateway["metadata"].get("generation", 1)
        for entry in conditions
    )
    ports = [entry["port"] for entry in gateway["spec"]["listeners"] if listener in ("", entry["name"])]
    return f"http://{addresses[0]['value']}:{ports[0]}" if is_programmed and addresses and ports else ""
