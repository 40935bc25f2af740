"""What the loop keeps of an object as the API sends it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from switchyard.adapters.projection import (
    pod_requests,
    project_child,
    project_meta,
    project_node,
    project_plan,
    project_pod,
    project_quota,
)
from switchyard.core.world import Plan, Taint, Unreadable

GPU = "nvidia.com/gpu"


def container(restart: str | None = None, **requests: str) -> dict[str, Any]:
    named = {name.replace("gpu", GPU): amount for name, amount in requests.items()}
    return {"name": "c", "resources": {"requests": named}, **({"restartPolicy": restart} if restart else {})}


@pytest.mark.parametrize(
    ("what", "spec", "expected"),
    [
        ("containers add up", {"containers": [container(gpu="1"), container(gpu="2")]}, {GPU: 3}),
        (
            "milli-cores add up before they are rounded",
            {"containers": [container(cpu="250m")] * 4},
            {"cpu": 1},
        ),
        ("a part of a core is a core", {"containers": [container(cpu="1100m")]}, {"cpu": 2}),
        (
            "init containers run one after the other, so the largest counts",
            {"initContainers": [container(gpu="4"), container(gpu="3")], "containers": [container(gpu="1")]},
            {GPU: 4},
        ),
        (
            "a small init container costs nothing more",
            {"initContainers": [container(gpu="1")], "containers": [container(gpu="2")]},
            {GPU: 2},
        ),
        (
            "a sidecar stays and adds to what runs",
            {"initContainers": [container("Always", gpu="1")], "containers": [container(gpu="2")]},
            {GPU: 3},
        ),
        (
            "an init container runs beside the sidecars started before it",
            {
                "initContainers": [
                    container("Always", gpu="1"),
                    container(gpu="4"),
                    container("Always", gpu="1"),
                ],
                "containers": [container(gpu="1")],
            },
            {GPU: 5},
        ),
        (
            "the runtime class's overhead adds",
            {"containers": [container(cpu="1")], "overhead": {"cpu": "500m", "memory": "64Mi"}},
            {"cpu": 2},
        ),
        (
            "a pod-level request is the whole pod's",
            {"containers": [container(cpu="1")] * 3, "resources": {"requests": {"cpu": "8"}}},
            {"cpu": 8},
        ),
        (
            "a limit without a request counts as the request",
            {"containers": [{"name": "c", "resources": {"limits": {GPU: "2"}}}]},
            {GPU: 2},
        ),
        ("memory and storage are not devices", {"containers": [container(memory="4Gi")]}, {}),
        ("a pod that asks for nothing holds nothing", {"containers": [{"name": "c"}]}, {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pods_requests_are_those_that_the_scheduler_reserves(
    what: str, spec: dict[str, Any], expected: dict[str, int]
) -> None:
    assert pod_requests(spec) == expected, what


def pod(**changes: Any) -> dict[str, Any]:
    body = {
        "metadata": {
            "name": "p",
            "namespace": "shop",
            "uid": "u",
            "resourceVersion": "1",
            "labels": {"a": "b"},
        },
        "spec": {"containers": [container(gpu="1")], "nodeName": "n1"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    for section, content in changes.items():
        body[section] = {**body[section], **content}
    return body


def test_a_running_pod_holds_its_devices() -> None:
    projected = project_pod(pod())
    assert projected is not None
    assert (projected.node_name, projected.requests, projected.is_ready) == ("n1", {GPU: 1}, True)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_ended_holds_nothing(phase: str) -> None:
    assert project_pod(pod(status={"phase": phase})) is None


def test_a_pod_that_asks_for_no_device_is_left_out() -> None:
    assert project_pod(pod(spec={"containers": [{"name": "c"}]})) is None


def test_why_a_pod_does_not_start_is_kept() -> None:
    pending = project_pod(
        pod(
            spec={"nodeName": None},
            status={
                "phase": "Pending",
                "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}],
                "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}],
            },
        )
    )
    assert pending is not None
    assert (pending.node_name, pending.is_ready) == ("", False)
    assert (pending.unschedulable_message, pending.waiting_reason) == ("0/3 nodes", "ImagePullBackOff")


SCHEDULED_AT = "2026-01-01T00:00:05Z"
SCHEDULING = [
    ("no node found", {"status": "False", "reason": "Unschedulable"}, (True, False)),
    ("held back by its author", {"status": "False", "reason": "SchedulingGated"}, (False, False)),
    ("a node found", {"status": "True"}, (False, True)),
]


@pytest.mark.parametrize(
    ("condition", "expected"), [case[1:] for case in SCHEDULING], ids=[case[0] for case in SCHEDULING]
)
def test_since_when_a_pod_waits_for_a_node_or_has_one(
    condition: dict[str, str], expected: tuple[bool, bool]
) -> None:
    scheduled = {"type": "PodScheduled", "lastTransitionTime": SCHEDULED_AT, **condition}
    projected = project_pod(pod(status={"conditions": [scheduled]}))
    assert projected is not None
    moment = datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)
    found = (projected.unschedulable_since, projected.scheduled_at)
    assert found == tuple(moment if is_set else None for is_set in expected)


def _status(ready: str, changed: str, *, restarts: int = 0, began: str = "12:00:00") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready, "lastTransitionTime": f"2026-11-21T{changed}Z"}]
    running = {"restartCount": restarts, "state": {"running": {"startedAt": f"2026-11-21T{began}Z"}}}
    sidecar = {"restartCount": 2, "state": {"running": {"startedAt": "2026-11-21T11:59:00Z"}}}
    return {"conditions": conditions, "containerStatuses": [running], "initContainerStatuses": [sidecar]}


@pytest.mark.parametrize(
    ("what", "status", "expected"),
    [
        ("ready", _status("True", "12:01:00"), False),
        ("not ready since before it ran", _status("False", "11:59:30"), False),
        ("not ready any more", _status("False", "12:05:00"), True),
        (
            "begun anew, and not ready since before that",
            _status("False", "12:05:00", began="12:05:01"),
            False,
        ),
        ("not started", {"conditions": [], "containerStatuses": [{"state": {"waiting": {}}}]}, False),
        ("nothing known", {}, False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pod_that_was_ready_and_runs_on_has_lost_its_readiness(
    what: str, status: dict[str, Any], *, expected: bool
) -> None:
    found = project_pod(pod_body(status))
    assert found is not None
    assert found.has_lost_readiness is expected


def test_restarts_of_all_containers_add_up() -> None:
    found = project_pod(pod_body(_status("True", "12:01:00", restarts=3)))
    assert found is not None
    assert found.restarts == 5


def test_a_plan_that_can_be_read_is_kept_with_its_finalizers() -> None:
    spec = {"workloadRef": {"name": "chat"}, "target": {"variant": "v"}}
    metadata = {"name": "move", "namespace": "shop", "uid": "u", "finalizers": ["switchyard.dev/traffic"]}
    found = project_plan({"metadata": metadata, "spec": spec})
    assert isinstance(found, Plan)
    assert (found.workload_key, found.meta.finalizers) == (("shop", "chat"), ("switchyard.dev/traffic",))
    unreadable = project_plan({"metadata": metadata, "spec": {"workloadRef": {"name": "chat"}}})
    assert isinstance(unreadable, Unreadable)
    assert (unreadable.kind, "target" in unreadable.problem) == ("CutoverPlan", True)


def pod_body(status: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "p", "namespace": "shop", "uid": "u"}
    return {"metadata": metadata, "spec": {"containers": [container(gpu="1")]}, "status": status}


def test_where_a_pod_answers_and_how_old_it_is() -> None:
    body = pod(status={"podIP": "10.0.0.9"})
    body["metadata"]["creationTimestamp"] = SCHEDULED_AT
    projected = project_pod(body)
    assert projected is not None
    assert (projected.address, projected.created_at) == (
        "10.0.0.9",
        datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC),
    )
    assert project_pod(pod()).address == ""  # type: ignore[union-attr]  # it holds a device


QUOTAS: list[tuple[str, dict[str, Any], dict[str, Any], tuple[dict[str, int], dict[str, int]] | None]] = [
    (
        "devices, as used",
        {"hard": {f"requests.{GPU}": "8", "requests.memory": "1Ti", "pods": "10"}},
        {"hard": {f"requests.{GPU}": "8", "pods": "10"}, "used": {f"requests.{GPU}": "3", "pods": "4"}},
        ({GPU: 8}, {GPU: 3}),
    ),
    ("new, and not counted yet", {"hard": {f"requests.{GPU}": "8"}}, {}, ({GPU: 8}, {})),
    (
        "cores under both names, what is left rounded down",
        {"hard": {"requests.cpu": "7500m"}},
        {"used": {"requests.cpu": "2100m"}},
        ({"cpu": 7}, {"cpu": 3}),
    ),
    ("limits are no requests", {"hard": {"limits.cpu": "4", "configmaps": "5"}}, {}, None),
    (
        "pods that run on, as ours do",
        {"hard": {f"requests.{GPU}": "8"}, "scopes": ["NotTerminating"]},
        {},
        ({GPU: 8}, {}),
    ),
    (
        "some pods only",
        {"hard": {f"requests.{GPU}": "8"}, "scopes": ["BestEffort"]},
        {},
        None,
    ),
    (
        "some priorities only",
        {"hard": {f"requests.{GPU}": "8"}, "scopeSelector": {"matchExpressions": []}},
        {},
        None,
    ),
]


@pytest.mark.parametrize(
    ("spec", "status", "expected"), [case[1:] for case in QUOTAS], ids=[case[0] for case in QUOTAS]
)
def test_a_quota_shows_its_limits_on_devices(
    spec: dict[str, Any], status: dict[str, Any], expected: tuple[dict[str, int], dict[str, int]] | None
) -> None:
    view = project_quota({"metadata": {"name": "q", "namespace": "shop"}, "spec": spec, "status": status})
    assert (view and (view.hard, view.used)) == expected


def test_a_node_shows_whole_devices_and_whole_cores() -> None:
    node = project_node(
        {
            "metadata": {"name": "n", "labels": {"zone": "a"}},
            "spec": {"taints": [{"key": GPU, "effect": "NoSchedule"}], "unschedulable": True},
            "status": {
                "capacity": {GPU: "8", "cpu": "15900m", "memory": "1Gi", "ephemeral-storage": "1"},
                "allocatable": {GPU: "7", "cpu": "15500m"},
                "conditions": [
                    {"type": "MemoryPressure", "status": "False"},
                    {"type": "Ready", "status": "Unknown"},
                ],
            },
        }
    )
    assert node.capacity == {GPU: 8, "cpu": 15}
    assert node.allocatable == {GPU: 7, "cpu": 15}
    assert node.taints == (Taint(GPU, "", "NoSchedule"),)
    assert (node.is_ready, node.is_unschedulable) == (False, True)


def test_a_node_that_says_nothing_yet_is_not_ready_and_has_nothing() -> None:
    node = project_node({"metadata": {"name": "n"}, "spec": {}})
    assert (node.is_ready, node.allocatable, node.labels) == (False, {}, {})


def test_a_child_keeps_all_but_managed_fields() -> None:
    child = project_child(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "s",
                "namespace": "shop",
                "uid": "u",
                "resourceVersion": "9",
                "deletionTimestamp": "2026-01-01T00:00:00Z",
                "managedFields": [{"manager": "x"}],
                "ownerReferences": [{"uid": "other"}, {"uid": "owner", "controller": True}],
            },
            "spec": {"ports": []},
        }
    )
    assert "managedFields" not in child.body["metadata"]
    assert (child.owner_uid, child.meta.is_deleting, child.meta.resource_version) == ("owner", True, "9")


def test_creation_time_is_aware_and_what_is_absent_is_empty() -> None:
    meta = project_meta({"metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"}})
    assert meta.created_at is not None
    assert meta.created_at.utcoffset() is not None
    assert (meta.namespace, meta.uid, meta.generation, meta.labels) == ("", "", 0, {})
