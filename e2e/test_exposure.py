"""Exposure with kubectl alone: reached through a Gateway, refused by one, moved to Istio, and taken back.

Where a cluster lacks the kinds, or a Gateway controller, the scenarios that need them are skipped.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest
from e2e.objects import condition, pool, workload
from e2e.providers import PlainHttp
from e2e.scene import Scene

HTTP_ROUTES = "/apis/gateway.networking.k8s.io/v1/httproutes"
GATEWAY_CLASSES = "/apis/gateway.networking.k8s.io/v1/gatewayclasses"
VIRTUAL_SERVICES = "/apis/networking.istio.io/v1/virtualservices"
HOST = "chat.example.com"
PORT = 8080
CLASS_VARIABLE = "SWITCHYARD_E2E_GATEWAY_CLASS"


@pytest.fixture
def gateway_class(scene: Scene) -> str:
    """A class whose controller takes Gateways: the one named in the environment, else any accepted one."""
    _skip_without(scene, HTTP_ROUTES)
    if named := os.environ.get(CLASS_VARIABLE):
        return named
    for each in scene.cluster.http.get(GATEWAY_CLASSES).body["items"]:
        if condition(each, "Accepted").get("status") == "True":
            return str(each["metadata"]["name"])
    pytest.skip(f"no GatewayClass is accepted; install a controller, or set {CLASS_VARIABLE}")


def _skip_without(scene: Scene, path: str) -> None:
    if scene.cluster.http.get(path).code != 200:
        pytest.skip(f"the cluster does not serve {path}")


def _gateway(gateway_class: str, allowed_from: str = "Same") -> dict[str, Any]:
    listener = {
        "name": "http",
        "port": PORT,
        "protocol": "HTTP",
        "allowedRoutes": {"namespaces": {"from": allowed_from}},
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "public"},
        "spec": {"gatewayClassName": gateway_class, "listeners": [listener]},
    }


def _by_gateway(**fields: Any) -> dict[str, Any]:
    return {"gateway": {"parentRefs": [{"name": "public"}], "hostnames": [HOST], **fields}}


def _wait_for(scene: Scene, name: str, status: str, reason: str) -> Mapping[str, Any]:
    """The condition Exposed once it is so."""
    found: Mapping[str, Any] = scene.until(
        lambda: condition(scene.get("iw", name), "Exposed"),
        lambda seen: (seen.get("status"), seen.get("reason")) == (status, reason),
        f"{name} becomes Exposed={status}, {reason}",
    )
    return found


def _start(scene: Scene, name: str, exposure: dict[str, Any]) -> None:
    ((node, _),) = scene.nodes_with_l4(1)
    scene.apply(pool(f"e2e-{name}", node), workload(name, exposure=exposure))


def test_callers_reach_a_workload_through_a_gateway(scene: Scene, gateway_class: str) -> None:
    scene.apply(_gateway(gateway_class))
    _start(scene, "chat", _by_gateway(paths=["/predict"]))
    scene.wait("Exposed", "chat")
    scene.wait("Ready", "chat")
    assert condition(scene.get("iw", "chat"), "Exposed")["reason"] == "RouteAccepted"
    assert scene.get("iw", "chat")["status"]["addresses"][0] == HOST
    if scene.cluster.provider != "sandbox":
        return  # where a Gateway's address leads is the cluster's own affair
    address = scene.until(
        lambda: scene.get("gateway", "public").get("status", {}).get("addresses", []),
        bool,
        "the Gateway has an address",
    )[0]["value"]
    outside = PlainHttp(f"http://{address}:{PORT}")
    scene.until(
        lambda: outside.call("POST", "/predict", {"input": "hello"}, headers={"Host": HOST}).code,
        lambda code: code == 200,
        "an answer through the Gateway",
    )
    assert outside.call("POST", "/predict", {"input": "x"}, headers={"Host": "other.example.com"}).code == 404
    assert outside.call("GET", "/health", headers={"Host": HOST}).code == 404


def test_a_gateway_that_does_not_take_the_route_is_told_in_the_condition(
    scene: Scene, gateway_class: str
) -> None:
    scene.apply(_gateway(gateway_class))
    _start(scene, "lost", _by_gateway(parentRefs=[{"name": "public", "sectionName": "absent"}]))
    told = _wait_for(scene, "lost", "False", "RouteNotAccepted")
    assert "listener absent" in told["message"]
    scene.wait("Ready", "lost")


def test_an_exposure_moves_from_a_gateway_to_istio_and_goes(scene: Scene, gateway_class: str) -> None:
    _skip_without(scene, VIRTUAL_SERVICES)
    scene.apply(_gateway(gateway_class))
    _start(scene, "moves", _by_gateway())
    _wait_for(scene, "moves", "True", "RouteAccepted")
    istio = {"hosts": [HOST], "gateways": ["infra/public"]}
    scene.apply(workload("moves", exposure={"istio": istio}))
    _wait_for(scene, "moves", "True", "RouteWritten")
    scene.until(lambda: scene.get("httproutes")["items"], lambda left: not left, "the HTTPRoute goes")
    (service,) = scene.get("virtualservices")["items"]
    assert service["spec"]["gateways"] == ["infra/public"]
    scene.apply(workload("moves"))
    scene.until(lambda: scene.get("virtualservices")["items"], lambda left: not left, "the last route goes")
    scene.until(
        lambda: condition(scene.get("iw", "moves"), "Exposed"), lambda seen: not seen, "the condition goes"
    )


def test_a_route_that_somebody_edits_is_put_right_and_one_that_is_deleted_comes_back(
    scene: Scene, gateway_class: str
) -> None:
    scene.apply(_gateway(gateway_class))
    _start(scene, "kept", _by_gateway())
    _wait_for(scene, "kept", "True", "RouteAccepted")
    wanted = scene.get("httproute", "kept")["spec"]
    edit = '[{"op":"replace","path":"/spec/rules/0/backendRefs/0/weight","value":0}]'
    scene.kubectl("patch", "httproute", "kept", "--type=json", "-p", edit)
    scene.until(lambda: scene.get("httproute", "kept")["spec"], lambda seen: seen == wanted, "the weight")
    scene.kubectl("delete", "httproute", "kept")
    scene.until(
        lambda: [each["metadata"]["name"] for each in scene.get("httproutes")["items"]],
        lambda names: names == ["kept"],
        "the route comes back",
    )


def test_a_workload_takes_its_route_with_it(scene: Scene) -> None:
    _skip_without(scene, VIRTUAL_SERVICES)
    _start(scene, "gone", {"istio": {"hosts": [HOST]}})
    _wait_for(scene, "gone", "True", "RouteWritten")
    scene.kubectl("delete", "iw", "gone", "--timeout=60s")
    scene.until(lambda: scene.get("virtualservices")["items"], lambda left: not left, "its route goes")
