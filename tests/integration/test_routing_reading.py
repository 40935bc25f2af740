"""Routes read as others may have written them, and what is said of them. No cluster needed."""

from __future__ import annotations

from typing import Any

import pytest

from switchyard.adapters.routing.gateway_class import Claim, judge_mirroring, read_features
from switchyard.adapters.routing.http_route import HttpRouteForm
from switchyard.adapters.routing.ownership import equals
from switchyard.adapters.routing.virtual_service import VirtualServiceForm
from switchyard.core.routing.document import Segment
from switchyard.core.routing.plan import Feature, Share, Target, TrafficPlan

PLAN = TrafficPlan(
    namespace="shop",
    workload="chat",
    workload_uid="uid-1",
    holder="move-chat",
    version=1,
    baseline=Target("chat-gpu", 8000),
    candidate=Target("chat-inf2", 8000),
    segments=(Segment(name="default"),),
)
OLD, NEW = {"name": "chat-gpu", "weight": 3}, {"name": "chat-inf2", "weight": 1}

Json = dict[str, Any]


def mirror(**share: Any) -> Json:
    return {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "copies"}, **share}}


@pytest.mark.parametrize(
    ("rule", "share"),
    [
        ({"backendRefs": [OLD, NEW]}, Share(25, 0)),
        ({"backendRefs": [{"name": "chat-gpu"}, {"name": "chat-inf2"}]}, Share(50, 0)),
        ({"backendRefs": [OLD, NEW, {"name": "third", "weight": 4}]}, Share(12.5, 0)),
        ({"backendRefs": [{**OLD, "weight": 0}, {**NEW, "weight": 0}]}, Share(0, 0)),
        ({}, Share(0, 0)),
        ({"backendRefs": [OLD], "filters": [mirror()]}, Share(0, 100)),
        ({"backendRefs": [OLD], "filters": [mirror(percent=7)]}, Share(0, 7)),
        ({"filters": [mirror(fraction={"numerator": 1, "denominator": 400})]}, Share(0, 0.25)),
        ({"filters": [mirror(fraction={"numerator": 3})]}, Share(0, 3)),
        ({"filters": [mirror(percent=7), mirror(percent=9), {"type": "URLRewrite"}]}, Share(0, 9)),
    ],
)
def test_shares_of_an_http_route_are_read_from_any_shape_of_a_rule(rule: Json, share: Share) -> None:
    assert HttpRouteForm().read_shares([{"name": "default", **rule}], PLAN) == {"default": share}


@pytest.mark.parametrize(
    ("route", "share"),
    [
        ({"route": [{"destination": {"host": "chat-inf2"}}]}, Share(100, 0)),
        ({"route": [{"destination": {"host": "chat-inf2"}, "weight": 0}]}, Share(100, 0)),
        (
            {
                "route": [
                    {"destination": {"host": "chat-gpu"}, "weight": 90},
                    {"destination": {"host": "chat-inf2.shop.svc.cluster.local"}, "weight": 10},
                ]
            },
            Share(10, 0),
        ),
        ({"mirror": {"host": "copies"}}, Share(0, 100)),
        ({"mirror": {"host": "copies"}, "mirrorPercentage": {"value": 0.25}}, Share(0, 0.25)),
        ({"mirror": {"host": "copies"}, "mirrorPercentage": {}}, Share(0, 0)),
        ({"mirrors": [{"destination": {"host": "copies"}}]}, Share(0, 100)),
        ({"mirrors": [{"destination": {"host": "copies"}, "percentage": {"value": 4}}]}, Share(0, 4)),
        ({"redirect": {"uri": "/"}}, Share(0, 0)),
    ],
)
def test_shares_of_a_virtual_service_are_read_from_any_shape_of_a_route(route: Json, share: Share) -> None:
    assert VirtualServiceForm().read_shares([{"name": "default", **route}], PLAN) == {"default": share}


@pytest.mark.parametrize("form", [HttpRouteForm(), VirtualServiceForm()])
@pytest.mark.parametrize("entries", [None, [], [{}], [{"name": "other"}], ["nonsense"]])
def test_rules_without_the_name_of_a_segment_say_nothing_of_it(form: Any, entries: Any) -> None:
    assert form.read_shares(entries, PLAN) == {}


