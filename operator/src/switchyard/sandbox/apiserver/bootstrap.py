"""What a fresh cluster already contains: namespaces, default cluster roles and bindings, priority classes.

Source: k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy, for the kinds that are served here.
"""

from __future__ import annotations

from collections.abc import Iterator

from switchyard.sandbox.apiserver.rbac import MASTERS, RBAC_GROUP
from switchyard.sandbox.apiserver.resources import Json, Registry, ResourceInfo

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}

# Resources of users by group: what `view` may read; Secrets and RBAC are left to edit and admin.
_VIEWED = {
    "": [
        "configmaps",
        "endpoints",
        "events",
        "limitranges",
        "namespaces",
        "namespaces/status",
        "persistentvolumeclaims",
        "persistentvolumeclaims/status",
        "pods",
        "pods/log",
        "pods/status",
        "resourcequotas",
        "resourcequotas/status",
        "serviceaccounts",
        "services",
        "services/status",
    ],
    "apps": [
        "controllerrevisions",
        "daemonsets",
        "daemonsets/status",
        "deployments",
        "deployments/scale",
        "deployments/status",
        "replicasets",
        "replicasets/scale",
        "replicasets/status",
        "statefulsets",
        "statefulsets/scale",
        "statefulsets/status",
    ],
    "autoscaling": ["horizontalpodautoscalers", "horizontalpodautoscalers/status"],
    "batch": ["cronjobs", "cronjobs/status", "jobs", "jobs/status"],
    "discovery.k8s.io": ["endpointslices"],
    "networking.k8s.io": ["ingresses", "ingresses/status", "networkpolicies"],
    "policy": ["poddisruptionbudgets", "poddisruptionbudgets/status"],
}
_EDITED = {
    "": [
        "configmaps",
        "events",
        "persistentvolumeclaims",
        "pods",
        "pods/eviction",
        "secrets",
        "serviceaccounts",
        "services",
    ],
    "apps": [
        "daemonsets",
        "deployments",
        "deployments/scale",
        "replicasets",
        "replicasets/scale",
        "statefulsets",
        "statefulsets/scale",
    ],
    "autoscaling": ["horizontalpodautoscalers"],
    "batch": ["cronjobs", "jobs"],
    "networking.k8s.io": ["ingresses", "networkpolicies"],
    "policy": ["poddisruptionbudgets"],
}
_HEALTH = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
_DISCOVERY = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_HEALTH]


def bootstrap_objects(registry: Registry) -> Iterator[tuple[ResourceInfo, Json]]:
    """The objects, each with the resource that it belongs to; namespaces come first."""
    for name in NAMESPACES:
        yield _of(registry, "", "namespaces", {"metadata": {"name": name}})
    yield _of(registry, "", "serviceaccounts", {"metadata": {"name": "default", "namespace": "default"}})
    for name, role in _cluster_roles().items():
        body = {"metadata": {"name": name, "labels": {**_LABELS, **role.pop("labels", {})}}, **role}
        yield _of(registry, RBAC_GROUP, "clusterroles", body)
    for role_name, groups in (
        ("cluster-admin", [MASTERS]),
        ("system:basic-user", ["system:authenticated"]),
        ("system:discovery", ["system:authenticated"]),
        ("system:public-info-viewer", ["system:authenticated", "system:unauthenticated"]),
    ):
        subjects = [{"kind": "Group", "apiGroup": RBAC_GROUP, "name": group} for group in groups]
        reference = {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": role_name}
        body = {
            "metadata": {"name": role_name, "labels": dict(_LABELS)},
            "roleRef": reference,
            "subjects": subjects,
        }
        yield _of(registry, RBAC_GROUP, "clusterrolebindings", body)
    for name, value in (("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)):
        about = "Used for system critical pods that must not be moved from their current node."
        body = {"metadata": {"name": name}, "value": value, "description": about}
        yield _of(registry, "scheduling.k8s.io", "priorityclasses", body)


def _of(registry: Registry, group: str, plural: str, body: Json) -> tuple[ResourceInfo, Json]:
    info = registry.lookup(group, "v1", plural)
    if info is None:
        raise LookupError(f"{plural}.{group}")
    return info, {"apiVersion": info.api_version, "kind": info.kind, **body}


def _cluster_roles() -> dict[str, Json]:
    view = [_rule(_READ, group, resources) for group, resources in _VIEWED.items()]
    edit = [_rule(_WRITE, group, resources) for group, resources in _EDITED.items()]
    edit += [
        _rule(_READ, "", ["secrets"]),
        _rule(["impersonate"], "", ["serviceaccounts"]),
        _rule(["create"], "", ["serviceaccounts/token"]),
        _rule([*_READ, *_WRITE], "coordination.k8s.io", ["leases"]),
    ]
    admin = [
        _rule([*_READ, *_WRITE], RBAC_GROUP, ["rolebindings", "roles"]),
        _rule(["create"], "authorization.k8s.io", ["localsubjectaccessreviews"]),
    ]
    return {
        "cluster-admin": {
            "rules": [
                {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
                {"verbs": ["*"], "nonResourceURLs": ["*"]},
            ]
        },
        # As the controller gathers them, so that they hold where none runs.
        "admin": {**_aggregating("admin"), "rules": edit + view + admin},
        "edit": {**_aggregating("edit"), **_aggregated("admin"), "rules": edit + view},
        "view": {**_aggregating("view"), **_aggregated("edit"), "rules": view},
        "system:aggregate-to-admin": {**_aggregated("admin"), "rules": admin},
        "system:aggregate-to-edit": {**_aggregated("edit"), "rules": edit},
        "system:aggregate-to-view": {**_aggregated("view"), "rules": view},
        "system:basic-user": {
            "rules": [
                _rule(
                    ["create"],
                    "authorization.k8s.io",
                    ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
                ),
                _rule(["create"], "authentication.k8s.io", ["selfsubjectreviews"]),
            ]
        },
        "system:discovery": {"rules": [{"verbs": ["get"], "nonResourceURLs": _DISCOVERY}]},
        "system:public-info-viewer": {"rules": [{"verbs": ["get"], "nonResourceURLs": _HEALTH}]},
    }


def _rule(verbs: list[str], group: str, resources: list[str]) -> Json:
    return {"verbs": verbs, "apiGroups": [group], "resources": resources}


def _aggregating(role: str) -> Json:
    selectors = [{"matchLabels": _aggregated(role)["labels"]}]
    return {"aggregationRule": {"clusterRoleSelectors": selectors}}


def _aggregated(into: str) -> Json:
    return {"labels": {f"rbac.authorization.k8s.io/aggregate-to-{into}": "true"}}
