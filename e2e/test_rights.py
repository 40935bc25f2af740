"""The chart's rights: enough for everything that the operator does, and none that it does not use."""

from __future__ import annotations

import pytest
from e2e.audit import Right, right_of
from e2e.installation import Operator, rendered
from e2e.objects import pool, workload
from e2e.scene import Scene

# Asked for by admission (OwnerReferencesPermissionEnforcement), never by a request of ours.
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
    """One life of a workload: placed, scaled, moved to another pool, conflicted, and gone."""
    (one, _), (other, _) = scene.nodes_with_l4(2)
    scene.apply(pool("e2e-rights", one, "0.50"), pool("e2e-spare", other, "5.00"))
    scene.apply(workload("moves", scaling={"minReplicas": 2, "maxReplicas": 4}))
    scene.wait("Ready", "moves")
    scene.kubectl("patch", "iw", "moves", "--type=merge", "-p", '{"spec":{"scaling":{"minReplicas":1}}}')
    scene.kubectl("delete", "apool", "e2e-rights")
    scene.until(
        lambda: [each["pool"] for each in scene.get("iw", "moves")["status"].get("placements", ())],
        lambda pools: pools == ["e2e-spare"],
        "moved to the pool that is left",
    )
    scene.until(
        lambda: [name for kind, name, _ in scene.children() if "e2e-rights" in name],
        lambda left: left == [],
        "the old track is taken away",
    )
    operator.kill()
    operator.start()
    scene.apply(workload("again"))
    scene.wait("Placed", "again")

    assert operator.audit.forbidden == []
    unused = _granted() - operator.audit.used - BY_ADMISSION
    assert unused == set(), "rights that the operator holds and did not use"