HTTP = {"name": "gw", "sectionName": "http"}
HTTPS = {"name": "gw", "sectionName": "https"}
EXPLICIT = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "shop"}


def route(parents: list[Json], *answers: tuple[Json, Json]) -> Json:
    return {
        "metadata": {"name": "chat", "namespace": "shop", "generation": 5},
        "spec": {"parentRefs": parents},
        "status": {
            "parents": [{"parentRef": parent, "conditions": [condition]} for parent, condition in answers]
        },
    }


def accepted(status: str = "True", generation: int | None = 5) -> Json:
    stamp = {} if generation is None else {"observedGeneration": generation}
    return {"type": "Accepted", "status": status, "reason": "Because", **stamp}


@pytest.mark.parametrize(
    ("body", "waiting_for", "problem"),
    [
        (route([HTTP], ({**HTTP, **EXPLICIT}, accepted())), "", ""),
        (route([HTTP], (HTTP, accepted(generation=None))), "", ""),
        (route([HTTP]), "Gateway shop/gw (http) to take generation 5 of the route", ""),
        (
            route([HTTP], (HTTP, accepted("False", 4))),
            "Gateway shop/gw (http) to take generation 5 of the route",
            "",
        ),
        (
            route([HTTP], (HTTP, accepted("Unknown"))),
            "Gateway shop/gw (http) to take generation 5 of the route",
            "",
        ),
        (
            route([HTTP, HTTPS], (HTTP, accepted()), (HTTP, accepted())),
            "Gateway shop/gw (https) to take generation 5 of the route",
            "",
        ),
        (
            route([HTTP, HTTPS], (HTTPS, accepted("False"))),
            "Gateway shop/gw (http) to take generation 5 of the route",
            "Gateway shop/gw (https) says Accepted False: Because",
        ),
    ],
    ids=[
        "taken, defaults filled in",
        "taken, without a generation",
        "silence",
        "an old refusal",
        "undecided",
        "one of two sections",
        "one refuses, one is silent",
    ],
)
def test_every_parent_must_have_taken_this_generation(body: Json, waiting_for: str, problem: str) -> None:
    said = HttpRouteForm().read_confirmation(body)
    assert (said.waiting_for, said.problem) == (waiting_for, problem)


@pytest.mark.parametrize(
    ("listed", "features"),
    [
        (["HTTPRouteRequestMirror"], {"HTTPRouteRequestMirror"}),
        ([{"name": "HTTPRouteRequestMirror"}, {"name": "Gateway"}], {"HTTPRouteRequestMirror", "Gateway"}),
        ([], None),
        (None, None),
    ],
    ids=["strings, before release 1.2", "objects", "an empty list", "no list"],
)
def test_features_of_a_class_are_read_in_both_shapes(listed: Any, features: set[str] | None) -> None:
    status = {} if listed is None else {"supportedFeatures": listed}
    assert read_features({"status": status}) == features


def test_one_class_that_says_nothing_hides_no_other_that_says_no() -> None:
    claims = (
        Claim("Gateway a/b", "silent", None, "GatewayClass silent lists no features in its status"),
        Claim("Gateway a/c", "poor", frozenset({"HTTPRoute"})),
    )
    features, reasons = judge_mirroring(claims)
    assert features == frozenset()
    assert all(
        "GatewayClass poor does not list" in reasons[each]
        for each in (Feature.MIRROR, Feature.MIRROR_PERCENT)
    )


@pytest.mark.parametrize(
    ("observed", "is_equal"),
    [
        ([{"name": "a", "weight": 1}], True),
        ([{"name": "a", "weight": 1, "kind": "Service", "group": ""}], True),
        ([{"name": "a", "weight": 1, "filters": []}], False),
        ([{"name": "a", "weight": 2}], False),
        ([{"name": "a"}], False),
        ([{"name": "a", "weight": 1}, {"name": "a", "weight": 1}], False),
        (None, False),
    ],
)
def test_rules_are_the_same_but_for_defaults_alone(observed: Any, is_equal: bool) -> None:  # noqa: FBT001 - a table
    assert equals(observed, [{"name": "a", "weight": 1}], frozenset({"kind", "group"})) is is_equal
