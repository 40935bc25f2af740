"""The columns of built-in kinds, as kubectl shows them. Pods' status words are in `pod_columns`.

Source: k8s.io/kubernetes/pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from switchyard.sandbox.apiserver import pod_columns
from switchyard.sandbox.apiserver.durations import UNKNOWN, age
from switchyard.sandbox.apiserver.resources import Json

NONE = "<none>"
_DOCS = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
_NAMES = "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
_NAME_DESCRIPTION = (
    "Name must be unique within a namespace. Is required when creating resources, although some resources may "
    "allow a client to request the generation of an appropriate name automatically. Name is primarily intended "
    f"for creation idempotence and configuration definition. Cannot be updated. More info: {_NAMES}"
)
CREATED_DESCRIPTION = (
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is not "
    "guaranteed to be set in happens-before order across separate operations. Clients may not set this value. "
    "It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. "
    f"More info: {_DOCS}"
)


@dataclass(frozen=True)
class Column:
    """A column: its header, and what an object's cell shows."""

    name: str
    cell: Callable[[Json], Any]
    description: str = ""
    type: str = "string"
    format: str = ""
    priority: int = 0

    def definition(self) -> Json:
        """The column as a Table declares it."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


def at(obj: Json, path: str, default: Any = None) -> Any:
    """The value at a dotted path of fields, or the default where any is missing."""
    value: Any = obj
    for name in path.split("."):
        if not isinstance(value, dict):
            return default
        value = value.get(name)
    return default if value is None else value


def _text(path: str, default: str = "") -> Callable[[Json], str]:
    return lambda obj: str(at(obj, path, default)) or default


def _count(path: str) -> Callable[[Json], int]:
    return lambda obj: at(obj, path, 0)


def _wide(name: str, cell: Callable[[Json], Any], about: str = "") -> Column:
    return Column(name, cell, about, priority=1)


def selector_text(selector: Json | None) -> str:
    """A label selector, or a plain map of labels, as one line."""
    selector = selector or {}
    if not ("matchLabels" in selector or "matchExpressions" in selector):
        return ",".join(f"{key}={value}" for key, value in sorted(selector.items())) or NONE
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for requirement in selector.get("matchExpressions") or ():
        key, values = requirement["key"], ",".join(requirement.get("values") or ())
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }.get(requirement["operator"], key)
        )
    return ",".join(parts) or NONE


def _containers(field: str) -> Callable[[Json], str]:
    def cell(obj: Json) -> str:
        return ",".join(c.get(field, "") for c in at(obj, "spec.template.spec.containers", []))

    return cell


def _service_addresses(service: Json) -> str:
    spec = service["spec"]
    external = list(spec.get("externalIPs") or ())
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", NONE))
    if spec.get("type") == "LoadBalancer":
        given = [i.get("ip") or i.get("hostname", "") for i in at(service, "status.loadBalancer.ingress", [])]
        return ",".join([*given, *external]) or "<pending>"
    return ",".join(external) or NONE


def _service_ports(service: Json) -> str:
    shown = []
    for port in service["spec"].get("ports") or ():
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        shown.append(f"{port['port']}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(shown) or NONE


def _node_status(node: Json) -> str:
    ready = next((c for c in at(node, "status.conditions", []) if c["type"] == "Ready"), None)
    shown = ["Unknown"] if ready is None else ["Ready" if ready["status"] == "True" else "NotReady"]
    if at(node, "spec.unschedulable"):
        shown.append("SchedulingDisabled")
    return ",".join(shown)


def _node_roles(node: Json) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = node["metadata"].get("labels") or {}
    roles = {key.removeprefix(prefix) for key in labels if key.startswith(prefix)}
    roles |= {labels["kubernetes.io/role"]} if labels.get("kubernetes.io/role") else set()
    return ",".join(sorted(role for role in roles if role)) or NONE


def _node_address(kind: str) -> Callable[[Json], str]:
    def cell(node: Json) -> str:
        found = (a["address"] for a in at(node, "status.addresses", []) if a["type"] == kind)
        return next(found, NONE)

    return cell


def _node_info(field: str) -> Callable[[Json], str]:
    return lambda node: str(at(node, f"status.nodeInfo.{field}", "")) or UNKNOWN


def _event_object(event: Json) -> str:
    about = event.get("involvedObject") or event.get("regarding") or {}
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _event_last(event: Json) -> str:
    series = at(event, "series.lastObservedTime")
    last = event.get("lastTimestamp") or event.get("deprecatedLastTimestamp")
    first = event.get("firstTimestamp") or event.get("deprecatedFirstTimestamp")
    return age(
        series or last or first or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    )


def _event_first(event: Json) -> str:
    first = event.get("firstTimestamp") or event.get("deprecatedFirstTimestamp")
    return age(first or event.get("eventTime") or event["metadata"].get("creationTimestamp"))


def _event_count(event: Json) -> int:
    return int(at(event, "series.count") or event.get("count") or event.get("deprecatedCount") or 1)


def _event_source(event: Json) -> str:
    source = event.get("source") or event.get("deprecatedSource") or {}
    component = (
        source.get("component") or event.get("reportingComponent") or event.get("reportingController", "")
    )
    return ", ".join(part for part in (component, source.get("host")) if part)


def _slice_ports(piece: Json) -> str:
    return ",".join(str(port.get("port", "*")) for port in piece.get("ports") or ()) or "<unset>"


def _slice_endpoints(piece: Json) -> str:
    found = [address for e in piece.get("endpoints") or () for address in e.get("addresses") or ()]
    return _first_few(found) or "<unset>"


def _first_few(found: Sequence[str]) -> str:
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return ",".join(found[:3]) + more


def _endpoints(obj: Json) -> str:
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or ()
        for address in subset.get("addresses") or ()
        for port in subset.get("ports") or ()
    ]
    return _first_few(found) or NONE


def _or_na(path: str) -> Callable[[Json], str]:
    return lambda obj: str(at(obj, path, "N/A"))


def _scaler_targets(obj: Json) -> str:
    shown = []
    for wanted in at(obj, "spec.metrics", []):
        kind = wanted["type"]
        part = wanted.get(kind[0].lower() + kind[1:], {})
        target = part.get("target", {})
        most = target.get("averageUtilization")
        goal = f"{most}%" if most is not None else target.get("averageValue") or target.get("value", "")
        name = part.get("name") or at(part, "metric.name", "")
        shown.append(f"{name}: <unknown>/{goal}")
    return ", ".join(shown) or NONE


def _scaler_reference(obj: Json) -> str:
    target = obj["spec"]["scaleTargetRef"]
    return f"{target['kind']}/{target['name']}"


def _quota(part: str) -> Callable[[Json], str]:
    def cell(obj: Json) -> str:
        hard = at(obj, "status.hard") or at(obj, "spec.hard", {})
        used = at(obj, "status.used", {})
        names = sorted(n for n in hard if n.startswith("limits.") == (part == "limits"))
        return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in names)

    return cell


def _subjects(kind: str) -> Callable[[Json], str]:
    def cell(obj: Json) -> str:
        found = [s for s in obj.get("subjects") or () if s.get("kind") == kind]
        return ", ".join(
            f"{s.get('namespace', '')}/{s['name']}" if kind == "ServiceAccount" else s["name"] for s in found
        )

    return cell


def _owner(obj: Json) -> str:
    owner = next((o for o in obj["metadata"].get("ownerReferences") or () if o.get("controller")), None)
    return (
        f"{owner['kind'].lower()}.{owner['apiVersion'].rpartition('/')[0]}/{owner['name']}" if owner else NONE
    )


NAME = Column("Name", lambda obj: obj["metadata"]["name"], _NAME_DESCRIPTION, format="name")
AGE = Column("Age", lambda obj: age(obj["metadata"].get("creationTimestamp")), CREATED_DESCRIPTION)
_CREATED = Column(
    "Created At", lambda obj: obj["metadata"].get("creationTimestamp"), CREATED_DESCRIPTION, type="date"
)
_IMAGES = (_wide("Containers", _containers("name")), _wide("Images", _containers("image")))
_SELECTOR = _wide("Selector", lambda obj: selector_text(at(obj, "spec.selector")))
_WORKLOAD_WIDE = (*_IMAGES, _SELECTOR)
_EVENT = (
    Column("Last Seen", _event_last, "Time of the latest occurrence."),
    Column("Type", _text("type"), "Normal or Warning."),
    Column("Reason", _text("reason"), "Why, as one word."),
    Column("Object", _event_object, "What the event is about."),
    _wide(
        "Subobject",
        lambda event: at(event, "involvedObject.fieldPath") or at(event, "regarding.fieldPath", ""),
    ),
    _wide("Source", _event_source),
    Column("Message", lambda event: str(event.get("message") or event.get("note") or "").strip()),
    _wide("First Seen", _event_first),
    _wide("Count", _event_count),
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
        _wide("IP", _text("status.podIP", NONE)),
        _wide("Node", _text("spec.nodeName", NONE)),
        _wide("Nominated Node", _text("status.nominatedNodeName", NONE)),
        _wide("Readiness Gates", pod_columns.readiness_gates),
    ),
    ("", "Service"): (
        NAME,
        Column("Type", _text("spec.type")),
        Column("Cluster-IP", _text("spec.clusterIP", NONE)),
        Column("External-IP", _service_addresses),
        Column("Port(s)", _service_ports),
        AGE,
        _SELECTOR,
    ),
    ("", "Node"): (
        NAME,
        Column("Status", _node_status, "The status of the node"),
        Column("Roles", _node_roles, "The roles of the node"),
        AGE,
        Column("Version", _text("status.nodeInfo.kubeletVersion")),
        _wide("Internal-IP", _node_address("InternalIP")),
        _wide("External-IP", _node_address("ExternalIP")),
        _wide("OS-Image", _node_info("osImage")),
        _wide("Kernel-Version", _node_info("kernelVersion")),
        _wide("Container-Runtime", _node_info("containerRuntimeVersion")),
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
    ("", "Endpoints"): (NAME, Column("Endpoints", _endpoints), AGE),
    ("", "Event"): _EVENT,
    ("events.k8s.io", "Event"): _EVENT,
    ("", "ResourceQuota"): (
        NAME,
        Column("Request", _quota("requests")),
        Column("Limit", _quota("limits")),
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
        Column("Pod Labels", lambda obj: selector_text(at(obj, "template.metadata.labels", {}))),
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
        Column("Node Selector", lambda obj: selector_text(at(obj, "spec.template.spec.nodeSelector"))),
        AGE,
        *_WORKLOAD_WIDE,
    ),
    ("apps", "ControllerRevision"): (
        NAME,
        Column("Controller", _owner),
        _integer("Revision", "revision"),
        AGE,
    ),
    ("autoscaling", "HorizontalPodAutoscaler"): (
        NAME,
        Column("Reference", _scaler_reference),
        Column("Targets", _scaler_targets),
        Column("MinPods", _text("spec.minReplicas", "<unset>")),
        _integer("MaxPods", "spec.maxReplicas"),
        _integer("Replicas", "status.currentReplicas"),
        AGE,
    ),
    ("coordination.k8s.io", "Lease"): (NAME, Column("Holder", _text("spec.holderIdentity")), AGE),
    ("discovery.k8s.io", "EndpointSlice"): (
        NAME,
        Column("AddressType", _text("addressType")),
        Column("Ports", _slice_ports),
        Column("Endpoints", _slice_endpoints),
        AGE,
    ),
    ("policy", "PodDisruptionBudget"): (
        NAME,
        Column("Min Available", _or_na("spec.minAvailable")),
        Column("Max Unavailable", _or_na("spec.maxUnavailable")),
        _integer("Allowed Disruptions", "status.disruptionsAllowed"),
        AGE,
    ),
    ("rbac.authorization.k8s.io", "Role"): (NAME, _CREATED),
    ("rbac.authorization.k8s.io", "ClusterRole"): (NAME, _CREATED),
    **{
        ("rbac.authorization.k8s.io", kind): (
            NAME,
            Column("Role", lambda obj: f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}"),
            AGE,
            _wide("Users", _subjects("User")),
            _wide("Groups", _subjects("Group")),
            _wide("ServiceAccounts", _subjects("ServiceAccount")),
        )
        for kind in ("RoleBinding", "ClusterRoleBinding")
    },
    ("scheduling.k8s.io", "PriorityClass"): (
        NAME,
        _integer("Value", "value"),
        Column("Global-Default", lambda obj: bool(obj.get("globalDefault")), type="boolean"),
        AGE,
    ),
}
