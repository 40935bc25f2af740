"""Which checks an object of a built-in kind must pass; metadata apart, which is checked for all kinds."""

from __future__ import annotations

from collections.abc import Callable

from switchyard.sandbox.apiserver.builtins import object_validation as objects
from switchyard.sandbox.apiserver.builtins import workload_validation as workloads
from switchyard.sandbox.apiserver.builtins.field_errors import Errors
from switchyard.sandbox.apiserver.builtins.pod_validation import check_pod_spec, check_pod_update
from switchyard.sandbox.apiserver.builtins.resource_amounts import check_node_amounts
from switchyard.sandbox.apiserver.errors import FieldError
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo


def validate_object(info: ResourceInfo, new: Json, old: Json | None, subresource: str) -> list[FieldError]:
    """What is wrong with a defaulted and prepared object, in the order in which it is found."""
    if subresource:
        is_node_status = (info.group, info.kind, subresource) == ("", "Node", "status")
        return list(check_node_amounts(new.get("status") or {})) if is_node_status else []
    check = _BY_KIND.get((info.group, info.kind))
    return [] if check is None else list(check(new, old))


def _check_pod(new: Json, old: Json | None) -> Errors:
    if old is not None:
        yield from check_pod_update(new["spec"], old["spec"])
    yield from check_pod_spec(new["spec"], "spec")


def _check_pod_template(new: Json, old: Json | None) -> Errors:
    del old
    yield from check_pod_spec(new["template"]["spec"], "template.spec")


_BY_KIND: dict[tuple[str, str], Callable[[Json, Json | None], Errors]] = {
    ("", "Pod"): _check_pod,
    ("", "PodTemplate"): _check_pod_template,
    ("", "Service"): objects.check_service,
    ("", "Node"): objects.check_node,
    ("", "ConfigMap"): objects.check_config_map,
    ("", "Secret"): objects.check_secret,
    ("", "Event"): objects.check_event,
    ("events.k8s.io", "Event"): objects.check_new_event,
    ("", "ResourceQuota"): objects.check_resource_quota,
    ("apps", "Deployment"): workloads.check_deployment,
    ("apps", "ReplicaSet"): workloads.check_replica_set,
    ("apps", "StatefulSet"): workloads.check_stateful_set,
    ("apps", "DaemonSet"): workloads.check_daemon_set,
    ("batch", "Job"): workloads.check_job,
    ("policy", "PodDisruptionBudget"): workloads.check_budget,
    ("autoscaling", "HorizontalPodAutoscaler"): workloads.check_autoscaler,
    ("coordination.k8s.io", "Lease"): objects.check_lease,
    ("discovery.k8s.io", "EndpointSlice"): objects.check_endpoint_slice,
    ("scheduling.k8s.io", "PriorityClass"): objects.check_priority_class,
    ("rbac.authorization.k8s.io", "Role"): objects.check_role,
    ("rbac.authorization.k8s.io", "ClusterRole"): objects.check_role,
    ("rbac.authorization.k8s.io", "RoleBinding"): objects.check_role_binding,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): objects.check_role_binding,
}
