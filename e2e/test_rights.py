"""The chart's rights: enough for everything that the operator does, and none that it does not use."""

from __future__ import annotations

import json
from typing import Any

import pytest
from e2e.audit import Right, right_of
from e2e.installation import Operator, rendered
from e2e.objects import API_VERSION, condition, pool, workload
from e2e.scene import Scene

# Asked for by admission (OwnerReferencesPermissionEnforcement), never by a request of ours.
MANAGED = "app.kubernetes.io/managed-by=switchyard"
BY_ADMISSION = {Right("switchyard.dev", "inferenceworkloads/finalizers", "update")}


@pytest.mark.parametrize(
    ("request_line", "right"),
    [
        ("GET /api/v1/nodes", Right("", "nodes", "list")),
        ("GET /api/v1/nodes/a", Right("", "nodes", "get")),
        ("GET /api/v1/namespaces", Right("", "namespaces", "list")),
        ("GET /api/v1/namespaces/a/pods", Right("", "pods", "list")),
        ("POST /apis/apps/v1/namespaces/a/deployments", Right("apps", "deployments", "create")),
        (
            "PATCH /apis/switchyard.dev/v1alpha1/namespaces/a/inferenceworkloads/b/status",
            Right("switchyard.dev", "inferenceworkloads/status", "patch"),
        ),
        ("DELETE /api/v1/namespaces/a/services", Right("", "services", "deletecollection")),
        ("GET /version", None),
        ("GET /apis/apps/v1", None),
    ],
)
def test_a_request_is_read_as_the_right_that_it_needs(request_line: str, right: Right | None) -> None:
    method, path = request_line.split()
    assert right_of(method, path, is_watch=False) == right


def _granted() -> set[Right]:
    return {
        Right(group, resource, verb)
        for kind in ("ClusterRole", "Role")
        for rule in rendered(kind)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_operator_is_never_refused_and_uses_every_right(scene: Scene, operator: Operator) -> None:
    """One life of a workload: placed, moved to another pool, beside what others own, and after a restart."""
    (one, _), (other, _) = scene.nodes_with_l4(2)
    scene.apply(pool("e2e-rights", one, "0.50"), pool("e2e-spare", other, "5.00"))
    scene.apply(workload("moves"))
    scene.wait("Ready", "moves")
    scene.kubectl("delete", "apool", "e2e-rights")
    scene.until(
        lambda: [child for child in scene.children() if "e2e-rights" in child[1]],
        lambda left: left == [],
        "the old track is taken away",
    )
    _take_names(scene)
    for name in ("one", "two", "three"):
        scene.apply(workload(name))
        scene.until(
            lambda name=name: condition(scene.get("iw", name), "Stalled"),
            lambda seen: seen.get("reason") == "NameConflict",
            f"{name} finds a name taken",
        )
    scene.kubectl("delete", "iw", "one", "two", "three")  # what has a place keeps its devices, stalled or not
    _say_again(scene, "moves")
    absent = _expose(scene)
    _cut_over(scene)
    operator.kill()
    operator.start()
    scene.apply(workload("again"))
    scene.wait("Placed", "again")

    assert operator.audit.forbidden == []
    granted = {right for right in _granted() if right.group not in absent}
    unused = granted - operator.audit.used - BY_ADMISSION
    assert unused == set(), "rights that the operator holds and did not use"


def _take_names(scene: Scene) -> None:
    """Somebody else's Deployment, Service and budget where children of workloads would be."""
    pod = {"containers": [{"name": "c", "image": "other:1"}]}
    template = {"metadata": {"labels": {"app": "other"}}, "spec": pod}
    selector = {"matchLabels": {"app": "other"}}
    scene.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "one-gpu-e2e-spare"},
            "spec": {"replicas": 0, "selector": selector, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "two"},
            "spec": {"ports": [{"port": 9}], "selector": {"app": "other"}},
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "three"},
            "spec": {"minAvailable": 7, "selector": selector},
        },
    )


def _expose(scene: Scene) -> set[str]:
    """Routes made, changed, found taken and removed; the groups whose kinds this cluster lacks."""
    exposures = {
        "gateway.networking.k8s.io": (
            "httproutes",
            {"gateway": {"parentRefs": [{"name": "public"}], "hostnames": ["a.example"]}},
            {"parentRefs": [{"name": "other"}]},
        ),
        "networking.istio.io": (
            "virtualservices",
            {"istio": {"hosts": ["a.example"]}},
            {"hosts": ["a.example"]},
        ),
    }
    absent = set()
    for group, (plural, exposure, theirs) in exposures.items():
        path = f"/apis/{group}/v1/{plural}"
        if scene.cluster.http.get(path).code != 200:
            absent.add(group)
            continue
        kind = {"httproutes": "HTTPRoute", "virtualservices": "VirtualService"}[plural]
        body = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "moves"}, "spec": theirs}
        scene.apply(body)
        scene.apply(workload("moves", exposure=exposure))
        scene.until(
            lambda: condition(scene.get("iw", "moves"), "Stalled"),
            lambda seen: seen.get("reason") == "NameConflict",
            f"the name of the {kind} is taken",
        )
        scene.kubectl("delete", plural, "moves")
        scene.until(
            lambda: condition(scene.get("iw", "moves"), "Exposed"),
            lambda seen: seen.get("reason") in {"RoutePending", "RouteWritten"},
            f"a {kind} is written",
        )
        if kind == "HTTPRoute":
            _ask_the_gateway(scene)
        scene.apply(workload("moves"))
        scene.until(lambda plural=plural: scene.get(plural)["items"], lambda left: not left, "it goes again")
    return absent


