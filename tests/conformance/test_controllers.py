"""What runs beside the API server: rollouts, scheduling by extended resources, endpoints, disruption budgets."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from e2e.providers.plain_http import STRATEGIC, poll

DEVICE = "suite.example.com/device"


@pytest.fixture
def node(http) -> Iterator[str]:
    """A tainted node with two devices, which nobody runs: pods get bound to it and no further."""
    name = f"suite-{uuid.uuid4().hex[:8]}"
    taint = {"key": DEVICE, "value": "present", "effect": "NoSchedule"}
    metadata = {"name": name, "labels": {"suite.example.com/node": name}}
    http.post(
        "/api/v1/nodes",
        {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"taints": [taint]}},
    )
    amounts = {"cpu": "8", "memory": "32Gi", "pods": "110", DEVICE: "2"}
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "lastHeartbeatTime": "2026-01-01T00:00:00Z",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}
    assert http.patch(f"/api/v1/nodes/{name}/status", {"status": status}).code == 200
    taints = poll(
        lambda: http.get(f"/api/v1/nodes/{name}").body["spec"].get("taints", []),
        lambda found: all(each["key"] == DEVICE for each in found),
    )
    assert [each["key"] for each in taints] == [DEVICE]
    yield name
    http.delete(f"/api/v1/nodes/{name}")


def _deployment(node: str, replicas: int, image: str = "i:1") -> dict:
    pod = {
        "nodeSelector": {"suite.example.com/node": node},
        "tolerations": [{"key": DEVICE, "operator": "Exists"}],
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {
                "name": "c",
                "image": image,
                "ports": [{"name": "http", "containerPort": 8080}],
                "resources": {"limits": {DEVICE: "1"}},
            }
        ],
    }
    template = {"metadata": {"labels": {"app": "d"}}, "spec": pod}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "d"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}


@pytest.fixture
def pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


@pytest.fixture
def deployments(namespace: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/deployments"


def _bound(http, pods: str, node: str) -> list[dict]:
    return http.get(pods, fieldSelector=f"spec.nodeName={node}").body["items"]


def _make_ready(http, pods: str, pod: dict, address: str) -> None:
    conditions = [{"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}]
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions}
    path = f"{pods}/{pod['metadata']['name']}/status"
    assert http.patch(path, {"status": status}, STRATEGIC).code == 200


def test_devices_are_never_promised_twice(http, node, pods, deployments) -> None:
    http.post(deployments, _deployment(node, 3))
    bound = poll(lambda: _bound(http, pods, node), lambda found: len(found) == 2)
    assert len(bound) == 2
    (waiting,) = poll(
        lambda: http.get(pods, fieldSelector="spec.nodeName=").body["items"],
        lambda found: len(found) == 1 and found[0]["status"].get("conditions"),
    )
    condition = waiting["status"]["conditions"][0]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "PodScheduled",
        "False",
        "Unschedulable",
    )
    assert DEVICE in condition["message"]
    http.delete(f"{pods}/{bound[0]['metadata']['name']}", gracePeriodSeconds="0")
    assert len(poll(lambda: _bound(http, pods, node), lambda found: len(found) == 2)) == 2


def test_a_pod_without_the_toleration_stays_off_the_node(http, node, pods) -> None:
    spec = {
        "nodeSelector": {"suite.example.com/node": node},
        "containers": [{"name": "c", "image": "i:1"}],
    }
    http.post(pods, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    status = poll(
        lambda: http.get(f"{pods}/p").body["status"], lambda status: status.get("conditions"), seconds=30
    )
    assert status["conditions"][0]["reason"] == "Unschedulable"
    assert "taint" in status["conditions"][0]["message"]


def test_a_deployment_counts_its_pods_and_says_when_it_is_available(http, node, pods, deployments) -> None:
    http.post(deployments, _deployment(node, 2))
    for index, pod in enumerate(poll(lambda: _bound(http, pods, node), lambda found: len(found) == 2)):
        _make_ready(http, pods, pod, f"10.9.1.{index + 1}")
    status = poll(
        lambda: http.get(f"{deployments}/d").body["status"],
        lambda status: status.get("availableReplicas") == 2,
    )
    assert (status["replicas"], status["readyReplicas"], status["updatedReplicas"]) == (2, 2, 2)
    assert status["observedGeneration"] == 1
    available = {each["type"]: each["status"] for each in status["conditions"]}
    assert available["Available"] == "True"


def test_a_rollout_replaces_the_pods_only_as_new_ones_become_ready(http, node, pods, deployments) -> None:
    http.post(deployments, _deployment(node, 1))
    (old,) = poll(lambda: _bound(http, pods, node), lambda found: len(found) == 1)
    _make_ready(http, pods, old, "10.9.2.1")
    poll(
        lambda: http.get(f"{deployments}/d").body["status"],
        lambda status: status.get("availableReplicas") == 1,
    )
    image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}}
    http.patch(f"{deployments}/d", image, STRATEGIC)
    both = poll(lambda: _bound(http, pods, node), lambda found: len(found) == 2)
    assert len(both) == 2
    (new,) = [pod for pod in both if pod["metadata"]["uid"] != old["metadata"]["uid"]]
    assert "deletionTimestamp" not in http.get(f"{pods}/{old['metadata']['name']}").body["metadata"]
    _make_ready(http, pods, new, "10.9.2.2")
    gone = poll(
        lambda: http.get(f"{pods}/{old['metadata']['name']}"),
        lambda answer: answer.code == 404 or "deletionTimestamp" in answer.body["metadata"],
    )
    assert gone.code == 404 or "deletionTimestamp" in gone.body["metadata"]
    sets = http.get(deployments.replace("deployments", "replicasets")).body["items"]
    revisions = sorted(each["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for each in sets)
    assert revisions == ["1", "2"]


def test_endpoints_follow_readiness_and_selector(http, node, pods, deployments, namespace) -> None:
    http.post(deployments, _deployment(node, 1))
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s"},
        "spec": {"selector": {"app": "d"}, "ports": ports},
    }
    http.post(f"/api/v1/namespaces/{namespace}/services", service)

    def endpoints() -> list[dict]:
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        slices = http.get(path, labelSelector="kubernetes.io/service-name=s").body["items"]
        return [endpoint for each in slices for endpoint in each["endpoints"] or ()]

    (pod,) = poll(lambda: _bound(http, pods, node), lambda found: len(found) == 1)
    _make_ready(http, pods, pod, "10.9.3.1")
    (endpoint,) = poll(endpoints, lambda found: bool(found) and found[0]["conditions"]["ready"])
    assert endpoint["addresses"] == ["10.9.3.1"]
    assert endpoint["nodeName"] == node
    http.patch(f"/api/v1/namespaces/{namespace}/services/s", {"spec": {"selector": {"app": "other"}}})
    assert poll(endpoints, lambda found: not found) == []


def test_a_disruption_budget_counts_what_may_go(http, node, pods, deployments, namespace) -> None:
    http.post(deployments, _deployment(node, 2))
    for index, pod in enumerate(poll(lambda: _bound(http, pods, node), lambda found: len(found) == 2)):
        _make_ready(http, pods, pod, f"10.9.4.{index + 1}")
    budgets = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "d"}}}
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": spec}
    assert http.post(budgets, body).code == 201
    status = poll(
        lambda: http.get(f"{budgets}/b").body["status"], lambda status: status.get("disruptionsAllowed") == 1
    )
    assert (status["currentHealthy"], status["desiredHealthy"], status["disruptionsAllowed"]) == (2, 1, 1)
