"""The same moves where a Gateway or a mesh splits the traffic: by an HTTPRoute, by a VirtualService."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from e2e.installation import Operator
from e2e.move import Move, is_true, moving, plan
from e2e.providers import PlainHttp
from e2e.scene import Scene

from switchyard.sandbox.handle import list_gateways
from switchyard.sandbox.statedir import StateDir

HOST = "moved.example.com"
PORT = 8080
ROUTERS = ("gatewayAPI", "istio")


ROUTER_DOCUMENTS: dict[str, dict[str, Any]] = {
    "gatewayAPI": {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "public"},
        "spec": {
            "gatewayClassName": "switchyard-sandbox",
            "listeners": [{"name": "http", "port": PORT, "protocol": "HTTP"}],
        },
    },
    "istio": {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "public"},
        "spec": {
            "selector": {"istio": "ingressgateway"},
            "servers": [{"port": {"number": PORT, "name": "http", "protocol": "HTTP"}, "hosts": [HOST]}],
        },
    },
}
EXPOSURES: dict[str, dict[str, Any]] = {
    "gatewayAPI": {"gateway": {"parentRefs": [{"name": "public"}], "hostnames": [HOST]}},
    "istio": {"istio": {"hosts": [HOST], "gateways": ["public"]}},
}


@contextmanager
def moving_behind(scene: Scene, router: str, **options: Any) -> Iterator[Move]:
    """The workload behind a Gateway of the kind that the router needs, asked through it."""
    if scene.cluster.provider != "sandbox":
        pytest.skip("where a Gateway's address leads is the cluster's own affair")
    scene.apply(ROUTER_DOCUMENTS[router])

    def find_door() -> tuple[str, str]:
        return _find_door(scene, router), HOST

    # nothing of ours sees users' requests pass: what they get is told by the servers' own metrics
    signals = {"preset": "vllm", "learning": "off"}
    exposure = EXPOSURES[router]
    with moving(scene, exposure=exposure, signals=signals, find_door=find_door, **options) as move:
        yield move


def _find_door(scene: Scene, router: str) -> str:
    """The URL at which the Gateway of this namespace answers for the host."""

    def ask() -> str:
        found = list_gateways(StateDir(scene.cluster.kubeconfig.parent))["gateways"]
        place = ("Istio Gateways", "") if router == "istio" else ("Gateway", scene.namespace)
        urls = [url for each in found if (each["kind"], each["namespace"]) == place for url in each["urls"]]
        for url in urls:
            answer = PlainHttp(url).call("POST", "/predict", {"instances": [[1]]}, headers={"Host": HOST})
            if answer.code == 200:
                return str(url)
        return json.dumps(found)

    return str(scene.until(ask, lambda url: url.startswith("http"), "the Gateway answers"))


@pytest.mark.parametrize("router", ROUTERS)
def test_a_move_without_a_difference_ends_on_the_new_side(
    scene: Scene, operator: Operator, router: str
) -> None:
    del operator
    with moving_behind(scene, router) as move:
        move.write(plan(target={"variant": "new", "pool": move.pools[1]}))
        move.wait_for("Completed")
        move.assert_moved()
        assert is_true(scene.get("cutoverplan", "move"), "Succeeded")
        move.traffic.assert_no_failures()
