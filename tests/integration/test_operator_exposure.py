"""Exposure by the real process: routes written, held, followed and replaced, and kinds that come and go."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from e2e.objects import condition, pool, workload
from e2e.providers import Cluster
from e2e.providers.fixtures import cluster_fixture
from e2e.providers.plain_http import MERGE

from switchyard.adapters.resources import HTTP_ROUTES, SERVICES, VIRTUAL_SERVICES, Resource

from .operator_process import API, OperatorProcess, install_definitions, wait_until, wake
from .route_definitions import install_route_kinds, remove_route_kinds

APPLY = "application/apply-patch+yaml"
GATEWAY = {"gateway": {"parentRefs": [{"name": "public", "namespace": "infra"}], "hostnames": ["a.example"]}}
ISTIO = {"istio": {"hosts": ["a.example"], "gateways": ["infra/public"]}}
HELD_BY = "switchyard.dev/traffic-held-by"

cluster = cluster_fixture(has_fleet=True, scope="module")


@pytest.fixture(scope="module", autouse=True)
def definitions(cluster: Cluster) -> None:
    install_definitions(cluster)
    nodes = cluster.http.get("/api/v1/nodes?labelSelector=nvidia.com/gpu.product%3DNVIDIA-L4").body["items"]
    node = min(each["metadata"]["name"] for each in nodes)
    assert cluster.http.post(f"{API}/acceleratorpools", pool("l4", node)).code in (201, 409)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"op-{uuid.uuid4().hex[:8]}"
    assert cluster.http.post("/api/v1/namespaces", {"metadata": {"name": name}}).code == 201
    yield name
    for item in cluster.http.get(f"{API}/namespaces/{name}/inferenceworkloads").body["items"]:
        cluster.http.delete(f"{API}/namespaces/{name}/inferenceworkloads/{item['metadata']['name']}")
    cluster.http.delete(f"/api/v1/namespaces/{name}")


def ask(cluster: Cluster, namespace: str, **spec: Any) -> None:
    body = workload("chat", **spec)
    answer = cluster.http.post(f"{API}/namespaces/{namespace}/inferenceworkloads", body)
    assert answer.code == 201, answer.text


def change(cluster: Cluster, namespace: str, exposure: dict[str, Any] | None) -> None:
    path = f"{API}/namespaces/{namespace}/inferenceworkloads/chat"
    body = {"spec": {"exposure": {"gateway": None, "istio": None, **exposure} if exposure else None}}
    assert cluster.http.patch(path, body, content_type=MERGE).code == 200


def exposed(cluster: Cluster, namespace: str) -> tuple[str, str]:
    body = cluster.http.get(f"{API}/namespaces/{namespace}/inferenceworkloads/chat").body
    found = condition(body, "Exposed")
    return found.get("status", ""), found.get("reason", "")


def find(cluster: Cluster, resource: Resource, namespace: str) -> dict[str, Any]:
    answer = cluster.http.get(resource.path(namespace, "chat"))
    return answer.body if answer.code == 200 else {}


def answer_as_gateway(cluster: Cluster, namespace: str, status: str, message: str) -> None:
    """What a Gateway's controller writes about the newest route."""
    path = HTTP_ROUTES.path(namespace, "chat")
    generation = cluster.http.get(path).body["metadata"]["generation"]
    told = {
        "type": "Accepted",
        "status": status,
        "reason": "Any",
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    parent = {"parentRef": GATEWAY["gateway"]["parentRefs"][0], "controllerName": "a/b", "conditions": [told]}
    body = {"status": {"parents": [parent]}}
    assert cluster.http.patch(f"{path}/status", body, content_type=MERGE).code == 200


def hold(cluster: Cluster, resource: Resource, namespace: str, spec: dict[str, Any]) -> None:
    """Take the traffic of an object, as a cutover does."""
    body = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": "chat", "annotations": {HELD_BY: "move"}},
        "spec": spec,
    }
    query = {"fieldManager": "switchyard-cutover", "force": "true"}
    answer = cluster.http.patch(resource.path(namespace, "chat"), body, content_type=APPLY, **query)
    assert answer.code == 200, answer.text


def release(cluster: Cluster, resource: Resource, namespace: str) -> None:
    body = {"metadata": {"annotations": {HELD_BY: None}}}
    assert cluster.http.patch(resource.path(namespace, "chat"), body, content_type=MERGE).code == 200


