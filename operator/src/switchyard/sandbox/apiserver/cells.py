"""What cells of built-in kinds show. Pods' status words are in `pod_columns`.

Source: k8s.io/kubernetes/pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from switchyard.sandbox.apiserver.columns import at
from switchyard.sandbox.apiserver.durations import UNKNOWN, age, human_duration
from switchyard.sandbox.apiserver.resources import Json

NONE = "<none>"


def selector_text(selector: Json | None) -> str:
    """A label selector, or a plain map of labels, as one line."""
    selector = selector or {}
    if not ("matchLabels" in selector or "matchExpressions" in selector):
        return ",".join(f"{key}={value}" for key, value in sorted(selector.items())) or NONE
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for requirement in selector.get("matchExpressions") or ():
        key, values = requirement["key"], ",".join(sorted(requirement.get("values") or ()))
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }.get(requirement["operator"], key)
        )
    return ",".join(parts) or NONE


def containers(field: str) -> Callable[[Json], str]:
    def cell(obj: Json) -> str:
        return ",".join(c.get(field, "") for c in at(obj, "spec.template.spec.containers", []))

    return cell


def service_addresses(service: Json) -> str:
    spec = service["spec"]
    external = list(spec.get("externalIPs") or ())
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", NONE))
    if spec.get("type") == "LoadBalancer":
        given = [i.get("ip") or i.get("hostname", "") for i in at(service, "status.loadBalancer.ingress", [])]
        return ",".join([*given, *external]) or "<pending>"
    return ",".join(external) or NONE


def service_ports(service: Json) -> str:
    shown = []
    for port in service["spec"].get("ports") or ():
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        shown.append(f"{port['port']}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(shown) or NONE


def node_status(node: Json) -> str:
    ready = next((c for c in at(node, "status.conditions", []) if c["type"] == "Ready"), None)
    shown = ["Unknown"] if ready is None else ["Ready" if ready["status"] == "True" else "NotReady"]
    if at(node, "spec.unschedulable"):
        shown.append("SchedulingDisabled")
    return ",".join(shown)


def node_roles(node: Json) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = node["metadata"].get("labels") or {}
    roles = {key.removeprefix(prefix) for key in labels if key.startswith(prefix)}
    roles |= {labels["kubernetes.io/role"]} if labels.get("kubernetes.io/role") else set()
    return ",".join(sorted(role for role in roles if role)) or NONE


def node_address(kind: str) -> Callable[[Json], str]:
    def cell(node: Json) -> str:
        found = (a["address"] for a in at(node, "status.addresses", []) if a["type"] == kind)
        return next(found, NONE)

    return cell


def node_info(field: str) -> Callable[[Json], str]:
    return lambda node: str(at(node, f"status.nodeInfo.{field}", "")) or UNKNOWN


def event_object(event: Json) -> str:
    about = event.get("involvedObject") or event.get("regarding") or {}
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def event_last(event: Json) -> str:
    series = at(event, "series.lastObservedTime")
    last = event.get("lastTimestamp") or event.get("deprecatedLastTimestamp")
    first = event.get("firstTimestamp") or event.get("deprecatedFirstTimestamp")
    return age(
        series or last or first or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    )


def event_first(event: Json) -> str:
    first = event.get("firstTimestamp") or event.get("deprecatedFirstTimestamp")
    return age(first or event.get("eventTime") or event["metadata"].get("creationTimestamp"))


def event_count(event: Json) -> int:
    return int(at(event, "series.count") or event.get("count") or event.get("deprecatedCount") or 1)


def event_source(event: Json) -> str:
    source = event.get("source") or event.get("deprecatedSource") or {}
    component = (
        source.get("component") or event.get("reportingComponent") or event.get("reportingController", "")
    )
    return ", ".join(part for part in (component, source.get("host")) if part)


def slice_ports(piece: Json) -> str:
    return ",".join(str(port.get("port", "*")) for port in piece.get("ports") or ()) or "<unset>"


def slice_endpoints(piece: Json) -> str:
    found = [address for e in piece.get("endpoints") or () for address in e.get("addresses") or ()]
    return first_few(found) or "<unset>"


def first_few(found: Sequence[str]) -> str:
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return ",".join(found[:3]) + more


def endpoints(obj: Json) -> str:
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or ()
        for address in subset.get("addresses") or ()
        for port in subset.get("ports") or ()
    ]
    return first_few(found) or NONE


def or_na(path: str) -> Callable[[Json], str]:
    return lambda obj: str(at(obj, path, "N/A"))


def scaler_targets(obj: Json) -> str:
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


def scaler_reference(obj: Json) -> str:
    target = obj["spec"]["scaleTargetRef"]
    return f"{target['kind']}/{target['name']}"


def quota(part: str) -> Callable[[Json], str]:
    def cell(obj: Json) -> str:
        hard = at(obj, "status.hard") or at(obj, "spec.hard", {})
        used = at(obj, "status.used", {})
        names = sorted(n for n in hard if n.startswith("limits.") == (part == "limits"))
        return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in names)

    return cell


def subjects(kind: str) -> Callable[[Json], str]:
    def cell(obj: Json) -> str:
        found = [s for s in obj.get("subjects") or () if s.get("kind") == kind]
        return ", ".join(
            f"{s.get('namespace', '')}/{s['name']}" if kind == "ServiceAccount" else s["name"] for s in found
        )

    return cell


def job_completions(obj: Json) -> str:
    """Completed pods of all that are wanted."""
    wanted = at(obj, "spec.completions") or at(obj, "spec.parallelism", 1)
    return f"{at(obj, 'status.succeeded', 0)}/{wanted}"


def job_status(obj: Json) -> str:
    """Where a Job stands, by its conditions."""
    held = {c["type"] for c in at(obj, "status.conditions", []) if c.get("status") == "True"}
    for condition in ("Complete", "Failed", "Suspended", "FailureTarget"):
        if condition in held:
            return condition
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else "Running"


def job_duration(obj: Json) -> str:
    """How long a Job has run, or ran."""
    start, end = at(obj, "status.startTime"), at(obj, "status.completionTime")
    if not start or not end:
        return age(start) if start else ""
    spent = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return human_duration(spent.total_seconds())


def names_of(path: str, field: str) -> Callable[[Json], str]:
    """A cell with one field of all items of a list."""
    return lambda obj: ",".join(item.get(field, "") for item in at(obj, path, []))


def ingress_addresses(obj: Json) -> str:
    """Where an Ingress is reached."""
    found = at(obj, "status.loadBalancer.ingress", [])
    return ",".join(entry.get("ip") or entry.get("hostname", "") for entry in found)


def ingress_hosts(obj: Json) -> str:
    """The hosts of an Ingress's rules."""
    found = [rule["host"] for rule in at(obj, "spec.rules", []) if rule.get("host")]
    return first_few(found) or "*"


def last_schedule(obj: Json) -> str:
    """How long ago a CronJob was last due."""
    last = at(obj, "status.lastScheduleTime")
    return age(last) if last else NONE


def owner(obj: Json) -> str:
    owner = next((o for o in obj["metadata"].get("ownerReferences") or () if o.get("controller")), None)
    return (
        f"{owner['kind'].lower()}.{owner['apiVersion'].rpartition('/')[0]}/{owner['name']}" if owner else NONE
    )
