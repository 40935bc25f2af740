"""Exposure in whole passes: the route that is written, what its condition says, and how it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.core.worlds import (
    apply,
    condition,
    decision,
    node,
    pool,
    settle,
    status_of,
    workload,
    world,
)

from switchyard.api import labels
from switchyard.core.decide import decide
from switchyard.core.world import Child, World

BOTH = frozenset({"HTTPRoute", "VirtualService"})
PARENT = {"name": "public", "namespace": "infra", "sectionName": "https"}
GATEWAY = {"gateway": {"parentRefs": [PARENT], "hostnames": ["chat.example.com"], "paths": ["/v1"]}}
ISTIO = {"istio": {"hosts": ["chat.example.com"], "gateways": ["infra/public"]}}


def exposed(exposure: Mapping[str, Any] | None = GATEWAY, kinds: frozenset[str] = BOTH, **spec: Any) -> World:
    chat = workload("chat", 2, port=8000, **({"exposure": exposure} if exposure else {}), **spec)
    return world(pool("l4"), node("n1", "l4"), chat, route_kinds=kinds)


def with_exposure(at: World, exposure: Mapping[str, Any] | None) -> World:
    """The world after its author changed the exposure."""
    new = exposed(exposure).workloads[0]
    chat = replace(new, meta=replace(new.meta, generation=2), status=at.workloads[0].status)
    return replace(at, workloads=(chat,))


def routes(at: World) -> dict[str, Child]:
    return {each.kind: each for each in at.children if each.kind in BOTH}


def answered(at: World, *parents: Mapping[str, Any]) -> World:
    """The world after the Gateways' controllers wrote these into the route's status."""
    route = routes(at)["HTTPRoute"]
    told = replace(route, body={**route.body, "status": {"parents": list(parents)}})
    return replace(at, children=tuple(told if each is route else each for each in at.children))


def answer(
    parent: Mapping[str, Any] = PARENT, generation: int = 1, **conditions: tuple[str, str]
) -> dict[str, Any]:
    return {
        "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", **parent},
        "controllerName": "example.com/gateway",
        "conditions": [
            {"type": kind, "status": status, "message": message, "observedGeneration": generation}
            for kind, (status, message) in conditions.items()
        ],
    }


ACCEPTED = {"Accepted": ("True", "ok"), "ResolvedRefs": ("True", "ok")}


def exposure_of(at: World) -> tuple[str, str, str]:
    return condition(status_of(at, "chat"), "Exposed")


def test_a_gateway_gets_a_route_with_one_rule_to_the_stable_service_that_old_crds_take_too():
    (body,) = [
        each.body for each in decision(decide(exposed()), "chat").applies if each.body["kind"] == "HTTPRoute"
    ]
    assert body["apiVersion"] == "gateway.networking.k8s.io/v1"
    assert body["metadata"]["name"] == "chat"
    assert body["metadata"]["ownerReferences"][0]["uid"] == "uid-chat"
    assert body["metadata"]["labels"][labels.MANAGED_BY] == "switchyard"
    assert body["spec"] == {
        "parentRefs": [PARENT],
        "hostnames": ["chat.example.com"],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}],
                "backendRefs": [{"name": "chat", "port": 8000, "weight": 1}],
            }
        ],
    }


def test_istio_gets_a_virtual_service_with_one_named_route_to_the_stable_service():
    at = settle(exposed(ISTIO))
    body = routes(at)["VirtualService"].body
    assert body["apiVersion"] == "networking.istio.io/v1"
    assert body["spec"] == {
        "hosts": ["chat.example.com"],
        "gateways": ["infra/public"],
        "http": [
            {
                "name": "default",
                "route": [{"destination": {"host": "chat", "port": {"number": 8000}}, "weight": 1}],
            }
        ],
    }
    assert exposure_of(at)[:2] == ("True", "RouteWritten")


def test_a_route_comes_after_what_it_points_to():
    kinds = [each.body["kind"] for each in decision(decide(exposed()), "chat").applies]
    assert kinds.index("HTTPRoute") > kinds.index("Service")


def test_without_an_exposure_there_is_neither_a_route_nor_a_condition():
    at = settle(exposed(None))
    assert not routes(at)
    assert exposure_of(at) == ("", "", "")
    assert status_of(at, "chat")["addresses"] == ["chat.team.svc:8000"]


@pytest.mark.parametrize("exposure", [GATEWAY, ISTIO])
def test_the_addresses_are_those_of_the_exposure_and_of_the_service(exposure: Mapping[str, Any]):
    assert status_of(exposed(exposure), "chat")["addresses"] == ["chat.example.com", "chat.team.svc:8000"]


@pytest.mark.parametrize(
    ("exposure", "present", "words"),
    [
        (GATEWAY, "VirtualService", "install the CRDs of the Gateway"),
        (ISTIO, "HTTPRoute", "install Istio"),
    ],
)
def test_a_kind_that_the_cluster_lacks_is_a_condition_and_the_workload_serves(
    exposure, present: str, words: str
):
    at = settle(exposed(exposure, frozenset({present})))
    assert not routes(at)
    status, reason, message = exposure_of(at)
    assert (status, reason) == ("False", "RouteKindMissing")
    assert words in message
    assert condition(status_of(at, "chat"), "Ready")[0] == "True"
    at = settle(replace(at, route_kinds=BOTH))
    assert len(routes(at)) == 1


@pytest.mark.parametrize(
    ("parents", "expected"),
    [
        ([], ("Unknown", "RoutePending", "no answer yet from Gateway infra/public, listener https")),
        (
            [answer(**ACCEPTED)],
            ("True", "RouteAccepted", "taken by Gateway infra/public, listener https"),
        ),
        ([answer(generation=0, **ACCEPTED)], ("Unknown", "RoutePending", "no answer yet")),
        ([answer({**PARENT, "sectionName": "http"}, **ACCEPTED)], ("Unknown", "RoutePending", "no answer")),
        ([answer({**PARENT, "namespace": "team"}, **ACCEPTED)], ("Unknown", "RoutePending", "no answer")),
        (
            [answer(Accepted=("False", "not allowed by listeners"))],
            (
                "False",
                "RouteNotAccepted",
                "Gateway infra/public, listener https: not allowed by listeners",
            ),
        ),
        (
            [answer(Accepted=("True", "ok"), ResolvedRefs=("False", "Service chat has no port 8000"))],
            ("False", "RouteNotAccepted", "Gateway infra/public, listener https: Service chat has no port"),
        ),
        ([answer(Accepted=("Unknown", "wait"))], ("Unknown", "RoutePending", "no answer yet")),
    ],
    ids=[
        "nobody answered",
        "taken",
        "taken at an earlier generation",
        "another listener answered",
        "a Gateway of that name elsewhere answered",
        "refused",
        "taken without finding the Service",
        "the Gateway does not know yet",
    ],
)
def test_the_condition_says_what_the_gateway_says(
    parents: Sequence[Mapping[str, Any]], expected: tuple[str, str, str]
):
    status, reason, message = exposure_of(answered(settle(exposed()), *parents))
    assert (status, reason) == expected[:2]
    assert message.startswith(expected[2])


def test_every_parent_must_answer_and_one_refusal_is_enough():
    other = {"name": "inner"}
    exposure = {"gateway": {"parentRefs": [PARENT, other]}}
    at = settle(exposed(exposure))
    assert exposure_of(answered(at, answer(**ACCEPTED)))[:2] == ("Unknown", "RoutePending")
    here = {"name": "inner", "namespace": "team"}
    assert exposure_of(answered(at, answer(**ACCEPTED), answer(here, **ACCEPTED))) == (
        "True",
        "RouteAccepted",
        "taken by 2 parents",
    )
    refused = answer(here, Accepted=("False", "no"))
    assert exposure_of(answered(at, refused))[2] == "Gateway team/inner: no"


def test_what_the_gateway_writes_into_the_status_is_no_drift():
    at = answered(settle(exposed()), answer(**ACCEPTED))
    assert not decision(decide(at), "chat").applies


def test_another_kind_of_exposure_replaces_the_route():
    at = settle(with_exposure(settle(exposed()), ISTIO))
    assert set(routes(at)) == {"VirtualService"}


def test_no_exposure_any_more_deletes_the_route():
    at = settle(with_exposure(settle(exposed()), None))
    assert not routes(at)


def test_the_old_route_stays_while_the_new_kind_is_missing():
    at = with_exposure(settle(exposed(kinds=frozenset({"HTTPRoute"}))), ISTIO)
    assert not decision(decide(at), "chat").deletes
    assert set(routes(settle(at))) == {"HTTPRoute"}


def test_the_old_route_stays_while_its_traffic_is_held():
    at = hold(settle(exposed()), "HTTPRoute", [])
    assert not decision(decide(with_exposure(at, ISTIO)), "chat").deletes


def hold(at: World, kind: str, rules: Sequence[Any]) -> World:
    """The world after a holder wrote its rules into the route."""
    route = routes(at)[kind]
    metadata = route.body["metadata"]
    annotations = {**metadata["annotations"], labels.TRAFFIC_HELD_BY: "move"}
    field = "rules" if kind == "HTTPRoute" else "http"
    spec = {**route.body["spec"], field: list(rules)}
    held = replace(
        route, body={**route.body, "metadata": {**metadata, "annotations": annotations}, "spec": spec}
    )
    return replace(at, children=tuple(held if each is route else each for each in at.children))


@pytest.mark.parametrize(
    ("exposure", "kind", "field"), [(GATEWAY, "HTTPRoute", "rules"), (ISTIO, "VirtualService", "http")]
)
def test_the_rules_of_a_held_route_are_the_holder_s_and_the_rest_is_not(exposure, kind: str, field: str):
    at = hold(settle(exposed(exposure)), kind, [{"name": "theirs"}])
    (wanted,) = decision(decide(at), "chat").applies
    assert wanted.body["kind"] == kind
    assert field not in wanted.body["spec"]
    assert wanted.resource_version == routes(at)[kind].meta.resource_version
    at = hold(apply(at, decide(at)), kind, [{"name": "theirs"}])
    assert not decide(at).objects
    assert routes(at)[kind].body["spec"][field] == [{"name": "theirs"}]


def test_a_held_route_leaves_the_selector_of_the_stable_service_to_placement():
    at = hold(settle(exposed()), "HTTPRoute", [])
    service = next(each for each in at.children if each.kind == "Service" and each.meta.name == "chat")
    assert "selector" in service.body["spec"]
    assert [each.body["kind"] for each in decision(decide(at), "chat").applies] == ["HTTPRoute"]


def test_a_name_that_somebody_else_s_route_has_is_a_conflict():
    at = settle(exposed())
    route = routes(at)["HTTPRoute"]
    theirs = replace(route, owner_uid="uid-other")
    at = replace(at, children=tuple(theirs if each is route else each for each in at.children))
    status, reason, _ = exposure_of(at)
    assert (status, reason) == ("False", "NameConflict")


def test_a_workload_without_a_place_waits_with_its_route():
    chat = workload("chat", 2, exposure=GATEWAY)
    status, reason, _ = exposure_of(world(pool("l4"), chat, route_kinds=BOTH))
    assert (status, reason) == ("Unknown", "RoutePending")


def test_being_taken_and_being_refused_are_told_once():
    at = settle(exposed())
    at = apply(at, decide(answered(at, answer(**ACCEPTED))))
    refused = answered(at, answer(Accepted=("False", "no")))
    events = [(each.type, each.reason) for each in decision(decide(refused), "chat").events]
    assert events == [("Warning", "RouteNotAccepted")]