def test_an_exposure_is_written_followed_replaced_and_removed(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    install_route_kinds(cluster)
    with OperatorProcess(cluster, tmp_path, "--namespace", namespace):
        ask(cluster, namespace, exposure=GATEWAY)
        wait_until("a route", lambda: find(cluster, HTTP_ROUTES, namespace))
        wait_until("it waits", lambda: exposed(cluster, namespace) == ("Unknown", "RoutePending"))
        answer_as_gateway(cluster, namespace, "True", "ok")
        wait_until("it is taken", lambda: exposed(cluster, namespace) == ("True", "RouteAccepted"))
        answer_as_gateway(cluster, namespace, "False", "no such listener")
        wait_until("it is refused", lambda: exposed(cluster, namespace) == ("False", "RouteNotAccepted"))
        change(cluster, namespace, ISTIO)
        wait_until("a virtual service", lambda: find(cluster, VIRTUAL_SERVICES, namespace))
        wait_until("no route any more", lambda: not find(cluster, HTTP_ROUTES, namespace))
        wait_until("that is said", lambda: exposed(cluster, namespace) == ("True", "RouteWritten"))
        change(cluster, namespace, None)
        wait_until("no virtual service", lambda: not find(cluster, VIRTUAL_SERVICES, namespace))
        wait_until("no condition", lambda: exposed(cluster, namespace) == ("", ""))


@dataclass(frozen=True)
class Traffic:
    """An object that carries traffic: what makes it be there, and the field that a holder writes."""

    resource: Resource
    exposure: dict[str, Any] | None
    field: str
    theirs: Any


@pytest.mark.parametrize(
    "traffic",
    [
        Traffic(SERVICES, None, "selector", {"switchyard.dev/router": "chat"}),
        Traffic(
            HTTP_ROUTES,
            GATEWAY,
            "rules",
            [
                {
                    "name": "theirs",
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "backendRefs": [
                        {"group": "", "kind": "Service", "name": "other", "port": 80, "weight": 1}
                    ],
                }
            ],
        ),
        Traffic(
            VIRTUAL_SERVICES,
            ISTIO,
            "http",
            [{"name": "theirs", "route": [{"destination": {"host": "other"}}]}],
        ),
    ],
    ids=lambda each: each.resource.kind,
)
def test_held_traffic_is_left_alone_and_taken_back(
    cluster: Cluster, namespace: str, tmp_path: Path, traffic: Traffic
) -> None:
    resource, field, theirs = traffic.resource, traffic.field, traffic.theirs
    install_route_kinds(cluster)
    with OperatorProcess(cluster, tmp_path, "--namespace", namespace) as operator:
        ask(cluster, namespace, **({"exposure": traffic.exposure} if traffic.exposure else {}))
        wait_until("it is there", lambda: find(cluster, resource, namespace))
        wait_until("its pods serve", lambda: _is_ready(cluster, namespace))
        before = find(cluster, resource, namespace)
        hold(cluster, resource, namespace, {field: theirs})
        wait_until("placement looked", lambda: _intent(find(cluster, resource, namespace)) != _intent(before))
        settled = find(cluster, resource, namespace)
        assert field not in _owned(settled)
        wake(operator, cluster, 2)
        found = find(cluster, resource, namespace)
        assert found["spec"][field] == theirs
        assert found["metadata"]["resourceVersion"] == settled["metadata"]["resourceVersion"]
        assert _is_ready(cluster, namespace)
        release(cluster, resource, namespace)
        wait_until(
            "taken back", lambda: find(cluster, resource, namespace)["spec"][field] == before["spec"][field]
        )


def _is_ready(cluster: Cluster, namespace: str) -> bool:
    body = cluster.http.get(f"{API}/namespaces/{namespace}/inferenceworkloads/chat").body
    return condition(body, "Ready").get("status") == "True"


def _intent(body: dict[str, Any]) -> str:
    """What placement applied last, as a hash."""
    return str(body["metadata"]["annotations"]["switchyard.dev/applied-hash"])


def _owned(body: dict[str, Any]) -> set[str]:
    """Fields of the spec that placement owns."""
    for entry in body["metadata"]["managedFields"]:
        if entry["manager"] == "switchyard-placement":
            return {name.removeprefix("f:") for name in entry["fieldsV1"]["f:spec"]}
    return set()


def test_a_kind_that_is_installed_later_is_served_by_the_same_process_started_anew(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    remove_route_kinds(cluster)
    with OperatorProcess(cluster, tmp_path, "--namespace", namespace) as operator:
        ask(cluster, namespace, exposure=GATEWAY)
        wait_until("no such kind", lambda: exposed(cluster, namespace) == ("False", "RouteKindMissing"))
        wait_until("it serves all the same", lambda: _is_ready(cluster, namespace))
        install_route_kinds(cluster, HTTP_ROUTES)
        wait_until("a route", lambda: find(cluster, HTTP_ROUTES, namespace), seconds=60)
        assert operator.process.poll() is None
        (line,) = operator.lines("starting anew for other kinds of routes")
        assert line["change"] == "HTTPRoute came"


def test_a_kind_that_is_removed_takes_nothing_else_with_it(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    install_route_kinds(cluster)
    with OperatorProcess(cluster, tmp_path, "--namespace", namespace) as operator:
        ask(cluster, namespace, exposure=GATEWAY)
        wait_until("a route", lambda: find(cluster, HTTP_ROUTES, namespace))
        remove_route_kinds(cluster, HTTP_ROUTES)
        missing = ("False", "RouteKindMissing")
        wait_until("no such kind", lambda: exposed(cluster, namespace) == missing, seconds=90)
        assert operator.process.poll() is None