def _ask_the_gateway(scene: Scene) -> None:
    """A plan that a Gateway would have to carry out: what that can do is looked up, and it can't do this."""
    scene.apply(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "public"},
            "spec": {
                "gatewayClassName": "switchyard-sandbox",
                "listeners": [{"name": "http", "port": 8080, "protocol": "HTTP"}],
            },
        }
    )
    body = _plan("asks", {"pool": "e2e-rights"})
    body["spec"]["traffic"] = {"router": "gatewayAPI", "sticky": {"header": "x-session"}}
    scene.apply(pool("e2e-rights", scene.nodes_with_l4(1)[0][0], "9.00"), body)
    scene.until(
        lambda: scene.get("cutoverplan", "asks").get("status", {}).get("message", ""),
        lambda told: "router gatewayAPI can't do what the plan asks" in told,
        "the plan is refused",
    )
    scene.kubectl("delete", "cutoverplan", "asks", "--timeout=30s")


def _cut_over(scene: Scene) -> None:
    """A plan that the operator makes, carries out as far as routers, and takes back; and old ones that go."""
    (node, _) = scene.nodes_with_l4(1)[0]
    auto = {"migration": "auto", "stabilisation": "2s", "minSavingPercent": 10}
    scene.apply(pool("e2e-rights", node, "0.01"), workload("moves", placement=auto))
    (made,) = scene.until(
        lambda: scene.get("cutoverplans")["items"], lambda seen: len(seen) == 1, "a plan is made"
    )
    name = made["metadata"]["name"]
    scene.until(
        lambda: scene.get("configmaps", "-l", MANAGED)["items"], bool, "routers are told what they are to do"
    )
    scene.kubectl("patch", "cutoverplan", name, "--type=merge", "-p", '{"spec":{"abort":true}}')
    scene.until(
        lambda: scene.get("cutoverplan", name)["status"].get("phase"),
        lambda phase: phase == "Aborted",
        "the plan is taken back",
    )
    for number in range(4):
        _remember_old_plan(scene, f"old-{number}", f"2026-11-0{number + 1}T00:00:00Z")
    scene.until(
        lambda: [each["metadata"]["name"] for each in scene.get("cutoverplans")["items"]],
        lambda names: "old-0" not in names,
        "the oldest plan goes",
    )


def _remember_old_plan(scene: Scene, name: str, completed_at: str) -> None:
    """A plan that the operator once made, and that has ended."""
    body = _plan(name, {})
    body["metadata"]["labels"] = dict([MANAGED.split("=")]) | {"switchyard.dev/workload": "moves"}
    body["spec"]["approvals"] = ["shadow"]
    scene.apply(body)
    status = {"observedGeneration": 1, "phase": "Completed", "completedAt": completed_at}
    scene.kubectl(
        *("patch", "cutoverplan", name, "--subresource=status", "--type=json"),
        *("-p", json.dumps([{"op": "add", "path": "/status", "value": status}])),
    )


def _plan(name: str, target: dict[str, str]) -> dict[str, Any]:
    spec = {"workloadRef": {"name": "moves"}, "target": {"variant": "gpu", **target}}
    return {"apiVersion": API_VERSION, "kind": "CutoverPlan", "metadata": {"name": name}, "spec": spec}


def _say_again(scene: Scene, name: str) -> None:
    """The same transition twice: the second time its event is counted, not made."""
    for budget, status in ('{"perHour":"0.01"}', "False"), ("null", "True"), ('{"perHour":"0.01"}', "False"):
        scene.kubectl("patch", "iw", name, "--type=merge", "-p", f'{{"spec":{{"budget":{budget}}}}}')
        scene.until(
            lambda: condition(scene.get("iw", name), "WithinBudget"),
            lambda seen, status=status: seen.get("status") == status,
            f"WithinBudget becomes {status}",
        )
    selector = f"involvedObject.kind=InferenceWorkload,involvedObject.name={name}"
    scene.until(
        lambda: [each["count"] for each in scene.get("events", "--field-selector", selector)["items"]],
        lambda counts: max(counts, default=0) > 1,
        "an event is counted",
    )
    scene.kubectl("patch", "iw", name, "--type=merge", "-p", '{"spec":{"budget":null}}')
