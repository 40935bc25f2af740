"""The causes that a real API server gives; the recordings hold more of them."""

import copy
from typing import Any

import pytest
from tests.unit.sandbox.fake_objects import info_of

from switchyard.sandbox.apiserver.builtins.decoding import decode_builtin
from switchyard.sandbox.apiserver.builtins.defaults import default_object
from switchyard.sandbox.apiserver.builtins.validation import validate_object
from switchyard.sandbox.apiserver.errors import ApiError
from switchyard.sandbox.apiserver.resources import Json

_CONTAINER = {"name": "c", "image": "i:1"}
_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [_CONTAINER]}}
_SELECTOR = {"matchLabels": {"a": "b"}}
_RBAC = "rbac.authorization.k8s.io"


def _ready(kind: str, group: str, body: Json) -> Json:
    info = info_of(kind, group)
    whole = {"apiVersion": info.api_version, "kind": kind, "metadata": {"name": "x"}, **copy.deepcopy(body)}
    if info.namespaced:
        whole["metadata"].setdefault("namespace", "ns")
    decode_builtin(info, whole)
    default_object(info, whole)
    return whole


def _causes(kind: str, group: str, body: Json, old: Json | None = None) -> set[tuple[str, str]]:
    before = _ready(kind, group, old) if old is not None else None
    errors = validate_object(info_of(kind, group), _ready(kind, group, body), before, "")
    return {(error.reason.removeprefix("FieldValue"), error.field) for error in errors}


def _pod(**container: Any) -> Json:
    return {"spec": {"containers": [{**_CONTAINER, **container}]}}


def _service(**spec: Any) -> Json:
    return {"spec": {"ports": [{"port": 80}], **spec}}


def _deployment(**spec: Any) -> Json:
    return {"spec": {"selector": _SELECTOR, "template": _TEMPLATE, **spec}}


def _gpu(limit: str | None, request: str | None) -> Json:
    amounts = {"limits": limit, "requests": request}
    return _pod(resources={k: {"nvidia.com/gpu": v} for k, v in amounts.items() if v})


