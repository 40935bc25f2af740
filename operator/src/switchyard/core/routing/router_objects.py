"""What stands in a workload's namespace while a router carries its traffic: pure builders.

A ConfigMap with the routing document and a Deployment that mounts it; both are owned by the workload. Router
pods have the workload's label, so its PodDisruptionBudget protects them too, and none of a track's, so no
Service of a track and no shared one selects them. The document is no part of the pod template: a new one
restarts no pod. Nothing secret is in either object.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from switchyard.api import labels
from switchyard.core.drift import seal
from switchyard.core.naming import label_value, part_name
from switchyard.core.owned import build_owned_metadata
from switchyard.core.routing.document import RoutingDocument
from switchyard.core.routing.plan import TrafficPlan

ROUTER, COMPARATOR = "router", "comparator"  # parts of a workload: in the users' path, and behind a mirror
COMPARATOR_OF = "switchyard.dev/comparator-of"  # label; value: the workload
DOCUMENT_KEY = "router.json"
TRAFFIC_VERSION = "switchyard.dev/traffic-version"
_MOUNT = "/etc/switchyard/router"
_LEAST_FREE_PORT = 1024
_END_SECONDS = 5.0  # for the process itself, after its grace period
_REVISIONS_KEPT = 1


@dataclass(frozen=True, slots=True)
class RouterForm:
    """How router pods are made, the same for all workloads.

    `part`: ROUTER or COMPARATOR. `workers`: processes per pod, 0 for one per CPU. `drain_delay_seconds`: how
    long a pod that ends still takes connections. `grace_seconds`: how long requests under way may take then,
    that delay included.
    """

    image: str
    part: str = ROUTER
    replicas: int = 2
    workers: int = 1
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    drain_delay_seconds: float = 10.0
    grace_seconds: float = 300.0
    admin_port: int = 8081

    def find_admin_port(self, port: int) -> int:
        """The admin port of a router whose traffic comes to `port`."""
        return self.admin_port if port != self.admin_port else self.admin_port + 1


def name_router(workload: str, part: str = ROUTER) -> str:
    """The name of a workload's router objects."""
    return part_name(workload, part)


def select_routers(workload: str, part: str = ROUTER) -> dict[str, str]:
    """The labels by which router pods of a workload are found.

    A comparator's have not the workload's own label: no user waits for one, so one that is not ready must not
    take the only disruption that the workload's budget allows.
    """
    key = COMPARATOR_OF if part == COMPARATOR else labels.WORKLOAD
    return {key: label_value(workload), labels.COMPONENT: part}


def build_config_map(
    plan: TrafficPlan, document: RoutingDocument, plan_version: int, part: str = ROUTER
) -> dict[str, Any]:
    """The ConfigMap that routers read their document from. `plan_version`: of the plan that it is for."""
    metadata = {**_metadata(plan, part), "annotations": {TRAFFIC_VERSION: str(plan_version)}}
    data = {DOCUMENT_KEY: document.encode().decode()}
    return seal({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def build_deployment(plan: TrafficPlan, form: RouterForm, token_sha256: str) -> dict[str, Any]:
    """The Deployment of the router pods, which listen on the port of the plan's baseline."""
    return seal(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": _metadata(plan, form.part),
            "spec": {
                "replicas": form.replicas,
                "revisionHistoryLimit": _REVISIONS_KEPT,
                "selector": {"matchLabels": select_routers(plan.workload, form.part)},
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
                },
                "template": {
                    "metadata": {"labels": _marks(plan, form.part)},
                    "spec": _build_pod_spec(plan, form, token_sha256),
                },
            },
        }
    )


def _build_pod_spec(plan: TrafficPlan, form: RouterForm, token_sha256: str) -> dict[str, Any]:
    port = plan.baseline.port
    security: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if port < _LEAST_FREE_PORT:
        # a safe sysctl, which the restricted Pod Security Standard allows
        security["sysctls"] = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]
    return {
        "automountServiceAccountToken": False,
        # links would set SWITCHYARD_ROUTER_… variables where a Service has such a name
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": math.ceil(form.grace_seconds + _END_SECONDS),
        "securityContext": security,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": select_routers(plan.workload, form.part)},
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ],
        "containers": [_build_container(form, port, token_sha256)],
        "volumes": [{"name": "document", "configMap": {"name": name_router(plan.workload, form.part)}}],
    }


def _build_container(form: RouterForm, port: int, token_sha256: str) -> dict[str, Any]:
    admin_port = form.find_admin_port(port)
    return {
        "name": form.part,
        "image": form.image,
        "command": ["switchyard", "router"],
        "args": [
            f"--mode={'replay' if form.part == COMPARATOR else 'router'}",
            f"--config={_MOUNT}/{DOCUMENT_KEY}",
            f"--port={port}",
            f"--admin-port={admin_port}",
            f"--admin-token-sha256={token_sha256}",
            f"--workers={form.workers}",
            f"--drain-delay={_span(form.drain_delay_seconds)}",
            f"--grace={_span(form.grace_seconds)}",
        ],
        "ports": [
            {"name": "http", "containerPort": port, "protocol": "TCP"},
            {"name": "admin", "containerPort": admin_port, "protocol": "TCP"},
        ],
        "startupProbe": {**_probe("/healthz", admin_port), "periodSeconds": 1, "failureThreshold": 120},
        "livenessProbe": {**_probe("/healthz", admin_port), "periodSeconds": 10, "timeoutSeconds": 5},
        "readinessProbe": {**_probe("/readyz", admin_port), "periodSeconds": 2, "failureThreshold": 2},
        "resources": {side: dict(amounts) for side, amounts in form.resources.items()},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "document", "mountPath": _MOUNT, "readOnly": True}],
    }


def _probe(path: str, port: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port}}


def _span(seconds: float) -> str:
    return f"{math.ceil(1000 * seconds)}ms"


def _marks(plan: TrafficPlan, part: str) -> dict[str, str]:
    return {labels.MANAGED_BY: labels.MANAGER, **select_routers(plan.workload, part)}


def _metadata(plan: TrafficPlan, part: str) -> dict[str, Any]:
    name = name_router(plan.workload, part)
    return build_owned_metadata(plan.namespace, plan.workload, plan.workload_uid, name, _marks(plan, part))
