"""The columns of built-in kinds, as kubectl shows them.

Source: k8s.io/kubernetes/pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from switchyard.sandbox.apiserver import cells, pod_columns
from switchyard.sandbox.apiserver.columns import AGE, CREATED, NAME, Column, at
from switchyard.sandbox.apiserver.resources import Json


def _text(path: str, default: str = "") -> Callable[[Json], str]:
    return lambda obj: str(at(obj, path, default)) or default


def _count(path: str) -> Callable[[Json], int]:
    return lambda obj: at(obj, path, 0)


def _wide(name: str, cell: Callable[[Json], Any], about: str = "") -> Column:
    return Column(name, cell, about, priority=1)


_IMAGES = (_wide("Containers", cells.containers("name")), _wide("Images", cells.containers("image")))
_SELECTOR = _wide("Selector", lambda obj: cells.selector_text(at(obj, "spec.selector")))
_WORKLOAD_WIDE = (*_IMAGES, _SELECTOR)
_EVENT = (
    Column("Last Seen", cells.event_last, "Time of the latest occurrence."),
    Column("Type", _text("type"), "Normal or Warning."),
    Column("Reason", _text("reason"), "Why, as one word."),
    Column("Object", cells.event_object, "What the event is about."),
    _wide(
        "Subobject",
        lambda event: at(event, "involvedObject.fieldPath") or at(event, "regarding.fieldPath", ""),
    ),
    _wide("Source", cells.event_source),
    Column("Message", lambda event: str(event.get("message") or event.get("note") or "").strip()),
    _wide("First Seen", cells.event_first),
    _wide("Count", cells.event_count),
    _wide("Name", lambda event: event["metadata"]["name"]),
)


def _integer(name: str, path: str, about: str = "") -> Column:
    return Column(name, _count(path), about, type="integer")


def _ready(ready: str, wanted: str) -> Column:
    return Column(
        "Ready", lambda obj: f"{at(obj, ready, 0)}/{at(obj, wanted, 0)}", "How many are ready of how many."
    )


BY_KIND: dict[tuple[str, str], tuple[Column, ...]] = {
    ("", "Pod"): (
        NAME,
        Column(
            "Ready", pod_columns.ready, "The aggregate readiness state of this pod for accepting traffic."
        ),
        Column("Status", pod_columns.status, "The aggregate status of the containers in this pod."),
        Column("Restarts", pod_columns.restarts, "How often containers have been restarted, and when last."),
        AGE,
        _wide("IP", _text("status.podIP", cells.NONE)),
        _wide("Node", _text("spec.nodeName", cells.NONE)),
        _wide("Nominated Node", _text("status.nominatedNodeName", cells.NONE)),
        _wide("Readiness Gates", pod_columns.readiness_gates),
    ),
    ("", "Service"): (
        NAME,
        Column("Type", _text("spec.type")),
        Column("Cluster-IP", _text("spec.clusterIP", cells.NONE)),
        Column("External-IP", cells.service_addresses),
        Column("Port(s)", cells.service_ports),
        AGE,
        _SELECTOR,
    ),
    ("", "Node"): (
        NAME,
        Column("Status", cells.node_status, "The status of the node"),
        Column("Roles", cells.node_roles, "The roles of the node"),
        AGE,
        Column("Version", _text("status.nodeInfo.kubeletVersion")),
        _wide("Internal-IP", cells.node_address("InternalIP")),
        _wide("External-IP", cells.node_address("ExternalIP")),
        _wide("OS-Image", cells.node_info("osImage")),
        _wide("Kernel-Version", cells.node_info("kernelVersion")),
        _wide("Container-Runtime", cells.node_info("containerRuntimeVersion")),
    ),
    ("", "Namespace"): (NAME, Column("Status", _text("status.phase")), AGE),
    ("", "ConfigMap"): (
        NAME,
        Column("Data", lambda obj: len(obj.get("data") or {}) + len(obj.get("binaryData") or {})),
        AGE,
    ),
    ("", "Secret"): (
        NAME,
        Column("Type", _text("type")),
        Column("Data", lambda obj: len(obj.get("data") or {})),
        AGE,
    ),
    ("", "ServiceAccount"): (NAME, AGE),
    ("", "Endpoints"): (NAME, Column("Endpoints", cells.endpoints), AGE),
    ("", "Event"): _EVENT,
    ("events.k8s.io", "Event"): _EVENT,
    ("", "ResourceQuota"): (
        NAME,
        Column("Request", cells.quota("requests")),
        Column("Limit", cells.quota("limits")),
        AGE,
    ),
    ("", "PodTemplate"): (
        NAME,
        Column(
            "Containers", lambda obj: ",".join(c["name"] for c in at(obj, "template.spec.containers", []))
        ),
        Column(
            "Images",
            lambda obj: ",".join(c.get("image", "") for c in at(obj, "template.spec.containers", [])),
        ),
        Column("Pod Labels", lambda obj: cells.selector_text(at(obj, "template.metadata.labels", {}))),
    ),
    ("apps", "Deployment"): (
        NAME,
        _ready("status.readyReplicas", "spec.replicas"),
        Column("Up-to-date", _count("status.updatedReplicas"), "Pods of the newest template."),
        Column(
            "Available", _count("status.availableReplicas"), "Pods that have been ready for minReadySeconds."
        ),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    ("apps", "ReplicaSet"): (
        NAME,
        _integer("Desired", "spec.replicas"),
        _integer("Current", "status.replicas"),
        _integer("Ready", "status.readyReplicas"),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    ("apps", "StatefulSet"): (NAME, _ready("status.readyReplicas", "spec.replicas"), AGE, *_IMAGES),
    ("apps", "DaemonSet"): (
        NAME,
        _integer("Desired", "status.desiredNumberScheduled"),
        _integer("Current", "status.currentNumberScheduled"),
        _integer("Ready", "status.numberReady"),
        _integer("Up-to-date", "status.updatedNumberScheduled"),
        _integer("Available", "status.numberAvailable"),
        Column("Node Selector", lambda obj: cells.selector_text(at(obj, "spec.template.spec.nodeSelector"))),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    ("apps", "ControllerRevision"): (
        NAME,
        Column("Controller", cells.owner),
        _integer("Revision", "revision"),
        AGE,
    ),
    ("batch", "Job"): (
        NAME,
        Column("Status", cells.job_status),
        Column("Completions", cells.job_completions),
        Column("Duration", cells.job_duration),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    ("batch", "CronJob"): (
        NAME,
        Column("Schedule", _text("spec.schedule")),
        Column("Timezone", _text("spec.timeZone", cells.NONE)),
        Column("Suspend", _text("spec.suspend", "False")),
        Column("Active", lambda obj: len(at(obj, "status.active", [])), type="integer"),
        Column("Last Schedule", cells.last_schedule),
        AGE,
        _wide("Containers", cells.names_of("spec.jobTemplate.spec.template.spec.containers", "name")),
        _wide("Images", cells.names_of("spec.jobTemplate.spec.template.spec.containers", "image")),
        _wide("Selector", lambda obj: cells.selector_text(at(obj, "spec.jobTemplate.spec.selector"))),
    ),
    ("networking.k8s.io", "Ingress"): (
        NAME,
        Column("Class", _text("spec.ingressClassName", cells.NONE)),
        Column("Hosts", cells.ingress_hosts),
        Column("Address", cells.ingress_addresses),
        Column("Ports", lambda obj: "80, 443" if at(obj, "spec.tls") else "80"),
        AGE,
    ),
    ("networking.k8s.io", "NetworkPolicy"): (
        NAME,
        Column("Pod-Selector", lambda obj: cells.selector_text(at(obj, "spec.podSelector"))),
        AGE,
    ),
    ("storage.k8s.io", "StorageClass"): (
        NAME,
        Column("Provisioner", _text("provisioner")),
        Column("ReclaimPolicy", _text("reclaimPolicy")),
        Column("VolumeBindingMode", _text("volumeBindingMode")),
        Column("AllowVolumeExpansion", lambda obj: bool(obj.get("allowVolumeExpansion")), type="boolean"),
        AGE,
    ),
    ("", "PersistentVolumeClaim"): (
        NAME,
        Column("Status", _text("status.phase")),
        Column("Volume", _text("spec.volumeName")),
        Column("Capacity", _text("status.capacity.storage")),
        Column("Access Modes", lambda obj: ",".join(at(obj, "status.accessModes", []))),
        Column("StorageClass", _text("spec.storageClassName")),
        Column("VolumeAttributesClass", _text("spec.volumeAttributesClassName", "<unset>")),
        AGE,
        _wide("VolumeMode", _text("spec.volumeMode")),
    ),
    ("autoscaling", "HorizontalPodAutoscaler"): (
        NAME,
        Column("Reference", cells.scaler_reference),
        Column("Targets", cells.scaler_targets),
        Column("MinPods", _text("spec.minReplicas", "<unset>")),
        _integer("MaxPods", "spec.maxReplicas"),
        _integer("Replicas", "status.currentReplicas"),
        AGE,
    ),
    ("coordination.k8s.io", "Lease"): (NAME, Column("Holder", _text("spec.holderIdentity")), AGE),
    ("discovery.k8s.io", "EndpointSlice"): (
        NAME,
        Column("AddressType", _text("addressType")),
        Column("Ports", cells.slice_ports),
        Column("Endpoints", cells.slice_endpoints),
        AGE,
    ),
    ("policy", "PodDisruptionBudget"): (
        NAME,
        Column("Min Available", cells.or_na("spec.minAvailable")),
        Column("Max Unavailable", cells.or_na("spec.maxUnavailable")),
        _integer("Allowed Disruptions", "status.disruptionsAllowed"),
        AGE,
    ),
    ("rbac.authorization.k8s.io", "Role"): (NAME, CREATED),
    ("rbac.authorization.k8s.io", "ClusterRole"): (NAME, CREATED),
    **{
        ("rbac.authorization.k8s.io", kind): (
            NAME,
            Column("Role", lambda obj: f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}"),
            AGE,
            _wide("Users", cells.subjects("User")),
            _wide("Groups", cells.subjects("Group")),
            _wide("ServiceAccounts", cells.subjects("ServiceAccount")),
        )
        for kind in ("RoleBinding", "ClusterRoleBinding")
    },
    ("scheduling.k8s.io", "PriorityClass"): (
        NAME,
        _integer("Value", "value"),
        Column("Global-Default", lambda obj: bool(obj.get("globalDefault")), type="boolean"),
        AGE,
        Column("PreemptionPolicy", _text("preemptionPolicy")),
    ),
}