@pytest.mark.parametrize(
    ("kind", "group", "body", "causes"),
    [
        ("Pod", "", _pod(), set()),
        ("Pod", "", {"spec": {"containers": []}}, {("Required", "spec.containers")}),
        ("Pod", "", _pod(image=""), {("Required", "spec.containers[0].image")}),
        ("Pod", "", _pod(name="A_b"), {("Invalid", "spec.containers[0].name")}),
        (
            "Pod",
            "",
            {"spec": {"containers": [_CONTAINER, _CONTAINER]}},
            {("Duplicate", "spec.containers[1].name")},
        ),
        (
            "Pod",
            "",
            _pod(ports=[{"containerPort": 70000}]),
            {("Invalid", "spec.containers[0].ports[0].containerPort")},
        ),
        ("Pod", "", _pod(readinessProbe={}), {("Required", "spec.containers[0].readinessProbe")}),
        (
            "Pod",
            "",
            _pod(volumeMounts=[{"name": "v", "mountPath": "/v"}]),
            {("NotFound", "spec.containers[0].volumeMounts[0].name")},
        ),
        (
            "Pod",
            "",
            _pod(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
            {("Invalid", "spec.containers[0].resources.requests")},
        ),
        ("Pod", "", _gpu("1", None), set()),
        ("Pod", "", _gpu("2", "1"), {("Invalid", "spec.containers[0].resources.requests")}),
        ("Pod", "", _gpu(None, "1"), {("Required", "spec.containers[0].resources.limits")}),
        (
            "Pod",
            "",
            _gpu("0.5", None),
            {
                ("Invalid", "spec.containers[0].resources.limits[nvidia.com/gpu]"),
                ("Invalid", "spec.containers[0].resources.requests[nvidia.com/gpu]"),
            },
        ),
        ("Deployment", "apps", _deployment(), set()),
        ("Deployment", "apps", _deployment(replicas=-1), {("Invalid", "spec.replicas")}),
        (
            "Deployment",
            "apps",
            _deployment(selector={"matchLabels": {"a": "z"}}),
            {("Invalid", "spec.template.metadata.labels")},
        ),
        ("Deployment", "apps", _deployment(selector={}), {("Invalid", "spec.selector")}),
        (
            "Deployment",
            "apps",
            _deployment(strategy={"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}),
            {("Forbidden", "spec.strategy.rollingUpdate")},
        ),
        (
            "Deployment",
            "apps",
            _deployment(progressDeadlineSeconds=5, minReadySeconds=5),
            {("Invalid", "spec.progressDeadlineSeconds")},
        ),
        ("Service", "", _service(), set()),
        ("Service", "", _service(ports=[]), {("Required", "spec.ports")}),
        ("Service", "", _service(ports=[], clusterIP="None"), set()),
        (
            "Service",
            "",
            _service(ports=[{"port": 80}, {"port": 81}]),
            {("Required", "spec.ports[0].name"), ("Required", "spec.ports[1].name")},
        ),
        ("Service", "", _service(type="Nope"), {("NotSupported", "spec.type")}),
        (
            "Node",
            "",
            {"spec": {"taints": [{"key": "k", "effect": "No"}]}},
            {("NotSupported", "metadata.taints[0].effect")},
        ),
        ("ConfigMap", "", {"data": {"bad key": "x"}}, {("Invalid", "data[bad key]")}),
        (
            "Secret",
            "",
            {"type": "kubernetes.io/tls"},
            {("Required", "data[tls.crt]"), ("Required", "data[tls.key]")},
        ),
        (
            "Lease",
            "coordination.k8s.io",
            {"spec": {"leaseDurationSeconds": 0}},
            {("Invalid", "spec.leaseDurationSeconds")},
        ),
        ("Event", "", {"involvedObject": {"namespace": "other"}}, {("Invalid", "involvedObject.namespace")}),
        (
            "ResourceQuota",
            "",
            {"spec": {"hard": {"nvidia.com/gpu": "1.5"}}},
            {("Invalid", "spec.hard[nvidia.com/gpu]")},
        ),
        ("ResourceQuota", "", {"spec": {"hard": {"bananas": "1"}}}, {("Invalid", "spec.hard[bananas]")}),
        (
            "PodDisruptionBudget",
            "policy",
            {"spec": {"minAvailable": 1, "maxUnavailable": 1}},
            {("Invalid", "spec")},
        ),
        (
            "PodDisruptionBudget",
            "policy",
            {"spec": {"minAvailable": "half"}},
            {("Invalid", "spec.minAvailable")},
        ),
        (
            "HorizontalPodAutoscaler",
            "autoscaling",
            {
                "spec": {
                    "maxReplicas": 1,
                    "minReplicas": 2,
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "D", "name": "d"},
                }
            },
            {("Invalid", "spec.maxReplicas")},
        ),
        (
            "Role",
            _RBAC,
            {"rules": [{"verbs": ["get"], "resources": ["pods"]}]},
            {("Required", "rules[0].apiGroups")},
        ),
        ("RoleBinding", _RBAC, {"roleRef": {"kind": "Pod", "name": "p"}}, {("NotSupported", "roleRef.kind")}),
    ],
)
def test_an_object_is_refused_for(kind: str, group: str, body: Json, causes: set[tuple[str, str]]) -> None:
    assert _causes(kind, group, body) == causes


@pytest.mark.parametrize(
    ("kind", "group", "old", "new", "causes"),
    [
        ("Pod", "", _pod(), _pod(image="i:2"), set()),
        (
            "Pod",
            "",
            _pod(),
            {"spec": {**_pod()["spec"], "nodeSelector": {"a": "b"}}},
            {("Forbidden", "spec")},
        ),
        ("Pod", "", _pod(), {"spec": {**_pod()["spec"], "tolerations": [{"operator": "Exists"}]}}, set()),
        (
            "Deployment",
            "apps",
            _deployment(),
            _deployment(selector={"matchLabels": {"a": "z"}}),
            {("Invalid", "spec.selector"), ("Invalid", "spec.template.metadata.labels")},
        ),
        ("Secret", "", {"type": "a/b"}, {"type": "a/c"}, {("Invalid", "type")}),
        (
            "ConfigMap",
            "",
            {"data": {"a": "1"}, "immutable": True},
            {"data": {"a": "2"}, "immutable": True},
            {("Forbidden", "data")},
        ),
        (
            "RoleBinding",
            _RBAC,
            {"roleRef": {"kind": "Role", "name": "a"}},
            {"roleRef": {"kind": "Role", "name": "b"}},
            {("Invalid", "roleRef")},
        ),
    ],
)
def test_a_change_is_refused_for(
    kind: str, group: str, old: Json, new: Json, causes: set[tuple[str, str]]
) -> None:
    assert _causes(kind, group, new, old) == causes


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"spec": "text"}, "cannot unmarshal string into Go struct field Pod.spec of type v1.PodSpec"),
        (
            {"spec": {"containers": {}}},
            "cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (_pod(resources={"limits": {"cpu": "lots"}}), "quantities must match the regular expression"),
        ({"spec": {"containers": [], "hostNetwork": "yes"}}, "of type bool"),
        ({"spec": {"containers": [], "terminationGracePeriodSeconds": 1.5}}, "of type int64"),
    ],
)
def test_what_no_decoder_can_read_is_a_bad_request(body: Json, told: str) -> None:
    with pytest.raises(ApiError) as refusal:
        _ready("Pod", "", body)
    assert refusal.value.code == 400
    assert told in refusal.value.message


def test_what_go_would_not_write_is_not_stored() -> None:
    pod = _ready(
        "Pod", "", {"spec": {**_pod(env=[], command=None)["spec"], "nodeSelector": {}, "volumes": []}}
    )
    assert {"nodeSelector", "volumes"}.isdisjoint(pod["spec"])
    assert {"env", "command"}.isdisjoint(pod["spec"]["containers"][0])
    kept = _ready("Pod", "", {"spec": {"containers": [], "securityContext": {}}})
    assert kept["spec"]["containers"] == []
    assert kept["spec"]["securityContext"] == {}


def test_quantities_and_times_are_kept_in_their_canonical_form() -> None:
    pod = _ready("Pod", "", _pod(resources={"limits": {"cpu": 0.5, "memory": "1024Mi"}}))
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "500m", "memory": "1Gi"}
    lease = _ready("Lease", "coordination.k8s.io", {"spec": {"renewTime": "2026-01-01T01:00:00+01:00"}})
    assert lease["spec"]["renewTime"] == "2026-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("nginx@sha256:abc", "IfNotPresent"),
    ],
)
def test_only_the_latest_image_is_always_pulled(image: str, policy: str) -> None:
    assert _ready("Pod", "", _pod(image=image))["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_defaulting_twice_changes_nothing() -> None:
    for kind, group, body in (
        ("Pod", "", _pod()),
        ("Deployment", "apps", _deployment()),
        ("Service", "", _service()),
    ):
        once = _ready(kind, group, body)
        twice = copy.deepcopy(once)
        default_object(info_of(kind, group), twice)
        assert twice == once
