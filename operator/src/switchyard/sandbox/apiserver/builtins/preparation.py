"""What the server itself puts into objects of built-in kinds on their way into the store.

Such as a new pod's phase, QoS class, priority and tolerations, a new node's taint, a Service's node ports.
Source: the strategies of k8s.io/kubernetes/pkg/registry and the admission plug-ins Priority,
DefaultTolerationSeconds and TaintNodesByCondition.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from switchyard.sandbox.apiserver.builtins.pod_defaults import containers_of
from switchyard.sandbox.apiserver.builtins.quantities import parse_quantity
from switchyard.sandbox.apiserver.errors import forbidden
from switchyard.sandbox.apiserver.resources import Json, ResourceInfo

NODE_PORTS = range(30000, 32768)
_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")
_TOLERATION_SECONDS = 300
_NOT_READY = {"effect": "NoSchedule", "key": "node.kubernetes.io/not-ready"}

ServiceList = Callable[[], Iterable[Json]]
PriorityClasses = Callable[[], Iterable[Json]]


def prepare_pod(info: ResourceInfo, pod: Json, classes: PriorityClasses) -> None:
    """Gives a new pod its status, priority and tolerations, in place. Raises 403 for an unknown class."""
    spec: Json = pod["spec"]
    pod["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}
    if spec.get("schedulingGates"):
        gated = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastProbeTime": None,
            "lastTransitionTime": None,
        }
        pod["status"]["conditions"] = [gated]
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(_tolerates(toleration, key) for toleration in tolerations):
            tolerations.append(
                {
                    "effect": "NoExecute",
                    "key": key,
                    "operator": "Exists",
                    "tolerationSeconds": _TOLERATION_SECONDS,
                }
            )
    _set_priority(info, pod, list(classes()))


def _tolerates(toleration: Json, key: str) -> bool:
    return toleration.get("key", "") in ("", key) and toleration.get("effect", "") in ("", "NoExecute")


def _set_priority(info: ResourceInfo, pod: Json, classes: list[Json]) -> None:
    spec = pod["spec"]
    wanted = spec.get("priorityClassName")
    if wanted:
        found = next((c for c in classes if c["metadata"]["name"] == wanted), None)
        if found is None:
            raise forbidden(
                info, pod["metadata"].get("name", ""), f"no PriorityClass with name {wanted} was found"
            )
    else:
        found = next((c for c in classes if c.get("globalDefault")), None)
        if found is not None:
            spec["priorityClassName"] = found["metadata"]["name"]
    spec["priority"] = found.get("value", 0) if found else 0
    spec.setdefault("preemptionPolicy", (found or {}).get("preemptionPolicy", "PreemptLowerPriority"))


def qos_class(spec: Json) -> str:
    """Guaranteed, Burstable or BestEffort, from the cpu and memory of a pod's containers."""
    amounts: list[tuple[Json, Json]] = []
    for container in containers_of(spec):
        resources = container.get("resources") or {}
        amounts.append((_counted(resources.get("requests")), _counted(resources.get("limits"))))
    if not any(requests or limits for requests, limits in amounts):
        return "BestEffort"
    is_guaranteed = all(
        set(limits) == {"cpu", "memory"} and requests == limits for requests, limits in amounts
    )
    return "Guaranteed" if is_guaranteed else "Burstable"


def _counted(amounts: Json | None) -> Json:
    return {
        name: str(parse_quantity(amount))
        for name, amount in (amounts or {}).items()
        if name in ("cpu", "memory") and parse_quantity(amount).value
    }


def prepare_node(node: Json) -> None:
    """Taints a new node as not ready, as a real server does until a controller finds it ready."""
    taints = node["spec"].setdefault("taints", [])
    if not any(t.get("key") == _NOT_READY["key"] and t.get("effect") == _NOT_READY["effect"] for t in taints):
        taints.append(dict(_NOT_READY))


def prepare_namespace(namespace: Json) -> None:
    """Gives a new namespace its finalizer and phase."""
    finalizers = namespace["spec"].setdefault("finalizers", [])
    if "kubernetes" not in finalizers:
        finalizers.append("kubernetes")
    namespace["status"] = {"phase": "Active"}


def prepare_service(service: Json, old: Json | None, services: ServiceList) -> None:
    """Gives a Service the node ports that its type has, and keeps those that it had, in place."""
    spec = service["spec"]
    before = (old or {}).get("spec", {})
    if spec["type"] == "ExternalName":
        spec.pop("internalTrafficPolicy", None)
    elif spec["type"] in _WITH_NODE_PORTS:
        _set_node_ports(spec, before, services)
    elif before.get("type") in _WITH_NODE_PORTS:
        for port in spec.get("ports") or ():
            port.pop("nodePort", None)


def _set_node_ports(spec: Json, before: Json, services: ServiceList) -> None:
    kept = {
        (p.get("protocol"), p["port"]): p["nodePort"] for p in before.get("ports") or () if "nodePort" in p
    }
    taken = {p.get("nodePort") for s in services() for p in s["spec"].get("ports") or ()}
    taken |= {port.get("nodePort") for port in spec.get("ports") or ()}
    free = [number for number in NODE_PORTS if number not in taken]
    for port in spec.get("ports") or ():
        if port.get("nodePort"):
            continue
        port["nodePort"] = kept.get((port.get("protocol"), port.get("port"))) or random.choice(free)  # noqa: S311  # a port, not a secret
