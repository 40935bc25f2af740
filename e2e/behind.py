"""The workload that is moved behind a Gateway or in a mesh, where its route splits the traffic."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from e2e.marked_traffic import Caller
from e2e.move import NAME, Move, moving
from e2e.providers import PlainHttp
from e2e.scene import Scene

from switchyard.sandbox.handle import list_gateways
from switchyard.sandbox.statedir import StateDir

HOST = "moved.example.com"
PORT = 8080
ROUTERS = ("gatewayAPI", "istio")
ROUTES = {"gatewayAPI": "httproute", "istio": "virtualservice"}
# users, their copies and what the comparator asks of both sides are served by one process of the sandbox
PER_SECOND = 30
CALLERS = (Caller("all", PER_SECOND),)
# nothing of ours sees users' requests pass: what they get is told by the servers' own metrics
SIGNALS = {"preset": "vllm", "learning": "off"}
EXPOSURES: dict[str, dict[str, Any]] = {
    "gatewayAPI": {"gateway": {"parentRefs": [{"name": "public"}], "hostnames": [HOST]}},
    "istio": {"istio": {"hosts": [HOST], "gateways": ["public"]}},
}


def gateway(router: str, *, class_name: str = "switchyard-sandbox") -> dict[str, Any]:
    """The Gateway of the kind that the router needs."""
    if router == "istio":
        server = {"port": {"number": PORT, "name": "http", "protocol": "HTTP"}, "hosts": [HOST]}
        return {
            "apiVersion": "networking.istio.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "public"},
            "spec": {"selector": {"istio": "ingressgateway"}, "servers": [server]},
        }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "public"},
        "spec": {
            "gatewayClassName": class_name,
            "listeners": [{"name": "http", "port": PORT, "protocol": "HTTP"}],
        },
    }


@contextmanager
def moving_behind(
    scene: Scene,
    router: str,
    *,
    class_name: str = "switchyard-sandbox",
    callers: Sequence[Caller] = CALLERS,
    **options: Any,
) -> Iterator[Move]:
    """The workload, asked through the Gateway."""
    if scene.cluster.provider != "sandbox":
        pytest.skip("where a Gateway's address leads is the cluster's own affair")
    scene.apply(gateway(router, class_name=class_name))

    def find_door() -> tuple[str, str]:
        return _find_door(scene, router), HOST

    exposure = EXPOSURES[router]
    with moving(
        scene, exposure=exposure, signals=SIGNALS, find_door=find_door, callers=callers, **options
    ) as move:
        yield move
        print(move.traffic.tell())


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


def read_split(scene: Scene, router: str) -> dict[str, dict[str, int]]:
    """Weights by the name of the rule and of the Service."""
    spec = scene.get(ROUTES[router], NAME)["spec"]
    if router == "gatewayAPI":
        return {
            rule.get("name", ""): {each["name"]: each.get("weight", 1) for each in rule["backendRefs"]}
            for rule in spec["rules"]
        }
    return {
        rule.get("name", ""): {each["destination"]["host"]: each.get("weight", 100) for each in rule["route"]}
        for rule in spec["http"]
    }


def assert_let_go(scene: Scene, router: str) -> None:
    """No plan holds the route, and all of it leads to the stable Service."""
    scene.until(
        lambda: scene.get(ROUTES[router], NAME)["metadata"].get("annotations", {}),
        lambda notes: not {"switchyard.dev/traffic-held-by", "switchyard.dev/traffic-version"} & set(notes),
        "the route is let go",
    )
    scene.until(
        lambda: read_split(scene, router),
        lambda split: {name.split(".")[0] for rule in split.values() for name in rule} == {NAME},
        "the route leads to the stable Service",
    )
